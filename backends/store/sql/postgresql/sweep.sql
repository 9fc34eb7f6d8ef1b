-- name: totals
SELECT coalesce(sum(finished), 0)::bigint, coalesce(sum(failed), 0)::bigint FROM callboard_counts

-- name: delete
DELETE FROM callboard_jobs WHERE n = ANY (?1::bigint[])

-- name: forget
UPDATE callboard_jobs SET state = 7, outcome = NULL, error = NULL, result = NULL, history = NULL, body = ''
WHERE n = ANY (?1::bigint[])

-- name: held_drift
SELECT session, queue, sum(jobs)::bigint FROM (
    SELECT session, queue, count(*) AS jobs FROM callboard_jobs WHERE state IN (2, 3) GROUP BY session, queue
    UNION ALL
    SELECT session, queue, -held FROM callboard_held) AS both_ways
GROUP BY session, queue HAVING sum(jobs) <> 0

-- name: drop_zeros
DELETE FROM callboard_held h USING callboard_sessions s WHERE s.session = h.session AND s.ended_ms IS NOT NULL

-- What callers counted in transactions of their own goes to one row.
-- name: fold_counts
WITH gone AS (
    DELETE FROM callboard_counts WHERE (queue, shard) IN (
        SELECT queue, shard FROM callboard_counts WHERE shard < 0 ORDER BY queue, shard LIMIT 1000
        FOR UPDATE SKIP LOCKED)
    RETURNING *)
INSERT INTO callboard_counts (queue, shard, delayed, ready, assigned, running, failed, finished, completed, cancelled)
SELECT queue, 32, sum(delayed), sum(ready), sum(assigned), sum(running), sum(failed), sum(finished), sum(completed),
    sum(cancelled)
FROM gone GROUP BY queue ORDER BY queue
ON CONFLICT (queue, shard) DO UPDATE SET
    delayed = callboard_counts.delayed + excluded.delayed, ready = callboard_counts.ready + excluded.ready,
    assigned = callboard_counts.assigned + excluded.assigned, running = callboard_counts.running + excluded.running,
    failed = callboard_counts.failed + excluded.failed, finished = callboard_counts.finished + excluded.finished,
    completed = callboard_counts.completed + excluded.completed,
    cancelled = callboard_counts.cancelled + excluded.cancelled

-- Of other users' transactions a user sees only that they are there, unless it is a member of pg_read_all_stats.
-- name: upkeep
SELECT old.pid, old.what, old.open_s, coalesce(t.n_dead_tup, 0)::bigint, coalesce(t.n_live_tup, 0)::bigint
FROM (SELECT 1) AS one
LEFT JOIN (
    SELECT pid, coalesce(nullif(application_name, ''), usename::text, 'unnamed') || ', ' || coalesce(state, '') AS what,
        extract(epoch FROM clock_timestamp() - xact_start)::double precision AS open_s
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
        AND xact_start < clock_timestamp() - make_interval(secs => ?1::double precision)
    ORDER BY xact_start LIMIT 1) AS old ON true
LEFT JOIN pg_stat_user_tables t ON t.relid = to_regclass('callboard_jobs')

-- name: totals
SELECT coalesce(sum(finished), 0), coalesce(sum(failed), 0) FROM callboard_counts

-- What goes is chosen first, past rows that others have locked; then only that is touched.
-- name: delete_forgotten
DELETE j FROM (
    SELECT n FROM callboard_jobs {by callboard_jobs_over}
    WHERE state >= 4 AND state = 7 AND finished_ms < ?
    ORDER BY finished_ms LIMIT ? {lock skip}) AS old
STRAIGHT_JOIN callboard_jobs j FORCE INDEX (PRIMARY) ON j.n = old.n

-- name: drop_results
UPDATE (
    SELECT n FROM callboard_jobs {by callboard_jobs_results}
    WHERE kept_until_ms <= ? ORDER BY kept_until_ms LIMIT ? {lock skip}) AS old
STRAIGHT_JOIN callboard_jobs j FORCE INDEX (PRIMARY) ON j.n = old.n
SET j.result = NULL

-- name: drop_keys
DELETE k FROM (
    SELECT unique_key FROM callboard_keys FORCE INDEX (callboard_keys_until)
    WHERE until_ms <= ? ORDER BY until_ms LIMIT ? {lock skip}) AS old
STRAIGHT_JOIN callboard_keys k FORCE INDEX (PRIMARY) ON k.unique_key = old.unique_key

-- name: delete_sessions
DELETE s FROM (
    SELECT session FROM callboard_sessions FORCE INDEX (callboard_sessions_ended)
    WHERE ended_ms < ? ORDER BY ended_ms LIMIT ? {lock skip}) AS old
STRAIGHT_JOIN callboard_sessions s FORCE INDEX (PRIMARY) ON s.session = old.session

-- name: held_drift
SELECT session, queue, sum(jobs) FROM (
    SELECT session, queue, count(*) AS jobs FROM callboard_jobs {by callboard_jobs_held}
    WHERE phase IN (2, 3) GROUP BY session, queue
    UNION ALL
    SELECT session, queue, -held FROM callboard_held) AS both_ways
GROUP BY session, queue HAVING sum(jobs) <> 0

-- name: drop_zeros
DELETE h FROM (
    SELECT session FROM callboard_sessions FORCE INDEX (callboard_sessions_ended)
    WHERE ended_ms > 0 ORDER BY ended_ms DESC LIMIT 1000 {lock skip}) AS old
STRAIGHT_JOIN callboard_held h FORCE INDEX (PRIMARY) ON h.session = old.session

-- name: guest_counts
SELECT queue, shard, `delayed`, ready, assigned, running, failed, finished, completed, cancelled
FROM callboard_counts FORCE INDEX (PRIMARY) WHERE shard < 0 ORDER BY queue, shard LIMIT 1000 FOR UPDATE SKIP LOCKED

-- name: drop_guest_counts
DELETE FROM callboard_counts WHERE queue = ? AND shard = ?

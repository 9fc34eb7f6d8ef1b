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

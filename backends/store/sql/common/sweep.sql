-- name: oldest
SELECT n, queue, finished_ms FROM callboard_jobs {by callboard_jobs_over}
WHERE state >= 4 AND state = ? ORDER BY finished_ms, n LIMIT ? {lock skip}

-- name: older
SELECT n, queue, finished_ms FROM callboard_jobs {by callboard_jobs_over}
WHERE state >= 4 AND state = ? AND finished_ms < ? ORDER BY finished_ms, n LIMIT ? {lock skip}

-- name: totals
SELECT coalesce(sum(finished), 0), coalesce(sum(failed), 0) FROM callboard_queues

-- name: delete
DELETE FROM callboard_jobs WHERE n = ?

-- name: forget
UPDATE callboard_jobs
SET state = 7, outcome = NULL, error = NULL, result = NULL, history = NULL, body = x'' WHERE n = ?

-- name: drop_results
UPDATE callboard_jobs SET result = NULL WHERE n IN (
    SELECT n FROM callboard_jobs {by callboard_jobs_results}
    WHERE result IS NOT NULL AND result_until_ms <= ? LIMIT ? {lock skip})

-- name: drop_keys
DELETE FROM callboard_keys WHERE unique_key IN (
    SELECT unique_key FROM callboard_keys WHERE until_ms <= ? ORDER BY until_ms LIMIT ? {lock skip})

-- name: delete_forgotten
DELETE FROM callboard_jobs WHERE n IN (
    SELECT n FROM callboard_jobs {by callboard_jobs_over}
    WHERE state >= 4 AND state = 7 AND finished_ms < ?
    ORDER BY finished_ms LIMIT ? {lock skip})

-- name: delete_sessions
DELETE FROM callboard_sessions WHERE session IN (
    SELECT session FROM callboard_sessions WHERE ended_ms < ? ORDER BY ended_ms LIMIT ? {lock skip})

-- name: held_drift
SELECT session, queue, sum(jobs) FROM (
    SELECT session, queue, count(*) AS jobs FROM callboard_jobs {by callboard_jobs_held}
    WHERE state IN (2, 3) GROUP BY session, queue
    UNION ALL
    SELECT session, queue, -held FROM callboard_held WHERE held <> 0) AS both_ways
GROUP BY session, queue HAVING sum(jobs) <> 0

-- name: drop_zeros
DELETE FROM callboard_held WHERE held = 0

-- name: totals
SELECT coalesce(sum(finished), 0), coalesce(sum(failed), 0) FROM callboard_counts

-- name: delete_forgotten
DELETE j FROM callboard_jobs j JOIN (
    SELECT n FROM callboard_jobs {by callboard_jobs_over}
    WHERE state >= 4 AND state = 7 AND finished_ms < ?
    ORDER BY finished_ms LIMIT ? {lock skip}) AS old ON old.n = j.n

-- name: drop_results
UPDATE callboard_jobs j JOIN (
    SELECT n FROM callboard_jobs {by callboard_jobs_results}
    WHERE kept_until_ms <= ? ORDER BY kept_until_ms LIMIT ? {lock skip}) AS old ON old.n = j.n
SET j.result = NULL

-- name: drop_keys
DELETE k FROM callboard_keys k JOIN (
    SELECT unique_key FROM callboard_keys FORCE INDEX (callboard_keys_until)
    WHERE until_ms <= ? ORDER BY until_ms LIMIT ? {lock skip}) AS old ON old.unique_key = k.unique_key

-- name: delete_sessions
DELETE s FROM callboard_sessions s JOIN (
    SELECT session FROM callboard_sessions FORCE INDEX (callboard_sessions_ended)
    WHERE ended_ms < ? ORDER BY ended_ms LIMIT ? {lock skip}) AS old ON old.session = s.session

-- name: held_drift
SELECT session, queue, sum(jobs) FROM (
    SELECT session, queue, count(*) AS jobs FROM callboard_jobs {by callboard_jobs_held}
    WHERE phase IN (2, 3) GROUP BY session, queue
    UNION ALL
    SELECT session, queue, -held FROM callboard_held) AS both_ways
GROUP BY session, queue HAVING sum(jobs) <> 0

-- name: drop_zeros
DELETE h FROM callboard_held h JOIN callboard_sessions s ON s.session = h.session WHERE s.ended_ms IS NOT NULL

-- name: oldest
SELECT n, queue, finished_ms FROM callboard_jobs INDEXED BY callboard_jobs_over
WHERE state >= 4 AND state = ? ORDER BY finished_ms, n LIMIT ?

-- name: older
SELECT n, queue, finished_ms FROM callboard_jobs INDEXED BY callboard_jobs_over
WHERE state >= 4 AND state = ? AND finished_ms < ? ORDER BY finished_ms, n LIMIT ?

-- name: totals
SELECT coalesce(sum(finished), 0), coalesce(sum(failed), 0) FROM callboard_queues

-- name: delete
DELETE FROM callboard_jobs WHERE n = ?

-- name: forget
UPDATE callboard_jobs SET state = 7, outcome = NULL, error = NULL, body = x'' WHERE n = ?

-- name: delete_forgotten
DELETE FROM callboard_jobs WHERE n IN (
    SELECT n FROM callboard_jobs INDEXED BY callboard_jobs_over
    WHERE state >= 4 AND state = 7 AND finished_ms < ?
    ORDER BY finished_ms LIMIT ?)

-- name: delete_sessions
DELETE FROM callboard_sessions WHERE session IN (
    SELECT session FROM callboard_sessions WHERE ended_ms < ? ORDER BY ended_ms LIMIT ?)

-- name: held_rows
SELECT session, queue, count(*), sum(losses >= 2) FROM callboard_jobs INDEXED BY callboard_jobs_held
WHERE state IN (2, 3) GROUP BY session, queue

-- name: held_counters
SELECT session, queue, held FROM callboard_held WHERE held <> 0

-- name: set_held
INSERT INTO callboard_held (session, queue, held) VALUES (?1, ?2, ?3)
ON CONFLICT (session, queue) DO UPDATE SET held = ?3

-- name: set_alone
UPDATE callboard_sessions SET alone = ?1 WHERE session = ?2 AND alone <> ?1

-- name: live_sessions
SELECT session FROM callboard_sessions WHERE ended_ms IS NULL

-- name: drop_zeros
DELETE FROM callboard_held WHERE held = 0

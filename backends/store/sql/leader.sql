-- name: sessions
SELECT s.session, s.node, s.boot_id, s.host, s.pid, s.version, s.socket, s.started_ms, s.counter, s.ttl_s,
    EXISTS (SELECT 1 FROM callboard_draining d WHERE d.node = s.node),
    s.alone > 0
FROM callboard_sessions s WHERE s.ended_ms IS NULL ORDER BY s.session

-- name: pools
SELECT p.session, p.pool, p.queues, p.slots, p.capacity
FROM callboard_sessions s JOIN callboard_pools p ON p.session = s.session
WHERE s.ended_ms IS NULL ORDER BY p.session, p.position

-- name: held
SELECT h.session, h.queue, h.held
FROM callboard_sessions s JOIN callboard_held h ON h.session = s.session
WHERE s.ended_ms IS NULL AND h.held > 0

-- name: ready
SELECT q.queue, (
    SELECT count(*) FROM (
        SELECT 1 FROM callboard_jobs INDEXED BY callboard_jobs_ready
        WHERE queue = q.queue AND state = 1 AND losses < 2 LIMIT ?1))
FROM callboard_queues q WHERE NOT q.paused

-- name: isolated
SELECT n, id, queue FROM (
    SELECT n, id, queue, row_number() OVER (PARTITION BY queue ORDER BY rank, n) AS place
    FROM callboard_jobs INDEXED BY callboard_jobs_isolated WHERE state = 1 AND losses >= 2)
WHERE place <= 4 AND queue IN (SELECT queue FROM callboard_queues WHERE NOT paused)

-- name: session_for
SELECT EXISTS (SELECT 1 FROM callboard_draining d WHERE d.node = s.node),
    s.alone > 0
FROM callboard_sessions s WHERE s.session = ? AND s.ended_ms IS NULL

-- name: pools_of
SELECT pool, queues, capacity FROM callboard_pools WHERE session = ?

-- name: held_of
SELECT queue, held FROM callboard_held WHERE session = ?

-- name: paused
SELECT paused FROM callboard_queues WHERE queue = ?

-- name: next_n
SELECT n FROM callboard_jobs INDEXED BY callboard_jobs_ready
WHERE queue = ? AND state = 1 AND losses < 2 ORDER BY rank, n LIMIT ?

-- name: next_jobs
SELECT n, id, name, queue, body, attempts, losses, step, max_attempts, timeout_s, backoff, error, has_failed_hook,
    pushed_ms
FROM callboard_jobs INDEXED BY callboard_jobs_ready
WHERE queue = ? AND state = 1 AND losses < 2 ORDER BY rank, n LIMIT ?

-- name: isolated_job
SELECT n, id, name, queue, body, attempts, losses, step, max_attempts, timeout_s, backoff, error, has_failed_hook,
    pushed_ms
FROM callboard_jobs WHERE n = ? AND id = ? AND queue = ? AND state = 1 AND losses >= 2

-- name: give
UPDATE callboard_jobs SET state = ?, session = ?, epoch = ?, seq = ?, outcome = NULL WHERE n = ?

-- name: idle_queues
SELECT q.queue, q.idle, EXISTS (
    SELECT 1 FROM callboard_jobs j INDEXED BY callboard_jobs_ready
    WHERE j.queue = q.queue AND j.state = 1 AND j.losses < 2)
FROM callboard_queues q WHERE NOT q.paused

-- name: set_idle
UPDATE callboard_queues SET idle = ? WHERE queue = ?

-- name: due
SELECT n, queue FROM callboard_jobs INDEXED BY callboard_jobs_delayed
WHERE state = 0 AND due_ms <= ? ORDER BY due_ms, n LIMIT ?

-- name: promote
UPDATE callboard_jobs SET state = 1 WHERE n = ?

-- name: next_due
SELECT min(due_ms) FROM callboard_jobs INDEXED BY callboard_jobs_delayed WHERE state = 0

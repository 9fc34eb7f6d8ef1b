-- name: sessions
SELECT s.session, s.node, s.boot_id, s.host, s.pid, s.version, s.socket, s.started_ms, s.counter, s.ttl_s,
    EXISTS (SELECT 1 FROM callboard_draining d WHERE d.node = s.node),
    EXISTS (SELECT 1 FROM callboard_jobs j {by callboard_jobs_alone}
        WHERE j.session = s.session AND j.state IN (2, 3) AND j.losses >= 2)
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
        SELECT 1 FROM callboard_jobs {by callboard_jobs_ready}
        WHERE queue = q.queue AND state = 1 AND losses < 2 LIMIT ?1) AS first)
FROM callboard_queues q WHERE q.paused = 0

-- name: isolated
SELECT n, id, queue FROM (
    SELECT n, id, queue, row_number() OVER (PARTITION BY queue ORDER BY rank, n) AS place
    FROM callboard_jobs {by callboard_jobs_isolated} WHERE state = 1 AND losses >= 2) AS placed
WHERE place <= 4 AND queue IN (SELECT queue FROM callboard_queues WHERE paused = 0)

-- name: session_for
SELECT EXISTS (SELECT 1 FROM callboard_draining d WHERE d.node = s.node),
    EXISTS (SELECT 1 FROM callboard_jobs j {by callboard_jobs_alone}
        WHERE j.session = s.session AND j.state IN (2, 3) AND j.losses >= 2), s.node
FROM callboard_sessions s WHERE s.session = ? AND s.ended_ms IS NULL

-- name: pools_of
SELECT pool, queues, capacity FROM callboard_pools WHERE session = ?

-- name: held_of
SELECT queue, held FROM callboard_held WHERE session = ?

-- name: paused
SELECT paused FROM callboard_queues WHERE queue = ?

-- name: next_n
SELECT n FROM callboard_jobs {by callboard_jobs_ready}
WHERE queue = ?1 AND state = 1 AND losses < 2 AND (expires_ms IS NULL OR expires_ms > ?3 OR step = 1)
ORDER BY rank, n LIMIT ?2 {lock skip}

-- name: next_jobs
SELECT n, id, name, queue, body, attempts, losses, step, max_attempts, timeout_s, backoff, error, has_failed_hook,
    pushed_ms, doubts, once, result_ttl_ms, unique_key, unique_until
FROM callboard_jobs {by callboard_jobs_ready}
WHERE queue = ?1 AND state = 1 AND losses < 2 AND (expires_ms IS NULL OR expires_ms > ?3 OR step = 1)
ORDER BY rank, n LIMIT ?2 {lock skip}

-- name: isolated_job
SELECT n, id, name, queue, body, attempts, losses, step, max_attempts, timeout_s, backoff, error, has_failed_hook,
    pushed_ms, doubts, once, result_ttl_ms, unique_key, unique_until
FROM callboard_jobs
WHERE n = ?1 AND id = ?2 AND queue = ?3 AND state = 1 AND losses >= 2
    AND (expires_ms IS NULL OR expires_ms > ?4 OR step = 1) {lock skip}

-- name: draw_tokens
UPDATE callboard_store SET seq = seq + ? WHERE one = 1 RETURNING seq

-- name: lock_sessions
SELECT session FROM callboard_sessions WHERE session {ints ?} ORDER BY session {lock own}

-- name: lock_queues
SELECT queue FROM callboard_queues WHERE queue {texts ?} ORDER BY queue {lock key}

-- name: give
UPDATE callboard_jobs
SET state = ?, session = ?, epoch = ?, seq = ?, outcome = NULL, node = ?, assigned_ms = ?, taken_ms = ?,
    started_ms = NULL, progress_fraction = NULL, progress_message = NULL, progress_ms = NULL
WHERE n = ?

-- name: idle_queues
SELECT q.queue, q.idle, EXISTS (
    SELECT 1 FROM callboard_jobs j {by callboard_jobs_ready}
    WHERE j.queue = q.queue AND j.state = 1 AND j.losses < 2)
FROM callboard_queues q WHERE q.paused = 0

-- name: set_idle
UPDATE callboard_queues SET idle = ? WHERE queue = ?

-- name: due
SELECT n, queue FROM callboard_jobs {by callboard_jobs_delayed}
WHERE state = 0 AND due_ms <= ? ORDER BY due_ms, n LIMIT ? {lock skip}

-- name: promote
UPDATE callboard_jobs SET state = 1 WHERE n = ?

-- name: next_due
SELECT min(due_ms) FROM callboard_jobs {by callboard_jobs_delayed} WHERE state = 0

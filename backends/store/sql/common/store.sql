-- name: set_waiting
UPDATE callboard_store SET waiting = ? WHERE one = 1

-- name: set_fence
UPDATE callboard_store
SET epoch = ?, owner = ?, cluster_id = ?, backend = ?, term_number = ?, waiting = 0 WHERE one = 1

-- name: add_counts
INSERT INTO callboard_queues (queue, delayed, ready, assigned, running, failed, finished, completed, cancelled)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (queue) DO UPDATE SET
    delayed = delayed + ?2, ready = ready + ?3, assigned = assigned + ?4, running = running + ?5,
    failed = failed + ?6, finished = finished + ?7, completed = completed + ?8, cancelled = cancelled + ?9

-- name: add_held
INSERT INTO callboard_held (session, queue, held) VALUES (?1, ?2, ?3)
ON CONFLICT (session, queue) DO UPDATE SET held = held + ?3

-- name: live_session
SELECT node FROM callboard_sessions WHERE session = ? AND ended_ms IS NULL {lock key}

-- name: wakes
SELECT idle = 1 AND paused = 0 FROM callboard_queues WHERE queue = ?

-- name: any_ready
SELECT 1 FROM callboard_queues WHERE ready > 0 AND paused = 0 LIMIT 1

-- name: aging_ms
SELECT aging_ms FROM callboard_queues WHERE queue = ?

-- name: not_idle
UPDATE callboard_queues SET idle = 0 WHERE queue = ?

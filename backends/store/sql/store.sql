-- name: store_row
SELECT schema_version, store_id, epoch, owner, cluster_id, backend, term_number, seq, waiting, boot_id, boot_s, wall_s, step_s, step_since_s
FROM callboard_store WHERE one = 1

-- name: set_anchor
UPDATE callboard_store SET boot_id = ?, boot_s = ?, wall_s = ?, step_s = ?, step_since_s = ? WHERE one = 1

-- name: set_waiting
UPDATE callboard_store SET waiting = ? WHERE one = 1

-- name: set_seq
UPDATE callboard_store SET seq = ? WHERE one = 1

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
SELECT node FROM callboard_sessions WHERE session = ? AND ended_ms IS NULL

-- name: wakes
SELECT idle AND NOT paused FROM callboard_queues WHERE queue = ?

-- name: any_ready
SELECT 1 FROM callboard_queues WHERE ready > 0 AND NOT paused LIMIT 1

-- name: aging_ms
SELECT aging_ms FROM callboard_queues WHERE queue = ?

-- name: add_alone
UPDATE callboard_sessions SET alone = alone + ? WHERE session = ?

-- name: not_idle
UPDATE callboard_queues SET idle = 0 WHERE queue = ?

-- name: end_session
UPDATE callboard_sessions SET ended_ms = ?, ended_reason = ? WHERE session = ?

-- name: lock_session
SELECT counter, node FROM callboard_sessions WHERE session = ? AND ended_ms IS NULL {lock}

-- name: drop_pools
DELETE FROM callboard_pools WHERE session = ?

-- name: drop_held
DELETE FROM callboard_held WHERE session = ?

-- name: live_of_node
SELECT session, boot_id, host, pid, ttl_s FROM callboard_sessions WHERE node = ? AND ended_ms IS NULL {lock own}

-- name: open_session
INSERT INTO callboard_sessions (node, boot_id, host, pid, version, socket, started_ms, counter, ttl_s, opened_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?) RETURNING session

-- name: reopen_session
UPDATE callboard_sessions
SET host = ?, pid = ?, version = ?, socket = ?, started_ms = ?, ttl_s = ?, counter = counter + 1 WHERE session = ?

-- name: beat
UPDATE callboard_sessions SET counter = counter + 1 WHERE session = ? AND ended_ms IS NULL RETURNING node

-- name: pools_of
SELECT pool, queues, slots, capacity FROM callboard_pools WHERE session = ? ORDER BY position

-- name: put_pool
INSERT INTO callboard_pools (session, pool, position, queues, slots, capacity) VALUES (?, ?, ?, ?, ?, ?)

-- name: know_queue
INSERT INTO callboard_queues (queue) VALUES (?) ON CONFLICT DO NOTHING

-- name: desired_of
SELECT queue, node, slots FROM callboard_desired WHERE node IN (?, '*') ORDER BY queue, node

-- name: draining
SELECT 1 FROM callboard_draining WHERE node = ?

-- name: cancels
SELECT id, epoch, seq FROM callboard_jobs {by callboard_jobs_held}
WHERE session = ? AND state IN (2, 3) AND state = 3 AND cancel = 1

-- name: waiting_rows
SELECT count(*) FROM callboard_jobs {by callboard_jobs_held}
WHERE session = ? AND state IN (2, 3) AND state = 2

-- name: assigned_jobs
SELECT n, id, name, queue, body, attempts, losses, step, max_attempts, timeout_s, backoff, error, has_failed_hook,
    pushed_ms, doubts, once, result_ttl_ms, unique_key, unique_until, epoch, seq
FROM callboard_jobs {by callboard_jobs_held}
WHERE session = ? AND state IN (2, 3) AND state = 2 AND queue {texts ?} ORDER BY epoch, seq {lock}

-- name: running_tokens
SELECT n, queue, epoch, seq FROM callboard_jobs {by callboard_jobs_held}
WHERE session = ? AND state IN (2, 3) AND state = 3

-- name: running_job
SELECT n, id, name, queue, body, attempts, losses, step, max_attempts, timeout_s, backoff, error, has_failed_hook,
    pushed_ms, doubts, once, result_ttl_ms, unique_key, unique_until, epoch, seq
FROM callboard_jobs WHERE n = ? AND epoch = ? AND seq = ? AND state = 3

-- name: take
UPDATE callboard_jobs SET state = 3, taken_ms = ? WHERE n = ?

-- name: mark
UPDATE callboard_jobs SET started_ms = coalesce(started_ms, ?)
WHERE n = ? AND id = ? AND epoch = ? AND seq = ? AND session = ? AND state = 3

-- name: progress
UPDATE callboard_jobs SET progress_fraction = ?, progress_message = ?, progress_ms = ?
WHERE n = ? AND id = ? AND epoch = ? AND seq = ? AND session = ? AND state = 3

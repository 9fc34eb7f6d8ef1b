-- name: live_jobs
SELECT coalesce(sum(`delayed` + ready + assigned + running), 0), coalesce(sum(`delayed` + ready), 0),
    (SELECT max_depth FROM callboard_queues WHERE queue = ?1)
FROM callboard_counts WHERE queue = ?1

-- What it would ignore besides ids that are taken, the caller has looked at.
-- name: insert
INSERT IGNORE INTO callboard_jobs (id, queue, state, has_failed_hook, priority, rank, due_ms, pushed_ms, name,
    max_attempts, timeout_s, backoff, unique_key, unique_until, once, expires_ms, result_ttl_ms, body)
VALUES ?
RETURNING id

-- Not INSERT IGNORE: it would share the row of a key that is taken, and deadlock with who takes the next of that name.
-- name: take_key
INSERT INTO callboard_keys (unique_key, id, until_ms) VALUES (?1, ?2, ?3)
ON DUPLICATE KEY UPDATE id = IF(until_ms <= ?4, ?2, id), until_ms = IF(until_ms <= ?4, ?3, until_ms);
SELECT 1 FROM callboard_keys WHERE unique_key = ?1 AND id = ?2

-- name: key_holder
SELECT id FROM callboard_keys WHERE unique_key = ? LOCK IN SHARE MODE

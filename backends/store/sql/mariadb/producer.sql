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

-- The row is locked first: INSERT IGNORE alone would share that of a key which is taken, and deadlock with who takes it.
-- name: take_key
SELECT 1 FROM callboard_keys FORCE INDEX (PRIMARY) WHERE unique_key = ?1 FOR UPDATE;
DELETE FROM callboard_keys WHERE unique_key = ?1 AND until_ms <= ?4;
INSERT IGNORE INTO callboard_keys (unique_key, id, until_ms) VALUES (?1, ?2, ?3) RETURNING 1

-- Not locked first: at REPEATABLE READ that locks the gap around a key that nobody holds.
-- name: take_key_within
INSERT IGNORE INTO callboard_keys (unique_key, id, until_ms) VALUES (?1, ?2, ?3) RETURNING 1

-- name: key_holder
SELECT id FROM callboard_keys WHERE unique_key = ? LOCK IN SHARE MODE

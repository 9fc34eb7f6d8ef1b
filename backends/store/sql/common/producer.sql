-- name: live_jobs
SELECT delayed + ready + assigned + running, delayed + ready, max_depth FROM callboard_queues WHERE queue = ?

-- name: queues_of
SELECT queue, aging_ms, max_depth FROM callboard_queues WHERE queue {texts ?}

-- name: lock_queues
SELECT queue FROM callboard_queues WHERE queue {texts ?} ORDER BY queue {lock own}

-- name: insert
INSERT INTO callboard_jobs (id, queue, state, has_failed_hook, priority, rank, due_ms, pushed_ms, name, max_attempts,
    timeout_s, backoff, unique_key, unique_until, once, expires_ms, result_ttl_ms, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING

-- name: last_n
SELECT max(n) FROM callboard_jobs

-- name: inserted_since
SELECT id FROM callboard_jobs WHERE n > ?

-- name: known_ids
SELECT id FROM callboard_jobs WHERE id {texts ?}

-- name: take_key
INSERT INTO callboard_keys (unique_key, id, until_ms) VALUES (?1, ?2, ?3)
ON CONFLICT (unique_key) DO UPDATE SET id = ?2, until_ms = ?3 WHERE callboard_keys.until_ms <= ?4

-- For a caller's own transaction: it locks nothing but what it inserts.
-- name: take_key_within
INSERT INTO callboard_keys (unique_key, id, until_ms) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING

-- name: drop_expired_key
DELETE FROM callboard_keys WHERE unique_key = ? AND until_ms <= ?

-- name: holders_of
SELECT unique_key, id, until_ms FROM callboard_keys WHERE unique_key {texts ?}

-- name: drop_key
DELETE FROM callboard_keys WHERE unique_key = ? AND id = ?

-- name: key_holder
SELECT id FROM callboard_keys WHERE unique_key = ?

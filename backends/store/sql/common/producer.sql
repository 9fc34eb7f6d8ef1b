-- name: live_jobs
SELECT delayed + ready + assigned + running FROM callboard_queues WHERE queue = ?

-- name: queues_of
SELECT queue, aging_ms FROM callboard_queues WHERE queue {texts ?}

-- name: insert
INSERT INTO callboard_jobs (id, queue, state, has_failed_hook, priority, rank, due_ms, pushed_ms, name, max_attempts,
    timeout_s, backoff, unique_key, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING

-- name: last_n
SELECT max(n) FROM callboard_jobs

-- name: inserted_since
SELECT id FROM callboard_jobs WHERE n > ?

-- name: known_id
SELECT 1 FROM callboard_jobs WHERE id = ?

-- name: unique_holder
SELECT id FROM callboard_jobs WHERE unique_key = ? AND state < 4

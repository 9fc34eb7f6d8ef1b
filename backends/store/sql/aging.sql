-- name: set_aging
INSERT INTO callboard_queues (queue, aging_ms) VALUES (?1, ?2) ON CONFLICT (queue) DO UPDATE SET aging_ms = ?2

-- name: waiting_after
SELECT n, priority, due_ms FROM callboard_jobs NOT INDEXED
WHERE n > ?1 AND n <= ?2 AND queue = ?3 AND state IN (0, 1) ORDER BY n LIMIT ?4

-- name: set_rank
UPDATE callboard_jobs SET rank = ? WHERE n = ?

-- name: last_n
SELECT coalesce(max(n), 0) FROM callboard_jobs

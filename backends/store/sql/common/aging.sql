-- name: set_aging
UPDATE callboard_queues SET aging_ms = ? WHERE queue = ?

-- name: waiting_after
SELECT n, priority, due_ms FROM callboard_jobs {scan}
WHERE n > ?1 AND n <= ?2 AND queue = ?3 AND state IN (0, 1) ORDER BY n LIMIT ?4 {lock}

-- name: set_rank
UPDATE callboard_jobs SET rank = ? WHERE n = ?

-- name: last_n
SELECT coalesce(max(n), 0) FROM callboard_jobs

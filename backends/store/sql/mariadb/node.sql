-- name: beat
UPDATE callboard_sessions SET counter = counter + 1 WHERE session = ?1 AND ended_ms IS NULL;
SELECT node FROM callboard_sessions WHERE session = ?1 AND ended_ms IS NULL

-- name: know_queue
INSERT IGNORE INTO callboard_queues (queue) VALUES (?)

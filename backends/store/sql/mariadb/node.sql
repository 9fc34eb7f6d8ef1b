-- name: beat
UPDATE callboard_sessions SET counter = counter + 1 WHERE session = ?1 AND ended_ms IS NULL;
SELECT node FROM callboard_sessions WHERE session = ?1 AND ended_ms IS NULL

-- Of a row that is there nothing is locked: INSERT IGNORE alone would share it, and who then changes it deadlocks.
-- name: know_queue
INSERT IGNORE INTO callboard_queues (queue)
SELECT ?1 FROM dual WHERE NOT EXISTS (SELECT 1 FROM callboard_queues WHERE queue = ?1)

-- Run after a commit: whoever commits before the leader looks is seen by it, whoever commits later sees that it waits.
-- A plain SELECT, for in a compound statement it would wait for rows that others have locked.
-- name: wake
SELECT 1 FROM callboard_bell b
WHERE b.one = 1 AND b.waiting = 1 AND (
    EXISTS (SELECT 1 FROM callboard_queues q WHERE q.queue {texts ?1} AND q.idle = 1 AND q.paused = 0)
    OR (?2 = 1 AND EXISTS (
        SELECT 1 FROM callboard_counts c JOIN callboard_queues q ON q.queue = c.queue
        WHERE q.paused = 0 GROUP BY c.queue HAVING sum(c.ready) > 0)))

-- name: woken
UPDATE callboard_bell SET waiting = 0 WHERE one = 1 AND waiting = 1

-- name: missed
UPDATE callboard_queues q SET idle = 0
WHERE q.idle = 1 AND q.paused = 0 AND EXISTS (
    SELECT 1 FROM callboard_jobs j {by callboard_jobs_ready} WHERE j.queue = q.queue AND j.state = 1 AND j.losses < 2)

-- name: ring
INSERT INTO callboard_bells (topic, rung, sender, rung_s) VALUES ?
ON DUPLICATE KEY UPDATE rung = VALUES(rung), sender = VALUES(sender), rung_s = VALUES(rung_s)

-- name: rung
SELECT topic, rung, sender FROM callboard_bells WHERE topic {texts ?}

-- name: drop_old
DELETE FROM callboard_bells WHERE rung_s < unix_timestamp() - ?

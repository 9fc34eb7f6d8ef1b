-- Run after a commit: whoever commits before the leader looks is seen by it, whoever commits later sees that it waits.
-- name: wake
WITH woken AS (
    UPDATE callboard_bell SET waiting = 0
    WHERE one = 1 AND waiting = 1 AND (
        EXISTS (
            SELECT 1 FROM callboard_queues q WHERE q.queue = ANY (?1::text[]) AND q.idle = 1 AND q.paused = 0)
        OR (?2::bigint = 1 AND EXISTS (
            SELECT 1 FROM callboard_counts c JOIN callboard_queues q ON q.queue = c.queue
            WHERE q.paused = 0 GROUP BY c.queue HAVING sum(c.ready) > 0)))
    RETURNING 1),
told AS (
    UPDATE callboard_queues SET idle = 0
    WHERE queue = ANY (?1::text[]) AND idle = 1 AND EXISTS (SELECT 1 FROM woken))
SELECT pg_notify(?3::text, ?4::text) FROM woken

-- name: missed
UPDATE callboard_queues q SET idle = 0
WHERE q.idle = 1 AND q.paused = 0 AND EXISTS (
    SELECT 1 FROM callboard_jobs j WHERE j.queue = q.queue AND j.state = 1 AND j.losses < 2)
RETURNING q.queue

-- name: ring
SELECT pg_notify(?1::text, t.topic) FROM unnest(?2::text[]) AS t (topic)

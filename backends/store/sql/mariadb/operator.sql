-- name: counts
SELECT q.queue, coalesce(sum(c.delayed), 0), coalesce(sum(c.ready), 0), coalesce(sum(c.assigned), 0),
    coalesce(sum(c.running), 0), coalesce(sum(c.failed), 0), coalesce(sum(c.completed), 0),
    coalesce(sum(c.cancelled), 0), q.paused, q.max_depth, q.aging_ms
FROM callboard_queues q LEFT JOIN callboard_counts c ON c.queue = q.queue
GROUP BY q.queue ORDER BY q.queue

-- name: counts_of
SELECT q.queue, coalesce(sum(c.delayed), 0), coalesce(sum(c.ready), 0), coalesce(sum(c.assigned), 0),
    coalesce(sum(c.running), 0), coalesce(sum(c.failed), 0), coalesce(sum(c.completed), 0),
    coalesce(sum(c.cancelled), 0), q.paused, q.max_depth, q.aging_ms
FROM callboard_queues q LEFT JOIN callboard_counts c ON c.queue = q.queue
WHERE q.queue = ? GROUP BY q.queue

-- name: in_state
SELECT coalesce(sum(`delayed`), 0), coalesce(sum(ready), 0), coalesce(sum(assigned), 0), coalesce(sum(running), 0),
    coalesce(sum(finished), 0), coalesce(sum(failed), 0) FROM callboard_counts

-- name: put_desired
INSERT INTO callboard_desired (queue, node, slots) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE slots = VALUES(slots)

-- name: drain
INSERT IGNORE INTO callboard_draining (node) VALUES (?)

-- name: put_schedule
INSERT INTO callboard_schedules (name, cron, timezone, missed, window_s, job, last_tick_ms, version)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE cron = VALUES(cron), timezone = VALUES(timezone), missed = VALUES(missed),
    window_s = VALUES(window_s), job = VALUES(job), last_tick_ms = VALUES(last_tick_ms), version = VALUES(version)

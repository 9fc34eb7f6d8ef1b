-- name: counts
SELECT q.queue, coalesce(sum(c.delayed), 0)::bigint, coalesce(sum(c.ready), 0)::bigint,
    coalesce(sum(c.assigned), 0)::bigint, coalesce(sum(c.running), 0)::bigint, coalesce(sum(c.failed), 0)::bigint,
    coalesce(sum(c.completed), 0)::bigint, coalesce(sum(c.cancelled), 0)::bigint, q.paused, q.max_depth,
    q.aging_ms
FROM callboard_queues q LEFT JOIN callboard_counts c ON c.queue = q.queue
GROUP BY q.queue ORDER BY q.queue

-- name: counts_of
SELECT q.queue, coalesce(sum(c.delayed), 0)::bigint, coalesce(sum(c.ready), 0)::bigint,
    coalesce(sum(c.assigned), 0)::bigint, coalesce(sum(c.running), 0)::bigint, coalesce(sum(c.failed), 0)::bigint,
    coalesce(sum(c.completed), 0)::bigint, coalesce(sum(c.cancelled), 0)::bigint, q.paused, q.max_depth,
    q.aging_ms
FROM callboard_queues q LEFT JOIN callboard_counts c ON c.queue = q.queue
WHERE q.queue = ? GROUP BY q.queue

-- name: in_state
SELECT coalesce(sum(delayed), 0)::bigint, coalesce(sum(ready), 0)::bigint, coalesce(sum(assigned), 0)::bigint,
    coalesce(sum(running), 0)::bigint, coalesce(sum(finished), 0)::bigint, coalesce(sum(failed), 0)::bigint
FROM callboard_counts

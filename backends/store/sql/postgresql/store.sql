-- name: is_there
SELECT to_regclass('callboard_store')

-- name: row
SELECT schema_version, store_id, epoch, owner, cluster_id, backend, term_number, 0,
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint
FROM callboard_store WHERE one = 1

-- name: row_share
SELECT schema_version, store_id, epoch, owner, cluster_id, backend, term_number, 0,
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint
FROM callboard_store WHERE one = 1 FOR SHARE

-- name: row_update
SELECT schema_version, store_id, epoch, owner, cluster_id, backend, term_number, 0,
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint
FROM callboard_store WHERE one = 1 FOR UPDATE

-- name: set_fence
WITH asleep AS (UPDATE callboard_bell SET waiting = 0 WHERE one = 1 AND waiting <> 0)
UPDATE callboard_store
SET epoch = ?, owner = ?, cluster_id = ?, backend = ?, term_number = ? WHERE one = 1

-- name: set_waiting
UPDATE callboard_bell SET waiting = ?1::integer WHERE one = 1 AND waiting <> ?1::integer

-- Counters are in many rows, so that those who push into one queue do not wait for each other's commit.
-- name: add_counts
INSERT INTO callboard_counts (queue, shard, delayed, ready, assigned, running, failed, finished, completed, cancelled)
SELECT t.queue, pg_backend_pid() % 32, t.delayed, t.ready, t.assigned, t.running, t.failed, t.finished, t.completed,
    t.cancelled
FROM unnest(?1::text[], ?2::bigint[], ?3::bigint[], ?4::bigint[], ?5::bigint[], ?6::bigint[], ?7::bigint[],
    ?8::bigint[], ?9::bigint[])
    AS t (queue, delayed, ready, assigned, running, failed, finished, completed, cancelled)
ON CONFLICT (queue, shard) DO UPDATE SET
    delayed = callboard_counts.delayed + excluded.delayed, ready = callboard_counts.ready + excluded.ready,
    assigned = callboard_counts.assigned + excluded.assigned, running = callboard_counts.running + excluded.running,
    failed = callboard_counts.failed + excluded.failed, finished = callboard_counts.finished + excluded.finished,
    completed = callboard_counts.completed + excluded.completed,
    cancelled = callboard_counts.cancelled + excluded.cancelled

-- A caller may take long to commit: nobody else writes to its row. A sweep adds it to the others.
-- name: add_guest_counts
INSERT INTO callboard_counts (queue, shard, delayed, ready, assigned, running, failed, finished, completed, cancelled)
SELECT t.queue, -pg_backend_pid(), t.delayed, t.ready, t.assigned, t.running, t.failed, t.finished, t.completed,
    t.cancelled
FROM unnest(?1::text[], ?2::bigint[], ?3::bigint[], ?4::bigint[], ?5::bigint[], ?6::bigint[], ?7::bigint[],
    ?8::bigint[], ?9::bigint[])
    AS t (queue, delayed, ready, assigned, running, failed, finished, completed, cancelled)
ON CONFLICT (queue, shard) DO UPDATE SET
    delayed = callboard_counts.delayed + excluded.delayed, ready = callboard_counts.ready + excluded.ready,
    assigned = callboard_counts.assigned + excluded.assigned, running = callboard_counts.running + excluded.running,
    failed = callboard_counts.failed + excluded.failed, finished = callboard_counts.finished + excluded.finished,
    completed = callboard_counts.completed + excluded.completed,
    cancelled = callboard_counts.cancelled + excluded.cancelled

-- What a session got and what it gave back are counted apart: its leader and itself do not wait for each other.
-- name: add_held
INSERT INTO callboard_held (session, queue, side, held)
SELECT t.session, t.queue, (t.held < 0)::integer, t.held
FROM unnest(?1::bigint[], ?2::text[], ?3::bigint[]) AS t (session, queue, held)
ON CONFLICT (session, queue, side) DO UPDATE SET held = callboard_held.held + excluded.held

-- name: any_ready
SELECT 1 FROM callboard_counts c JOIN callboard_queues q ON q.queue = c.queue
WHERE q.paused = 0 GROUP BY c.queue HAVING sum(c.ready) > 0 LIMIT 1

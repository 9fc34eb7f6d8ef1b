-- name: is_there
SELECT 1 FROM information_schema.tables WHERE table_schema = database() AND table_name = 'callboard_store'

-- name: row
SELECT schema_version, store_id, epoch, owner, cluster_id, backend, term_number, 0,
    CAST(unix_timestamp(sysdate(3)) * 1000 AS SIGNED)
FROM callboard_store WHERE one = 1

-- name: row_share
SELECT schema_version, store_id, epoch, owner, cluster_id, backend, term_number, 0,
    CAST(unix_timestamp(sysdate(3)) * 1000 AS SIGNED)
FROM callboard_store WHERE one = 1 LOCK IN SHARE MODE

-- name: row_update
SELECT schema_version, store_id, epoch, owner, cluster_id, backend, term_number, 0,
    CAST(unix_timestamp(sysdate(3)) * 1000 AS SIGNED)
FROM callboard_store WHERE one = 1 FOR UPDATE

-- name: set_fence
UPDATE callboard_bell SET waiting = 0 WHERE one = 1 AND waiting <> 0;
UPDATE callboard_store
SET epoch = ?, owner = ?, cluster_id = ?, backend = ?, term_number = ? WHERE one = 1

-- name: set_waiting
UPDATE callboard_bell SET waiting = ?1 WHERE one = 1 AND waiting <> ?1

-- Counters are in many rows, so that those who push into one queue do not wait for each other's commit.
-- name: add_counts
INSERT INTO callboard_counts (queue, shard, `delayed`, ready, assigned, running, failed, finished, completed, cancelled)
VALUES (?, @@pseudo_thread_id % 32, ?, ?, ?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE
    `delayed` = `delayed` + VALUES(`delayed`), ready = ready + VALUES(ready), assigned = assigned + VALUES(assigned),
    running = running + VALUES(running), failed = failed + VALUES(failed), finished = finished + VALUES(finished),
    completed = completed + VALUES(completed), cancelled = cancelled + VALUES(cancelled)

-- What a session got and what it gave back are counted apart: its leader and itself do not wait for each other.
-- name: add_held
INSERT INTO callboard_held (session, queue, side, held) VALUES (?1, ?2, ?3 < 0, ?3)
ON DUPLICATE KEY UPDATE held = held + VALUES(held)

-- name: any_ready
SELECT 1 FROM callboard_counts c JOIN callboard_queues q ON q.queue = c.queue
WHERE q.paused = 0 GROUP BY c.queue HAVING sum(c.ready) > 0 LIMIT 1

-- A caller's own transaction may take long: its counters are rows that nobody else writes to, until a sweep folds them.
-- name: add_guest_counts
INSERT INTO callboard_counts (queue, shard, `delayed`, ready, assigned, running, failed, finished, completed, cancelled)
VALUES (?, -@@pseudo_thread_id, ?, ?, ?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE
    `delayed` = `delayed` + VALUES(`delayed`), ready = ready + VALUES(ready), assigned = assigned + VALUES(assigned),
    running = running + VALUES(running), failed = failed + VALUES(failed), finished = finished + VALUES(finished),
    completed = completed + VALUES(completed), cancelled = cancelled + VALUES(cancelled)

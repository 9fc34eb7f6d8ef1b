-- name: held
SELECT h.session, h.queue, sum(h.held)
FROM callboard_sessions s JOIN callboard_held h ON h.session = s.session
WHERE s.ended_ms IS NULL GROUP BY h.session, h.queue HAVING sum(h.held) > 0

-- name: held_of
SELECT queue, sum(held) FROM callboard_held WHERE session = ? GROUP BY queue

-- By the counters, for rows can't be counted up to a limit for each queue.
-- name: ready
SELECT q.queue, least(?1, coalesce((SELECT sum(c.ready) FROM callboard_counts c WHERE c.queue = q.queue), 0) - (
    SELECT count(*) FROM callboard_jobs j {by callboard_jobs_ready}
    WHERE j.queue = q.queue AND j.state = 1 AND j.losses >= 2))
FROM callboard_queues q WHERE q.paused = 0

-- Within this transaction nobody else draws: LAST_INSERT_ID is where the tokens stood before.
-- name: give
UPDATE callboard_tokens SET seq = last_insert_id(seq) + ?2 WHERE one = 1;
UPDATE callboard_jobs FORCE INDEX (PRIMARY)
SET state = ?3, session = ?4, epoch = ?5, seq = last_insert_id() + field(n, ?1), outcome = NULL, node = ?6,
    assigned_ms = ?7, taken_ms = ?8, started_ms = NULL, progress_fraction = NULL, progress_message = NULL,
    progress_ms = NULL
WHERE n IN (?1);
SELECT last_insert_id()

-- name: draw_tokens
UPDATE callboard_tokens SET seq = seq + ?1 WHERE one = 1;
SELECT seq FROM callboard_tokens WHERE one = 1

-- Not shared: who finds nothing to give notes that in these rows.
-- name: lock_queues
SELECT queue FROM callboard_queues FORCE INDEX (PRIMARY) WHERE queue {texts ?} ORDER BY queue FOR UPDATE

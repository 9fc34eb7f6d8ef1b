-- name: held
SELECT h.session, h.queue, sum(h.held)::bigint
FROM callboard_sessions s JOIN callboard_held h ON h.session = s.session
WHERE s.ended_ms IS NULL GROUP BY h.session, h.queue HAVING sum(h.held) > 0

-- name: held_of
SELECT queue, sum(held)::bigint FROM callboard_held WHERE session = ? GROUP BY queue

-- name: ready
SELECT q.queue, (
    SELECT count(*) FROM (
        SELECT 1 FROM callboard_jobs
        WHERE queue = q.queue AND state = 1 AND losses < 2 LIMIT ?1) AS first)
FROM callboard_queues q WHERE q.paused = 0

-- name: give_jobs
WITH chosen AS MATERIALIZED (
    SELECT n FROM callboard_jobs WHERE queue = ?1 AND state = 1 AND losses < 2
        AND (expires_ms IS NULL OR expires_ms > ?7 OR step = 1)
    ORDER BY rank, n LIMIT ?2 FOR UPDATE SKIP LOCKED),
numbered AS MATERIALIZED (SELECT n, nextval('callboard_tokens') AS seq FROM chosen)
UPDATE callboard_jobs j
SET state = ?3, session = ?4, epoch = ?5, seq = numbered.seq, outcome = NULL, node = ?6, assigned_ms = ?7, taken_ms = ?8,
    started_ms = NULL, progress_fraction = NULL, progress_message = NULL, progress_ms = NULL
FROM numbered WHERE j.n = numbered.n
RETURNING j.n, j.id, j.name, j.queue, j.body, j.attempts, j.losses, j.step, j.max_attempts, j.timeout_s, j.backoff,
    j.error, j.has_failed_hook, j.pushed_ms, j.doubts, j.once, j.result_ttl_ms, j.unique_key, j.unique_until, j.seq

-- name: give_n
WITH chosen AS MATERIALIZED (
    SELECT n FROM callboard_jobs WHERE queue = ?1 AND state = 1 AND losses < 2
        AND (expires_ms IS NULL OR expires_ms > ?7 OR step = 1)
    ORDER BY rank, n LIMIT ?2 FOR UPDATE SKIP LOCKED),
numbered AS MATERIALIZED (SELECT n, nextval('callboard_tokens') AS seq FROM chosen)
UPDATE callboard_jobs j
SET state = ?3, session = ?4, epoch = ?5, seq = numbered.seq, outcome = NULL, node = ?6, assigned_ms = ?7, taken_ms = ?8,
    started_ms = NULL, progress_fraction = NULL, progress_message = NULL, progress_ms = NULL
FROM numbered WHERE j.n = numbered.n
RETURNING j.n, j.seq

-- name: give_alone
UPDATE callboard_jobs j
SET state = ?4, session = ?5, epoch = ?6, seq = nextval('callboard_tokens'), outcome = NULL, node = ?7,
    assigned_ms = ?8, taken_ms = ?9, started_ms = NULL, progress_fraction = NULL, progress_message = NULL,
    progress_ms = NULL
WHERE j.n = ?1 AND j.id = ?2 AND j.queue = ?3 AND j.state = 1 AND j.losses >= 2
    AND (j.expires_ms IS NULL OR j.expires_ms > ?8 OR j.step = 1)
RETURNING j.n, j.id, j.name, j.queue, j.body, j.attempts, j.losses, j.step, j.max_attempts, j.timeout_s, j.backoff,
    j.error, j.has_failed_hook, j.pushed_ms, j.doubts, j.once, j.result_ttl_ms, j.unique_key, j.unique_until, j.seq

-- name: idle_queues
SELECT q.queue, q.idle, EXISTS (
    SELECT 1 FROM callboard_jobs j WHERE j.queue = q.queue AND j.state = 1 AND j.losses < 2)
FROM callboard_queues q WHERE q.paused = 0

-- name: set_idle
UPDATE callboard_queues q SET idle = t.idle
FROM unnest(?1::bigint[], ?2::text[]) AS t (idle, queue) WHERE q.queue = t.queue

-- name: promote
UPDATE callboard_jobs j SET state = 1 FROM unnest(?1::bigint[]) AS t (n) WHERE j.n = t.n

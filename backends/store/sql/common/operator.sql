-- name: counts
SELECT queue, delayed, ready, assigned, running, failed, completed, cancelled, paused, max_depth, aging_ms
FROM callboard_queues ORDER BY queue

-- name: counts_of
SELECT queue, delayed, ready, assigned, running, failed, completed, cancelled, paused, max_depth, aging_ms
FROM callboard_queues WHERE queue = ?

-- name: record
SELECT j.id, j.name, j.queue, j.state, j.priority, j.attempts, j.losses, j.max_attempts, j.pushed_ms, j.due_ms,
    j.finished_ms, j.epoch, j.seq, j.node, j.body, j.error, j.unique_key, j.doubts, j.once, j.expires_ms, j.assigned_ms,
    j.taken_ms, j.started_ms, j.result, j.result_until_ms, j.progress_fraction, j.progress_message, j.progress_ms,
    j.history
FROM callboard_jobs j
WHERE j.id = ? AND j.state < 7

-- name: n_of
SELECT n FROM callboard_jobs WHERE id = ?

-- name: page
SELECT j.id, j.name, j.queue, j.state, j.priority, j.attempts, j.losses, j.max_attempts, j.pushed_ms, j.due_ms,
    j.finished_ms, j.epoch, j.seq, j.node, j.body, j.error, j.unique_key, j.doubts, j.once, j.expires_ms, j.assigned_ms,
    j.taken_ms, j.started_ms, j.result, j.result_until_ms, j.progress_fraction, j.progress_message, j.progress_ms,
    j.history
FROM callboard_jobs j
WHERE j.n {ints ?} ORDER BY j.n DESC

-- name: scan_page
SELECT n FROM callboard_jobs {scan}
WHERE state = ?1 AND {any queue ?2} AND n < ?3 ORDER BY n DESC LIMIT ?4

-- name: page_delayed
SELECT n FROM callboard_jobs {by callboard_jobs_delayed}
WHERE state = 0 AND {any queue ?2} AND n < ?3 ORDER BY n DESC LIMIT ?4

-- name: page_ready
SELECT n FROM (
    SELECT n FROM callboard_jobs {by callboard_jobs_ready}
    WHERE state = 1 AND losses < 2 AND {any queue ?2} AND n < ?3
    UNION ALL
    SELECT n FROM callboard_jobs {by callboard_jobs_isolated}
    WHERE state = 1 AND losses >= 2 AND {any queue ?2} AND n < ?3) AS both_kinds
ORDER BY n DESC LIMIT ?4

-- name: page_held
SELECT n FROM callboard_jobs {by callboard_jobs_held}
WHERE state IN (2, 3) AND state = ?1 AND {any queue ?2} AND n < ?3 ORDER BY n DESC LIMIT ?4

-- name: page_over
SELECT n FROM callboard_jobs {by callboard_jobs_over}
WHERE state >= 4 AND state = ?1 AND {any queue ?2} AND n < ?3 ORDER BY n DESC LIMIT ?4

-- name: set_paused
UPDATE callboard_queues SET paused = ? WHERE queue = ?

-- name: lock_queue
SELECT queue FROM callboard_queues WHERE queue = ? {lock}

-- name: lock_node
SELECT session FROM callboard_sessions WHERE node = ? AND ended_ms IS NULL {lock own}

-- name: assigned_of_queue
SELECT n FROM callboard_jobs {by callboard_jobs_held} WHERE state IN (2, 3) AND state = 2 AND queue = ? {lock n}

-- name: ask_cancel
UPDATE callboard_jobs SET cancel = 1 WHERE n = ?

-- name: last_n
SELECT max(n) FROM callboard_jobs

-- name: purge_ready
SELECT n FROM callboard_jobs {by callboard_jobs_ready}
WHERE queue = ?1 AND state = 1 AND losses < 2 AND n <= ?2 LIMIT ?3 {lock}

-- name: purge_isolated
SELECT n FROM callboard_jobs {by callboard_jobs_isolated}
WHERE queue = ?1 AND state = 1 AND losses >= 2 AND n <= ?2 LIMIT ?3 {lock}

-- name: purge_delayed
SELECT n FROM callboard_jobs {by callboard_jobs_delayed} WHERE queue = ?1 AND state = 0 AND n <= ?2 LIMIT ?3 {lock}

-- name: purge_assigned
SELECT n FROM callboard_jobs {by callboard_jobs_held}
WHERE queue = ?1 AND state IN (2, 3) AND state = 2 AND n <= ?2 LIMIT ?3 {lock}

-- name: failed_rows
SELECT n FROM callboard_jobs {by callboard_jobs_over}
WHERE state >= 4 AND state = 5 AND {any queue ?1} AND n <= ?2 LIMIT ?3 {lock}

-- name: forget_desired
DELETE FROM callboard_desired WHERE queue = ?

-- name: put_desired
INSERT INTO callboard_desired (queue, node, slots) VALUES (?1, ?2, ?3) ON CONFLICT (queue, node) DO UPDATE SET slots = ?3

-- name: drain
INSERT INTO callboard_draining (node) VALUES (?) ON CONFLICT DO NOTHING

-- name: undrain
DELETE FROM callboard_draining WHERE node = ?

-- name: schedules
SELECT name, cron, timezone, missed, window_s, job, last_tick_ms, version FROM callboard_schedules ORDER BY name

-- name: schedule
SELECT name, cron, timezone, missed, window_s, job, last_tick_ms, version FROM callboard_schedules WHERE name = ? {lock}

-- name: put_schedule
INSERT INTO callboard_schedules (name, cron, timezone, missed, window_s, job, last_tick_ms, version)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (name) DO UPDATE
SET cron = ?2, timezone = ?3, missed = ?4, window_s = ?5, job = ?6, last_tick_ms = ?7, version = ?8

-- name: remove_schedule
DELETE FROM callboard_schedules WHERE name = ?

-- name: move_tick
UPDATE callboard_schedules SET last_tick_ms = ? WHERE name = ? AND last_tick_ms = ?

-- name: in_state
SELECT coalesce(sum(delayed), 0), coalesce(sum(ready), 0), coalesce(sum(assigned), 0), coalesce(sum(running), 0),
    coalesce(sum(finished), 0), coalesce(sum(failed), 0) FROM callboard_queues

-- name: await_end
UPDATE callboard_jobs SET awaited = 1 WHERE id = ? AND state < 4

-- name: set_limits
UPDATE callboard_queues SET max_depth = ?, aging_ms = ? WHERE queue = ?

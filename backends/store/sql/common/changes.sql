-- name: rows_by_n
SELECT n, id, queue, state, step, attempts, losses, epoch, seq, session, outcome, cancel, has_failed_hook, priority,
    due_ms, rank, doubts, once, started_ms, awaited, unique_key, unique_until, assigned_ms, taken_ms, node
FROM callboard_jobs WHERE n {ints ?} {lock n}

-- name: rows_held
SELECT n, id, queue, state, step, attempts, losses, epoch, seq, session, outcome, cancel, has_failed_hook, priority,
    due_ms, rank, doubts, once, started_ms, awaited, unique_key, unique_until, assigned_ms, taken_ms, node
FROM callboard_jobs {by callboard_jobs_held} WHERE session = ? AND state IN (2, 3) {lock n}

-- name: row_by_id
SELECT n, id, queue, state, step, attempts, losses, epoch, seq, session, outcome, cancel, has_failed_hook, priority,
    due_ms, rank, doubts, once, started_ms, awaited, unique_key, unique_until, assigned_ms, taken_ms, node
FROM callboard_jobs WHERE id = ? {lock}

-- name: rows_expired
SELECT n, id, queue, state, step, attempts, losses, epoch, seq, session, outcome, cancel, has_failed_hook, priority,
    due_ms, rank, doubts, once, started_ms, awaited, unique_key, unique_until, assigned_ms, taken_ms, node
FROM callboard_jobs {by callboard_jobs_expires}
WHERE state >= ? AND expires_ms IS NOT NULL AND state IN (0, 1) AND step = 0 AND expires_ms <= ? ORDER BY expires_ms
LIMIT ? {lock skip}

-- name: complete
UPDATE callboard_jobs
SET state = 4, attempts = attempts + 1, finished_ms = ?1, outcome = 0, session = NULL, cancel = 0, error = NULL,
    result_until_ms = CASE WHEN result_ttl_ms > 0 THEN ?1 + result_ttl_ms END,
    result = CASE WHEN result_ttl_ms > 0 THEN ?2 END
WHERE n = ?3

-- name: change
UPDATE callboard_jobs
SET state = ?, step = ?, attempts = ?, losses = ?, doubts = ?, due_ms = ?, rank = ?, finished_ms = ?, outcome = ?,
    session = NULL, cancel = 0, error = CASE WHEN ? = 1 THEN error ELSE ? END
WHERE n = ?

-- name: forget
UPDATE callboard_jobs
SET state = 7, finished_ms = ?, outcome = NULL, session = NULL, cancel = 0, error = NULL, result = NULL, history = NULL,
    body = x''
WHERE n = ?

-- name: free_key
DELETE FROM callboard_keys WHERE unique_key = ? AND id = ? AND until_ms IS NULL

-- name: histories
SELECT n, history FROM callboard_jobs WHERE n {ints ?}

-- name: tell
UPDATE callboard_jobs SET history = ? WHERE n = ?

-- name: never_expires
UPDATE callboard_jobs SET expires_ms = NULL WHERE n = ?

-- name: rows_by_n
SELECT n, id, queue, state, step, attempts, losses, epoch, seq, session, outcome, cancel, has_failed_hook, priority,
    due_ms, rank
FROM callboard_jobs WHERE n {ints ?} {lock n}

-- name: rows_held
SELECT n, id, queue, state, step, attempts, losses, epoch, seq, session, outcome, cancel, has_failed_hook, priority,
    due_ms, rank
FROM callboard_jobs {by callboard_jobs_held} WHERE session = ? AND state IN (2, 3) {lock n}

-- name: row_by_id
SELECT n, id, queue, state, step, attempts, losses, epoch, seq, session, outcome, cancel, has_failed_hook, priority,
    due_ms, rank
FROM callboard_jobs WHERE id = ? {lock}

-- name: complete
UPDATE callboard_jobs
SET state = 4, attempts = attempts + 1, finished_ms = ?, outcome = 0, session = NULL, cancel = 0, error = NULL
WHERE n = ?

-- name: change
UPDATE callboard_jobs
SET state = ?, step = ?, attempts = ?, losses = ?, due_ms = ?, rank = ?, finished_ms = ?, outcome = ?,
    session = NULL, cancel = 0, error = iif(?, error, ?)
WHERE n = ?

-- name: forget
UPDATE callboard_jobs
SET state = 7, finished_ms = ?, outcome = NULL, session = NULL, cancel = 0, error = NULL, body = x''
WHERE n = ?

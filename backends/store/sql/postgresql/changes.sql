-- name: complete
UPDATE callboard_jobs j
SET state = 4, attempts = j.attempts + 1, finished_ms = t.finished_ms, outcome = 0, session = NULL, cancel = 0,
    error = NULL
FROM unnest(?1::bigint[], ?2::bigint[]) AS t (finished_ms, n) WHERE j.n = t.n

-- name: change
UPDATE callboard_jobs j
SET state = t.state, step = t.step, attempts = t.attempts, losses = t.losses, due_ms = t.due_ms, rank = t.rank,
    finished_ms = t.finished_ms, outcome = t.outcome, session = NULL, cancel = 0,
    error = CASE WHEN t.keep = 1 THEN j.error ELSE t.error END
FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[], ?4::bigint[], ?5::bigint[], ?6::bigint[], ?7::bigint[],
    ?8::bigint[], ?9::bigint[], ?10::bytea[], ?11::bigint[])
    AS t (state, step, attempts, losses, due_ms, rank, finished_ms, outcome, keep, error, n)
WHERE j.n = t.n

-- name: forget
UPDATE callboard_jobs j
SET state = 7, finished_ms = t.finished_ms, outcome = NULL, session = NULL, cancel = 0, error = NULL, body = ''
FROM unnest(?1::bigint[], ?2::bigint[]) AS t (finished_ms, n) WHERE j.n = t.n

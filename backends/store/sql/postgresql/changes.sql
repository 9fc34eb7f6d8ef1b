-- name: complete
UPDATE callboard_jobs j
SET state = 4, attempts = j.attempts + 1, finished_ms = t.finished_ms, outcome = 0, session = NULL, cancel = 0,
    error = NULL, result_until_ms = CASE WHEN j.result_ttl_ms > 0 THEN t.finished_ms + j.result_ttl_ms END,
    result = CASE WHEN j.result_ttl_ms > 0 THEN t.result END
FROM unnest(?1::bigint[], ?2::bytea[], ?3::bigint[]) AS t (finished_ms, result, n) WHERE j.n = t.n

-- name: change
UPDATE callboard_jobs j
SET state = t.state, step = t.step, attempts = t.attempts, losses = t.losses, doubts = t.doubts,
    due_ms = t.due_ms, rank = t.rank,
    finished_ms = t.finished_ms, outcome = t.outcome, session = NULL, cancel = 0,
    error = CASE WHEN t.keep = 1 THEN j.error ELSE t.error END
FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[], ?4::bigint[], ?5::bigint[], ?6::bigint[], ?7::bigint[],
    ?8::bigint[], ?9::bigint[], ?10::bigint[], ?11::bytea[], ?12::bigint[])
    AS t (state, step, attempts, losses, doubts, due_ms, rank, finished_ms, outcome, keep, error, n)
WHERE j.n = t.n

-- name: forget
UPDATE callboard_jobs j
SET state = 7, finished_ms = t.finished_ms, outcome = NULL, session = NULL, cancel = 0, error = NULL, result = NULL,
    history = NULL, body = ''
FROM unnest(?1::bigint[], ?2::bigint[]) AS t (finished_ms, n) WHERE j.n = t.n

-- name: free_key
DELETE FROM callboard_keys k USING unnest(?1::text[], ?2::text[]) AS t (unique_key, id)
WHERE k.unique_key = t.unique_key AND k.id = t.id AND k.until_ms IS NULL

-- name: tell
UPDATE callboard_jobs j SET history = t.history
FROM unnest(?1::bytea[], ?2::bigint[]) AS t (history, n) WHERE j.n = t.n

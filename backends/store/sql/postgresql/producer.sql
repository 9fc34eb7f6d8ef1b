-- name: live_jobs
SELECT coalesce(sum(delayed + ready + assigned + running), 0)::bigint, coalesce(sum(delayed + ready), 0)::bigint,
    (SELECT max_depth FROM callboard_queues WHERE queue = ?1)
FROM callboard_counts WHERE queue = ?1

-- In the order of their keys, so that two pushes of the same ones do not wait for each other.
-- name: insert
WITH pushed AS MATERIALIZED (
    SELECT nextval('callboard_jobs_n') AS n, t.*
    FROM unnest(?1::text[], ?2::text[], ?3::bigint[], ?4::bigint[], ?5::bigint[], ?6::bigint[], ?7::bigint[],
        ?8::bigint[], ?9::text[], ?10::bigint[], ?11::double precision[], ?12::bytea[], ?13::text[],
        ?14::bigint[], ?15::bigint[], ?16::bigint[], ?17::bigint[], ?18::bytea[])
        AS t (id, queue, state, has_failed_hook, priority, rank, due_ms, pushed_ms, name, max_attempts, timeout_s,
            backoff, unique_key, unique_until, once, expires_ms, result_ttl_ms, body))
INSERT INTO callboard_jobs (n, id, queue, state, has_failed_hook, priority, rank, due_ms, pushed_ms, name,
    max_attempts, timeout_s, backoff, unique_key, unique_until, once, expires_ms, result_ttl_ms, body)
SELECT n, id, queue, state, has_failed_hook, priority, rank, due_ms, pushed_ms, name, max_attempts, timeout_s, backoff,
    unique_key, unique_until, once, expires_ms, result_ttl_ms, body
FROM pushed ORDER BY unique_key, CASE WHEN unique_key IS NULL THEN id END, n
ON CONFLICT DO NOTHING
RETURNING id

-- name: drop_expired_key
DELETE FROM callboard_keys k USING unnest(?1::text[], ?2::bigint[]) AS t (unique_key, now_ms)
WHERE k.unique_key = t.unique_key AND k.until_ms <= t.now_ms

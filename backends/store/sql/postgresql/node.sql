-- name: know_queue
INSERT INTO callboard_queues (queue) SELECT t.queue FROM unnest(?1::text[]) AS t (queue) ON CONFLICT DO NOTHING

-- name: take
UPDATE callboard_jobs j SET state = 3, taken_ms = t.taken_ms
FROM unnest(?1::bigint[], ?2::bigint[]) AS t (taken_ms, n) WHERE j.n = t.n

-- name: mark
UPDATE callboard_jobs j SET started_ms = coalesce(j.started_ms, t.started_ms)
FROM unnest(?1::bigint[], ?2::bigint[], ?3::text[], ?4::bigint[], ?5::bigint[], ?6::bigint[])
    AS t (started_ms, n, id, epoch, seq, session)
WHERE j.n = t.n AND j.id = t.id AND j.epoch = t.epoch AND j.seq = t.seq AND j.session = t.session AND j.state = 3

-- Of one job the last report counts.
-- name: progress
UPDATE callboard_jobs j
SET progress_fraction = t.fraction, progress_message = t.message, progress_ms = t.at_ms
FROM (
    SELECT DISTINCT ON (r.n, r.id, r.epoch, r.seq, r.session) r.*
    FROM unnest(?1::double precision[], ?2::text[], ?3::bigint[], ?4::bigint[], ?5::text[], ?6::bigint[],
        ?7::bigint[], ?8::bigint[]) WITH ORDINALITY AS r (fraction, message, at_ms, n, id, epoch, seq, session, place)
    ORDER BY r.n, r.id, r.epoch, r.seq, r.session, r.place DESC) AS t
WHERE j.n = t.n AND j.id = t.id AND j.epoch = t.epoch AND j.seq = t.seq AND j.session = t.session AND j.state = 3

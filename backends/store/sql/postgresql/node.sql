-- name: know_queue
INSERT INTO callboard_queues (queue) SELECT t.queue FROM unnest(?1::text[]) AS t (queue) ON CONFLICT DO NOTHING

-- name: take
UPDATE callboard_jobs j SET state = 3 FROM unnest(?1::bigint[]) AS t (n) WHERE j.n = t.n

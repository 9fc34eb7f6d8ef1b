-- name: set_rank
UPDATE callboard_jobs j SET rank = t.rank FROM unnest(?1::bigint[], ?2::bigint[]) AS t (rank, n) WHERE j.n = t.n

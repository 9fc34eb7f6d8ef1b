-- One transaction writes at a time: no row is ever locked.

-- name: is_there
SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'callboard_store'

-- name: row
SELECT schema_version, store_id, epoch, owner, cluster_id, backend, term_number, waiting, boot_id, boot_s, wall_s,
    step_s, step_since_s
FROM callboard_store WHERE one = 1

-- name: row_share
SELECT schema_version, store_id, epoch, owner, cluster_id, backend, term_number, waiting, boot_id, boot_s, wall_s,
    step_s, step_since_s
FROM callboard_store WHERE one = 1

-- name: row_update
SELECT schema_version, store_id, epoch, owner, cluster_id, backend, term_number, waiting, boot_id, boot_s, wall_s,
    step_s, step_since_s
FROM callboard_store WHERE one = 1

-- name: set_anchor
UPDATE callboard_store SET boot_id = ?, boot_s = ?, wall_s = ?, step_s = ?, step_since_s = ? WHERE one = 1

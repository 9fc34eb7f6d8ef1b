-- name: cluster
SELECT cluster_id, number, owner, handle, machine, start_s, ttl_s, lock_number, members_version, message_bytes
FROM callboard_cluster WHERE one = 1

-- name: win
UPDATE callboard_cluster SET number = ?, owner = ?, handle = ?, machine = ?, start_s = ?, ttl_s = ? WHERE one = 1

-- name: renew
UPDATE callboard_cluster SET start_s = ?, ttl_s = ? WHERE one = 1

-- name: resign
UPDATE callboard_cluster SET ttl_s = 0 WHERE one = 1

-- name: put_node
INSERT INTO callboard_cluster_nodes (boot_id, node, host, pid, version, socket, started_ms, machine, start_s, ttl_s)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (boot_id) DO UPDATE SET
    node = ?2, host = ?3, pid = ?4, version = ?5, socket = ?6, started_ms = ?7, machine = ?8, start_s = ?9, ttl_s = ?10

-- name: node
SELECT node, boot_id, host, pid, version, socket, started_ms FROM callboard_cluster_nodes WHERE boot_id = ?

-- name: drop_node
DELETE FROM callboard_cluster_nodes WHERE boot_id = ?

-- name: drop_expired_nodes
DELETE FROM callboard_cluster_nodes WHERE machine <> ?1 OR start_s > ?2 + 1.0 OR start_s + ttl_s <= ?2

-- name: nodes
SELECT node, boot_id, host, pid, version, socket, started_ms FROM callboard_cluster_nodes
WHERE machine = ?1 AND start_s <= ?2 + 1.0 AND start_s + ttl_s > ?2 ORDER BY node, boot_id LIMIT ?3

-- name: count_nodes
SELECT count(*), min(start_s + ttl_s) FROM callboard_cluster_nodes
WHERE machine = ?1 AND start_s <= ?2 + 1.0 AND start_s + ttl_s > ?2

-- name: members_changed
UPDATE callboard_cluster SET members_version = members_version + 1 WHERE one = 1

-- name: lock
SELECT holder, number, machine, start_s, ttl_s FROM callboard_cluster_locks WHERE key = ?

-- name: put_lock
INSERT INTO callboard_cluster_locks (key, holder, number, machine, start_s, ttl_s) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (key) DO UPDATE SET holder = ?2, number = ?3, machine = ?4, start_s = ?5, ttl_s = ?6

-- name: drop_lock
DELETE FROM callboard_cluster_locks WHERE key = ?

-- name: drop_expired_locks
DELETE FROM callboard_cluster_locks WHERE machine <> ?1 OR start_s > ?2 + 1.0 OR start_s + ttl_s <= ?2

-- name: count_locks
SELECT count(*) FROM callboard_cluster_locks

-- name: set_lock_number
UPDATE callboard_cluster SET lock_number = ? WHERE one = 1

-- name: send
INSERT INTO callboard_cluster_messages (machine, sent_s, body) VALUES (?, ?, ?)

-- name: oldest_messages
SELECT n, machine, sent_s, length(body) FROM callboard_cluster_messages ORDER BY n LIMIT ?

-- name: drop_messages
DELETE FROM callboard_cluster_messages WHERE n <= ?

-- name: set_message_bytes
UPDATE callboard_cluster SET message_bytes = max(0, ?) WHERE one = 1

-- name: messages
SELECT n, CASE WHEN length(body) <= ?3 THEN body END FROM callboard_cluster_messages WHERE n > ?1 ORDER BY n LIMIT ?2

-- name: newest_message
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'callboard_cluster_messages'), 0)

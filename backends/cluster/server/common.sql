-- What both servers say alike. Each statement begins with the cluster's id, and whether its row is sound.

-- name: cluster
SELECT c.cluster_id, {sound c} FROM callboard_cluster c WHERE c.one = 1

-- name: leader
SELECT c.cluster_id, {sound c}, {lease c}, c.number, c.owner, c.ttl_s, c.handle FROM callboard_cluster c WHERE c.one = 1

-- name: nodes
SELECT c.cluster_id, {sound c}, n.node, n.boot_id, n.host, n.pid, n.version, n.socket, n.started_ms
FROM callboard_cluster c
LEFT JOIN (SELECT * FROM callboard_cluster_nodes n WHERE {lease n} ORDER BY n.node, n.boot_id LIMIT {nodes_max}) n ON 1 = 1
WHERE c.one = 1 ORDER BY n.node, n.boot_id

-- name: look
SELECT c.cluster_id, {sound c}, {lease c}, c.number, c.members_version, n.live, c.start_s + c.ttl_s - {now},
    n.first_end_s - {now}
FROM callboard_cluster c
JOIN (SELECT count(*) AS live, min(n.start_s + n.ttl_s) AS first_end_s FROM callboard_cluster_nodes n WHERE {lease n}) n
    ON 1 = 1
WHERE c.one = 1

-- name: newest_message
SELECT c.cluster_id, {sound c}, s.number FROM callboard_cluster c LEFT JOIN callboard_cluster_sent s ON s.one = c.one
WHERE c.one = 1

-- name: messages
SELECT c.cluster_id, {sound c}, m.n, m.body
FROM callboard_cluster c
LEFT JOIN (
    SELECT m.n, CASE WHEN octet_length(m.body) <= {message_max} THEN m.body END AS body
    FROM callboard_cluster_messages m WHERE m.n > %(after)s ORDER BY m.n LIMIT %(limit)s
) m ON 1 = 1
WHERE c.one = 1 ORDER BY m.n

-- Each act is one statement, a transaction of its own: a client that is stopped holds no lock. What an UPDATE finds
-- locked it looks at again, by the clock as it is then.

-- name: campaign
WITH won AS (
    UPDATE callboard_cluster c
    SET number = c.number + 1, owner = %(owner)s, handle = %(handle)s, start_s = {now}, ttl_s = %(ttl_s)s
    WHERE c.one = 1 AND {ours c} AND NOT {lease c}
    RETURNING c.number
)
SELECT c.cluster_id, {sound c}, won.number, CASE WHEN won.number IS NOT NULL THEN {ring} END
FROM callboard_cluster c LEFT JOIN won ON 1 = 1 WHERE c.one = 1

-- name: renew
WITH kept AS (
    UPDATE callboard_cluster c SET start_s = {now}, ttl_s = %(ttl_s)s
    WHERE c.one = 1 AND {ours c} AND {lease c}
        AND c.number = %(number)s AND c.owner = %(owner)s AND c.handle = %(handle)s
    RETURNING 1
)
SELECT c.cluster_id, {sound c}, EXISTS (SELECT 1 FROM kept) FROM callboard_cluster c WHERE c.one = 1

-- name: resign
WITH over AS (
    UPDATE callboard_cluster c SET ttl_s = 0
    WHERE c.one = 1 AND {ours c} AND {lease c}
        AND c.number = %(number)s AND c.owner = %(owner)s AND c.handle = %(handle)s
    RETURNING 1
)
SELECT c.cluster_id, {sound c}, EXISTS (SELECT 1 FROM over), CASE WHEN EXISTS (SELECT 1 FROM over) THEN {ring} END
FROM callboard_cluster c WHERE c.one = 1

-- name: register
WITH gone AS (
    DELETE FROM callboard_cluster_nodes n USING (
        SELECT d.boot_id FROM callboard_cluster_nodes d
        WHERE NOT {lease d} AND d.boot_id <> %(boot_id)s FOR UPDATE SKIP LOCKED
    ) dead
    WHERE n.boot_id = dead.boot_id
    RETURNING 1
), put AS (
    INSERT INTO callboard_cluster_nodes (boot_id, node, host, pid, version, socket, started_ms, start_s, ttl_s)
    SELECT %(boot_id)s, %(node)s, %(host)s, %(pid)s, %(version)s, %(socket)s, %(started_ms)s, {now}, %(ttl_s)s
    WHERE EXISTS (SELECT 1 FROM callboard_cluster c WHERE c.one = 1 AND {ours c})
        AND (SELECT count(*) FROM callboard_cluster_nodes o WHERE o.boot_id <> %(boot_id)s AND {lease o}) < {nodes_max}
    ON CONFLICT (boot_id) DO UPDATE SET
        node = excluded.node, host = excluded.host, pid = excluded.pid, version = excluded.version,
        socket = excluded.socket, started_ms = excluded.started_ms, start_s = {now}, ttl_s = excluded.ttl_s
    RETURNING 1
), changed AS (
    UPDATE callboard_cluster c SET members_version = c.members_version + 1
    WHERE c.one = 1 AND {ours c} AND (EXISTS (SELECT 1 FROM gone) OR EXISTS (SELECT 1 FROM put) AND NOT EXISTS (
        SELECT 1 FROM callboard_cluster_nodes k
        WHERE k.boot_id = %(boot_id)s AND {lease k} AND k.node = %(node)s AND k.host = %(host)s AND k.pid = %(pid)s
            AND k.version = %(version)s AND k.socket = %(socket)s AND k.started_ms = %(started_ms)s
    ))
    RETURNING 1
)
SELECT c.cluster_id, {sound c}, EXISTS (SELECT 1 FROM put), EXISTS (SELECT 1 FROM changed),
    CASE WHEN EXISTS (SELECT 1 FROM changed) THEN {ring} END
FROM callboard_cluster c WHERE c.one = 1

-- name: unregister
WITH gone AS (
    DELETE FROM callboard_cluster_nodes n
    WHERE n.boot_id = %(boot_id)s AND EXISTS (SELECT 1 FROM callboard_cluster c WHERE c.one = 1 AND {ours c})
    RETURNING 1
), changed AS (
    UPDATE callboard_cluster c SET members_version = c.members_version + 1
    WHERE c.one = 1 AND EXISTS (SELECT 1 FROM gone)
    RETURNING 1
)
SELECT c.cluster_id, {sound c}, EXISTS (SELECT 1 FROM changed), CASE WHEN EXISTS (SELECT 1 FROM changed) THEN {ring} END
FROM callboard_cluster c WHERE c.one = 1

-- name: acquire_lock
WITH held AS (
    SELECT 1 FROM callboard_cluster_locks l WHERE l.name = %(key)s AND l.holder <> %(holder)s AND {locked l}
), next AS (
    UPDATE callboard_cluster c SET lock_number = c.lock_number + 1
    WHERE c.one = 1 AND {ours c} AND NOT EXISTS (SELECT 1 FROM held) AND (
        EXISTS (SELECT 1 FROM callboard_cluster_locks l WHERE l.name = %(key)s)
        OR (SELECT count(*) FROM callboard_cluster_locks) < {locks_max}
    )
    RETURNING c.lock_number
), put AS (
    INSERT INTO callboard_cluster_locks AS l (name, holder, number, start_s, ttl_s)
    SELECT %(key)s, %(holder)s, next.lock_number, {now}, %(ttl_s)s FROM next
    ON CONFLICT (name) DO UPDATE SET
        number = CASE WHEN l.holder = excluded.holder AND {locked l} THEN l.number ELSE excluded.number END,
        holder = excluded.holder, start_s = {now}, ttl_s = excluded.ttl_s
    WHERE l.holder = excluded.holder OR NOT {locked l}
    RETURNING l.number
)
SELECT c.cluster_id, {sound c}, put.number, NOT EXISTS (SELECT 1 FROM held) AND NOT EXISTS (SELECT 1 FROM next)
FROM callboard_cluster c LEFT JOIN put ON 1 = 1 WHERE c.one = 1

-- name: drop_expired_locks
WITH gone AS (
    DELETE FROM callboard_cluster_locks l USING (
        SELECT d.name FROM callboard_cluster_locks d, callboard_cluster c
        WHERE c.one = 1 AND {ours c} AND NOT {locked d} FOR UPDATE OF d SKIP LOCKED
    ) over
    WHERE l.name = over.name
    RETURNING 1
)
SELECT c.cluster_id, {sound c}, (SELECT count(*) FROM gone) FROM callboard_cluster c WHERE c.one = 1

-- name: release_lock
WITH gone AS (
    DELETE FROM callboard_cluster_locks l
    WHERE l.name = %(key)s AND l.holder = %(holder)s AND l.number = %(number)s AND {locked l}
        AND EXISTS (SELECT 1 FROM callboard_cluster c WHERE c.one = 1 AND {ours c})
    RETURNING 1
)
SELECT c.cluster_id, {sound c}, EXISTS (SELECT 1 FROM gone) FROM callboard_cluster c WHERE c.one = 1

-- Who sends next waits for the row of numbers until this is committed: numbers are seen in their order.
-- name: broadcast
WITH head AS (
    UPDATE callboard_cluster_sent s SET number = s.number + 1, total = s.total + %(size)s
    WHERE s.one = 1 AND EXISTS (SELECT 1 FROM callboard_cluster c WHERE c.one = 1 AND {ours c})
    RETURNING s.number, s.total
), put AS (
    INSERT INTO callboard_cluster_messages (n, total, sent_s, body)
    SELECT head.number, head.total - %(size)s, {now}, %(body)s FROM head
), old AS (
    DELETE FROM callboard_cluster_messages m USING head
    WHERE m.n IN (SELECT o.n FROM callboard_cluster_messages o ORDER BY o.n LIMIT {trim})
        AND (m.n <= head.number - {messages_max} OR m.total < head.total - {messages_max_bytes} OR NOT {young m})
)
SELECT c.cluster_id, {sound c}, head.number, CASE WHEN head.number IS NOT NULL THEN {ring} END
FROM callboard_cluster c LEFT JOIN head ON 1 = 1 WHERE c.one = 1

-- Each act is one block, run by the server to its end: a client that is stopped holds no lock. A member's row is locked
-- before the cluster's, a lock's row after it. SYSDATE tells the time after a wait for a lock, NOW before it.

-- name: campaign
BEGIN NOT ATOMIC
    DECLARE v_number BIGINT DEFAULT NULL;
    DECLARE v_free INT DEFAULT 0;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    SELECT count(*) INTO v_free FROM callboard_cluster c WHERE c.one = 1 AND {ours c} AND NOT {lease c};
    IF v_free > 0 THEN
        START TRANSACTION;
        UPDATE callboard_cluster c
        SET c.number = c.number + 1, c.owner = %(owner)s, c.handle = %(handle)s, c.start_s = {now}, c.ttl_s = %(ttl_s)s
        WHERE c.one = 1 AND {ours c} AND NOT {lease c};
        IF ROW_COUNT() > 0 THEN
            SELECT c.number INTO v_number FROM callboard_cluster c WHERE c.one = 1;
        END IF;
        COMMIT;
    END IF;
    SELECT c.cluster_id, {sound c}, v_number FROM callboard_cluster c WHERE c.one = 1;
END

-- name: renew
BEGIN NOT ATOMIC
    DECLARE v_kept INT DEFAULT 0;
    UPDATE callboard_cluster c SET c.start_s = {now}, c.ttl_s = %(ttl_s)s
    WHERE c.one = 1 AND {ours c} AND {lease c}
        AND c.number = %(number)s AND c.owner = %(owner)s AND c.handle = %(handle)s;
    SET v_kept = ROW_COUNT();
    SELECT c.cluster_id, {sound c}, v_kept > 0 FROM callboard_cluster c WHERE c.one = 1;
END

-- name: resign
BEGIN NOT ATOMIC
    DECLARE v_over INT DEFAULT 0;
    UPDATE callboard_cluster c SET c.ttl_s = 0
    WHERE c.one = 1 AND {ours c} AND {lease c}
        AND c.number = %(number)s AND c.owner = %(owner)s AND c.handle = %(handle)s;
    SET v_over = ROW_COUNT();
    SELECT c.cluster_id, {sound c}, v_over > 0 FROM callboard_cluster c WHERE c.one = 1;
END

-- name: register
BEGIN NOT ATOMIC
    DECLARE v_ours, v_dead, v_live, v_same, v_put, v_changed INT DEFAULT 0;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT count(*) INTO v_ours FROM callboard_cluster c WHERE c.one = 1 AND {ours c};
    SELECT count(*) INTO v_dead FROM callboard_cluster_nodes n WHERE n.boot_id <> %(boot_id)s AND NOT {lease n};
    IF v_ours > 0 AND v_dead > 0 THEN
        DELETE FROM callboard_cluster_nodes WHERE boot_id <> %(boot_id)s AND NOT {lease callboard_cluster_nodes};
    END IF;
    SELECT count(*) INTO v_live FROM callboard_cluster_nodes o WHERE o.boot_id <> %(boot_id)s AND {lease o};
    SELECT count(*) INTO v_same FROM callboard_cluster_nodes k
    WHERE k.boot_id = %(boot_id)s AND {lease k} AND k.node = %(node)s AND k.host = %(host)s AND k.pid = %(pid)s
        AND k.version = %(version)s AND k.socket = %(socket)s AND k.started_ms = %(started_ms)s;
    IF v_ours > 0 AND v_live < {nodes_max} THEN
        INSERT INTO callboard_cluster_nodes (boot_id, node, host, pid, version, socket, started_ms, start_s, ttl_s)
        VALUES (%(boot_id)s, %(node)s, %(host)s, %(pid)s, %(version)s, %(socket)s, %(started_ms)s, {now}, %(ttl_s)s)
        ON DUPLICATE KEY UPDATE
            node = VALUES(node), host = VALUES(host), pid = VALUES(pid), version = VALUES(version),
            socket = VALUES(socket), started_ms = VALUES(started_ms), start_s = {now}, ttl_s = VALUES(ttl_s);
        SET v_put = 1;
    END IF;
    IF v_ours > 0 AND (v_dead > 0 OR v_put > 0 AND v_same = 0) THEN
        SET v_changed = 1;
        UPDATE callboard_cluster c SET c.members_version = c.members_version + 1 WHERE c.one = 1 AND {ours c};
    END IF;
    COMMIT;
    SELECT c.cluster_id, {sound c}, v_put > 0, v_changed > 0 FROM callboard_cluster c WHERE c.one = 1;
END

-- name: unregister
BEGIN NOT ATOMIC
    DECLARE v_ours, v_changed INT DEFAULT 0;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT count(*) INTO v_ours FROM callboard_cluster c WHERE c.one = 1 AND {ours c};
    IF v_ours > 0 THEN
        DELETE FROM callboard_cluster_nodes WHERE boot_id = %(boot_id)s;
        SET v_changed = ROW_COUNT();
        IF v_changed > 0 THEN
            UPDATE callboard_cluster c SET c.members_version = c.members_version + 1 WHERE c.one = 1;
        END IF;
    END IF;
    COMMIT;
    SELECT c.cluster_id, {sound c}, v_changed > 0 FROM callboard_cluster c WHERE c.one = 1;
END

-- name: acquire_lock
BEGIN NOT ATOMIC
    DECLARE v_held, v_known, v_mine, v_count, v_full INT DEFAULT 0;
    DECLARE v_next, v_number BIGINT DEFAULT NULL;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    SELECT count(*) INTO v_held FROM callboard_cluster_locks l
    WHERE l.name = %(key)s AND l.holder <> %(holder)s AND {locked l};
    IF v_held = 0 THEN
        START TRANSACTION;
        SELECT c.lock_number + 1 INTO v_next FROM callboard_cluster c WHERE c.one = 1 AND {ours c} FOR UPDATE;
        SELECT count(*), coalesce(sum(l.holder <> %(holder)s AND {locked l}), 0),
            max(CASE WHEN l.holder = %(holder)s AND {locked l} THEN l.number END)
        INTO v_known, v_held, v_number
        FROM callboard_cluster_locks l WHERE l.name = %(key)s FOR UPDATE;
        IF v_known = 0 THEN
            SELECT count(*) INTO v_count FROM callboard_cluster_locks;
            SET v_full = v_count >= {locks_max};
        END IF;
        IF v_next IS NOT NULL AND v_held = 0 AND NOT v_full THEN
            IF v_number IS NULL THEN
                SET v_number = v_next;
                UPDATE callboard_cluster c SET c.lock_number = v_next WHERE c.one = 1;
            END IF;
            INSERT INTO callboard_cluster_locks (name, holder, number, start_s, ttl_s)
            VALUES (%(key)s, %(holder)s, v_number, {now}, %(ttl_s)s)
            ON DUPLICATE KEY UPDATE
                holder = VALUES(holder), number = VALUES(number), start_s = VALUES(start_s), ttl_s = VALUES(ttl_s);
        ELSE
            SET v_number = NULL;
        END IF;
        COMMIT;
    END IF;
    SELECT c.cluster_id, {sound c}, v_number, v_full FROM callboard_cluster c WHERE c.one = 1;
END

-- name: drop_expired_locks
BEGIN NOT ATOMIC
    DECLARE v_ours, v_gone INT DEFAULT 0;
    SELECT count(*) INTO v_ours FROM callboard_cluster c WHERE c.one = 1 AND {ours c};
    IF v_ours > 0 THEN
        DELETE FROM callboard_cluster_locks WHERE NOT {locked callboard_cluster_locks};
        SET v_gone = ROW_COUNT();
    END IF;
    SELECT c.cluster_id, {sound c}, v_gone FROM callboard_cluster c WHERE c.one = 1;
END

-- name: release_lock
BEGIN NOT ATOMIC
    DECLARE v_ours, v_gone INT DEFAULT 0;
    SELECT count(*) INTO v_ours FROM callboard_cluster c WHERE c.one = 1 AND {ours c};
    IF v_ours > 0 THEN
        DELETE FROM callboard_cluster_locks
        WHERE name = %(key)s AND holder = %(holder)s AND number = %(number)s AND {locked callboard_cluster_locks};
        SET v_gone = ROW_COUNT();
    END IF;
    SELECT c.cluster_id, {sound c}, v_gone > 0 FROM callboard_cluster c WHERE c.one = 1;
END

-- Who sends next waits for the row of numbers until this is committed: numbers are seen in their order.
-- name: broadcast
BEGIN NOT ATOMIC
    DECLARE v_number, v_total, v_drop BIGINT DEFAULT NULL;
    DECLARE v_ours INT DEFAULT 0;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT count(*) INTO v_ours FROM callboard_cluster c WHERE c.one = 1 AND {ours c};
    IF v_ours > 0 THEN
        UPDATE callboard_cluster_sent s SET s.number = s.number + 1, s.total = s.total + %(size)s WHERE s.one = 1;
        SELECT s.number, s.total INTO v_number, v_total FROM callboard_cluster_sent s WHERE s.one = 1;
    END IF;
    IF v_number IS NOT NULL THEN
        SELECT max(m.n) INTO v_drop
        FROM (SELECT o.n, o.total, o.sent_s FROM callboard_cluster_messages o ORDER BY o.n LIMIT {trim}) m
        WHERE m.n <= v_number - {messages_max} OR m.total < v_total - {messages_max_bytes} OR NOT {young m};
        IF v_drop IS NOT NULL THEN
            DELETE FROM callboard_cluster_messages WHERE n <= v_drop;
        END IF;
        INSERT INTO callboard_cluster_messages (n, total, sent_s, body) VALUES (v_number, v_total - %(size)s, {now}, %(body)s);
    END IF;
    COMMIT;
    SELECT c.cluster_id, {sound c}, v_number FROM callboard_cluster c WHERE c.one = 1;
END

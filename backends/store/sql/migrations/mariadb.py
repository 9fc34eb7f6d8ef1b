"""What the versions create on MariaDB.

Its statements on tables commit by themselves, so each can be run again: a version that ended in its middle begins anew.
MariaDB has no partial indexes, and each index that an act changes costs as much as the row. So one index does for all
that is looked for by state, on generated columns: `phase` is the state (-1: ready, and must run alone), `lane` is the
queue of a ready job, `place` what counts in that state: its rank, when it is due, its session, or when it ended.
"""

from __future__ import annotations

from typing import Final

_TEXT: Final = "CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
_WORD: Final = f"VARCHAR(255) {_TEXT}"
_END: Final = "ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"

FIRST: Final = (
    f"""CREATE TABLE IF NOT EXISTS callboard_store (
        one INT PRIMARY KEY CHECK (one = 1),
        schema_version INT NOT NULL,
        store_id {_WORD} NOT NULL,
        epoch BIGINT NOT NULL, owner {_WORD} NOT NULL,
        cluster_id {_WORD} NOT NULL, backend {_WORD} NOT NULL, term_number BIGINT NOT NULL
    ) {_END}""",
    # what acts of one term change: apart from the row that fences them
    f"""CREATE TABLE IF NOT EXISTS callboard_tokens (
        one INT PRIMARY KEY CHECK (one = 1),
        seq BIGINT NOT NULL
    ) {_END}""",
    f"""CREATE TABLE IF NOT EXISTS callboard_bell (
        one INT PRIMARY KEY CHECK (one = 1),
        waiting INT NOT NULL
    ) {_END}""",
    # hints, read every few milliseconds: nothing of it need outlive the server
    f"""CREATE TABLE IF NOT EXISTS callboard_bells (
        topic VARCHAR(64) {_TEXT} PRIMARY KEY,
        rung BIGINT UNSIGNED NOT NULL,
        sender VARCHAR(16) {_TEXT} NOT NULL,
        rung_s BIGINT NOT NULL
    ) ENGINE = MEMORY""",
    f"""CREATE TABLE IF NOT EXISTS callboard_jobs (
        n BIGINT AUTO_INCREMENT PRIMARY KEY,
        id {_WORD} NOT NULL,
        queue {_WORD} NOT NULL,
        state TINYINT NOT NULL CHECK (state BETWEEN 0 AND 7),
        step TINYINT NOT NULL DEFAULT 0 CHECK (step BETWEEN 0 AND 1),
        losses BIGINT NOT NULL DEFAULT 0,
        attempts BIGINT NOT NULL DEFAULT 0,
        epoch BIGINT, seq BIGINT,
        session BIGINT,
        outcome TINYINT,
        cancel TINYINT NOT NULL DEFAULT 0,
        has_failed_hook TINYINT NOT NULL,
        priority BIGINT NOT NULL,
        rank BIGINT NOT NULL,
        due_ms BIGINT NOT NULL,
        pushed_ms BIGINT NOT NULL,
        finished_ms BIGINT,
        name {_WORD} NOT NULL,
        max_attempts BIGINT,
        timeout_s DOUBLE,
        backoff VARBINARY(32) CHECK (backoff IS NULL OR length(backoff) = 32),
        unique_key {_WORD},
        body LONGBLOB NOT NULL,
        error LONGBLOB,
        phase TINYINT AS (IF(state = 1 AND losses >= 2, -1, state)) PERSISTENT,
        lane {_WORD} AS (IF(state = 1, queue, '')) PERSISTENT,
        place BIGINT AS (CASE state WHEN 0 THEN due_ms WHEN 1 THEN rank WHEN 2 THEN session WHEN 3 THEN session
            ELSE finished_ms END) PERSISTENT,
        UNIQUE INDEX callboard_jobs_id (id),
        INDEX callboard_jobs_work (phase, lane, place)
    ) {_END}""",
    f"""CREATE TABLE IF NOT EXISTS callboard_queues (
        queue {_WORD} PRIMARY KEY,
        paused TINYINT NOT NULL DEFAULT 0,
        idle TINYINT NOT NULL DEFAULT 1,
        aging_ms BIGINT
    ) {_END}""",
    f"""CREATE TABLE IF NOT EXISTS callboard_counts (
        queue {_WORD} NOT NULL, shard INT NOT NULL,
        `delayed` BIGINT NOT NULL, ready BIGINT NOT NULL, assigned BIGINT NOT NULL, running BIGINT NOT NULL,
        failed BIGINT NOT NULL, finished BIGINT NOT NULL, completed BIGINT NOT NULL, cancelled BIGINT NOT NULL,
        PRIMARY KEY (queue, shard)
    ) {_END}""",
    f"""CREATE TABLE IF NOT EXISTS callboard_sessions (
        session BIGINT AUTO_INCREMENT PRIMARY KEY,
        node {_WORD} NOT NULL, boot_id {_WORD} NOT NULL, host {_WORD} NOT NULL, pid BIGINT NOT NULL,
        version {_WORD} NOT NULL, socket {_WORD} NOT NULL, started_ms BIGINT NOT NULL,
        counter BIGINT NOT NULL, ttl_s DOUBLE NOT NULL,
        opened_ms BIGINT NOT NULL, ended_ms BIGINT, ended_reason {_WORD},
        live_node {_WORD} AS (IF(ended_ms IS NULL, node, NULL)) PERSISTENT,
        UNIQUE INDEX callboard_sessions_live (live_node),
        INDEX callboard_sessions_ended (ended_ms)
    ) {_END}""",
    f"""CREATE TABLE IF NOT EXISTS callboard_pools (
        session BIGINT NOT NULL, pool {_WORD} NOT NULL, position INT NOT NULL,
        queues LONGTEXT {_TEXT} NOT NULL, slots BIGINT NOT NULL, capacity BIGINT NOT NULL,
        PRIMARY KEY (session, pool)
    ) {_END}""",
    f"""CREATE TABLE IF NOT EXISTS callboard_held (
        session BIGINT NOT NULL, queue {_WORD} NOT NULL, side INT NOT NULL, held BIGINT NOT NULL,
        PRIMARY KEY (session, queue, side)
    ) {_END}""",
    f"""CREATE TABLE IF NOT EXISTS callboard_desired (
        queue {_WORD} NOT NULL, node {_WORD} NOT NULL, slots BIGINT NOT NULL,
        PRIMARY KEY (queue, node)
    ) {_END}""",
    f"CREATE TABLE IF NOT EXISTS callboard_draining (node {_WORD} PRIMARY KEY) {_END}",
    f"""CREATE TABLE IF NOT EXISTS callboard_schedules (
        name {_WORD} PRIMARY KEY, cron {_WORD} NOT NULL, timezone {_WORD} NOT NULL, missed {_WORD} NOT NULL,
        window_s DOUBLE NOT NULL, job LONGBLOB NOT NULL, last_tick_ms BIGINT NOT NULL, version BIGINT NOT NULL
    ) {_END}""",
    "INSERT IGNORE INTO callboard_tokens VALUES (1, 0)",
    "INSERT IGNORE INTO callboard_bell VALUES (1, 0)",
    "INSERT IGNORE INTO callboard_store VALUES (1, 1, lower(hex(random_bytes(16))), 0, '', '', '', 0)",
)
LIFE: Final = (
    f"""ALTER TABLE callboard_jobs
        ADD COLUMN IF NOT EXISTS doubts BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN IF NOT EXISTS once TINYINT NOT NULL DEFAULT 0,
        ADD COLUMN IF NOT EXISTS unique_until TINYINT NOT NULL DEFAULT 1,
        ADD COLUMN IF NOT EXISTS expires_ms BIGINT,
        ADD COLUMN IF NOT EXISTS result_ttl_ms BIGINT NOT NULL DEFAULT 3600000,
        ADD COLUMN IF NOT EXISTS assigned_ms BIGINT,
        ADD COLUMN IF NOT EXISTS taken_ms BIGINT,
        ADD COLUMN IF NOT EXISTS started_ms BIGINT,
        ADD COLUMN IF NOT EXISTS node {_WORD},
        ADD COLUMN IF NOT EXISTS awaited TINYINT NOT NULL DEFAULT 0,
        ADD COLUMN IF NOT EXISTS progress_fraction DOUBLE,
        ADD COLUMN IF NOT EXISTS progress_message TEXT {_TEXT},
        ADD COLUMN IF NOT EXISTS progress_ms BIGINT,
        ADD COLUMN IF NOT EXISTS result_until_ms BIGINT,
        ADD COLUMN IF NOT EXISTS result LONGBLOB,
        ADD COLUMN IF NOT EXISTS history LONGBLOB,
        ADD COLUMN IF NOT EXISTS expiring_ms BIGINT
            AS (IF(state IN (0, 1) AND step = 0, expires_ms, NULL)) PERSISTENT,
        ADD COLUMN IF NOT EXISTS kept_until_ms BIGINT
            AS (IF(result IS NULL, NULL, result_until_ms)) PERSISTENT,
        ADD INDEX IF NOT EXISTS callboard_jobs_expires (expiring_ms),
        ADD INDEX IF NOT EXISTS callboard_jobs_results (kept_until_ms)""",
    f"""CREATE TABLE IF NOT EXISTS callboard_keys (
        unique_key {_WORD} PRIMARY KEY, id {_WORD} NOT NULL, until_ms BIGINT,
        INDEX callboard_keys_until (until_ms)
    ) {_END}""",
    """INSERT IGNORE INTO callboard_keys (unique_key, id) SELECT unique_key, id FROM callboard_jobs
        WHERE unique_key IS NOT NULL AND state < 4""",
    "ALTER TABLE callboard_queues ADD COLUMN IF NOT EXISTS max_depth BIGINT",
)

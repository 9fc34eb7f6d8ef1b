"""The first schema."""

from __future__ import annotations

from typing import Final

from callboard.backends.store.sql.migrations.ddl import run

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# States are core.records.JobState: 0 delayed, 1 ready, 2 assigned, 3 running, 4 completed, 5 failed, 6 cancelled,
# 7 forgotten. The partial indexes keep each hot path as small as what waits on it, whatever else the table holds.
# body and error come last: SQLite reads a row's columns in order, and most acts stop before them.
_SQLITE: Final = (
    """CREATE TABLE callboard_store (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        schema_version INTEGER NOT NULL,
        store_id TEXT NOT NULL,
        epoch INTEGER NOT NULL, owner TEXT NOT NULL,
        cluster_id TEXT NOT NULL, backend TEXT NOT NULL, term_number INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        waiting INTEGER NOT NULL,
        boot_id TEXT NOT NULL, boot_s REAL NOT NULL, wall_s REAL NOT NULL,
        step_s REAL, step_since_s REAL NOT NULL
    ) STRICT""",
    """CREATE TABLE callboard_jobs (
        n INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        queue TEXT NOT NULL,
        state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 7),
        step INTEGER NOT NULL DEFAULT 0 CHECK (step BETWEEN 0 AND 1),
        losses INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        epoch INTEGER, seq INTEGER,
        session INTEGER,
        outcome INTEGER,
        cancel INTEGER NOT NULL DEFAULT 0,
        has_failed_hook INTEGER NOT NULL,
        priority INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        due_ms INTEGER NOT NULL,
        pushed_ms INTEGER NOT NULL,
        finished_ms INTEGER,
        name TEXT NOT NULL,
        max_attempts INTEGER,
        timeout_s REAL,
        backoff BLOB CHECK (backoff IS NULL OR length(backoff) = 32),
        unique_key TEXT,
        body BLOB NOT NULL,
        error BLOB
    ) STRICT""",
    "CREATE INDEX callboard_jobs_ready ON callboard_jobs (queue, rank) WHERE state = 1 AND losses < 2",
    "CREATE INDEX callboard_jobs_isolated ON callboard_jobs (queue, rank) WHERE state = 1 AND losses >= 2",
    "CREATE INDEX callboard_jobs_delayed ON callboard_jobs (due_ms) WHERE state = 0",
    "CREATE INDEX callboard_jobs_held ON callboard_jobs (session, state) WHERE state IN (2, 3)",
    "CREATE INDEX callboard_jobs_over ON callboard_jobs (state, finished_ms) WHERE state >= 4",
    """CREATE UNIQUE INDEX callboard_jobs_unique ON callboard_jobs (unique_key)
        WHERE unique_key IS NOT NULL AND state < 4""",
    """CREATE TABLE callboard_queues (
        queue TEXT PRIMARY KEY,
        delayed INTEGER NOT NULL DEFAULT 0,
        ready INTEGER NOT NULL DEFAULT 0,
        assigned INTEGER NOT NULL DEFAULT 0,
        running INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        finished INTEGER NOT NULL DEFAULT 0,
        completed INTEGER NOT NULL DEFAULT 0,
        cancelled INTEGER NOT NULL DEFAULT 0,
        paused INTEGER NOT NULL DEFAULT 0,
        idle INTEGER NOT NULL DEFAULT 1,
        aging_ms INTEGER
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE callboard_sessions (
        session INTEGER PRIMARY KEY AUTOINCREMENT,
        node TEXT NOT NULL, boot_id TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, version TEXT NOT NULL,
        socket TEXT NOT NULL, started_ms INTEGER NOT NULL,
        counter INTEGER NOT NULL, ttl_s REAL NOT NULL, alone INTEGER NOT NULL DEFAULT 0,
        opened_ms INTEGER NOT NULL, ended_ms INTEGER, ended_reason TEXT
    ) STRICT""",
    "CREATE UNIQUE INDEX callboard_sessions_live ON callboard_sessions (node) WHERE ended_ms IS NULL",
    """CREATE TABLE callboard_pools (
        session INTEGER NOT NULL, pool TEXT NOT NULL, position INTEGER NOT NULL,
        queues TEXT NOT NULL, slots INTEGER NOT NULL, capacity INTEGER NOT NULL,
        PRIMARY KEY (session, pool)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE callboard_held (
        session INTEGER NOT NULL, queue TEXT NOT NULL, held INTEGER NOT NULL,
        PRIMARY KEY (session, queue)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE callboard_desired (
        queue TEXT NOT NULL, node TEXT NOT NULL, slots INTEGER NOT NULL,
        PRIMARY KEY (queue, node)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE callboard_draining (node TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    """CREATE TABLE callboard_schedules (
        name TEXT PRIMARY KEY, cron TEXT NOT NULL, timezone TEXT NOT NULL, missed TEXT NOT NULL, window_s REAL NOT NULL,
        job BLOB NOT NULL, last_tick_ms INTEGER NOT NULL, version INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """INSERT INTO callboard_store (one, schema_version, store_id, epoch, owner, cluster_id, backend, term_number, seq,
        waiting, boot_id, boot_s, wall_s, step_s, step_since_s)
        VALUES (1, 1, lower(hex(randomblob(16))), 0, '', '', '', 0, 0, 0, 'none', 0, 0, NULL, 0)""",
)


def upgrade() -> None:
    """Create everything."""
    run({"sqlite": _SQLITE})


def downgrade() -> None:
    """Not offered: jobs would be lost."""
    raise NotImplementedError("the first version has nothing below it; delete the file instead")

"""The first schema."""

from __future__ import annotations

from typing import Final

from callboard.backends.store.sql.migrations import mariadb
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

# Counters are spread over rows, what a session holds over two: see the statements that write them. The numbers of
# tokens and rows come from sequences, which never go back.
_POSTGRESQL: Final = (
    """CREATE TABLE callboard_store (
        one integer PRIMARY KEY CHECK (one = 1),
        schema_version integer NOT NULL,
        store_id text NOT NULL,
        epoch bigint NOT NULL, owner text COLLATE "C" NOT NULL,
        cluster_id text COLLATE "C" NOT NULL, backend text COLLATE "C" NOT NULL, term_number bigint NOT NULL
    ) WITH (fillfactor = 50)""",
    """CREATE TABLE callboard_bell (
        one integer PRIMARY KEY CHECK (one = 1), waiting integer NOT NULL
    ) WITH (fillfactor = 50)""",
    "CREATE SEQUENCE callboard_tokens",
    "CREATE SEQUENCE callboard_jobs_n",
    """CREATE TABLE callboard_jobs (
        n bigint PRIMARY KEY,
        epoch bigint, seq bigint, session bigint,
        rank bigint NOT NULL, due_ms bigint NOT NULL, pushed_ms bigint NOT NULL, finished_ms bigint,
        timeout_s double precision,
        priority integer NOT NULL,
        losses integer NOT NULL DEFAULT 0,
        attempts integer NOT NULL DEFAULT 0,
        max_attempts bigint,
        state smallint NOT NULL CHECK (state BETWEEN 0 AND 7),
        step smallint NOT NULL DEFAULT 0 CHECK (step BETWEEN 0 AND 1),
        outcome smallint,
        cancel smallint NOT NULL DEFAULT 0,
        has_failed_hook smallint NOT NULL,
        id text COLLATE "C" NOT NULL,
        queue text COLLATE "C" NOT NULL,
        name text COLLATE "C" NOT NULL,
        unique_key text COLLATE "C",
        backoff bytea CHECK (backoff IS NULL OR length(backoff) = 32),
        body bytea NOT NULL,
        error bytea
    ) WITH (
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 5000
    )""",
    "CREATE UNIQUE INDEX callboard_jobs_id ON callboard_jobs (id)",
    "CREATE INDEX callboard_jobs_ready ON callboard_jobs (queue, rank, n) WHERE state = 1 AND losses < 2",
    "CREATE INDEX callboard_jobs_isolated ON callboard_jobs (queue, rank, n) WHERE state = 1 AND losses >= 2",
    "CREATE INDEX callboard_jobs_delayed ON callboard_jobs (due_ms, n) WHERE state = 0",
    "CREATE INDEX callboard_jobs_held ON callboard_jobs (session, state) WHERE state IN (2, 3)",
    "CREATE INDEX callboard_jobs_over ON callboard_jobs (state, finished_ms, n) WHERE state >= 4",
    """CREATE UNIQUE INDEX callboard_jobs_unique ON callboard_jobs (unique_key)
        WHERE unique_key IS NOT NULL AND state < 4""",
    """CREATE TABLE callboard_queues (
        queue text COLLATE "C" PRIMARY KEY,
        paused integer NOT NULL DEFAULT 0,
        idle integer NOT NULL DEFAULT 1,
        aging_ms bigint
    ) WITH (fillfactor = 50)""",
    """CREATE TABLE callboard_counts (
        queue text COLLATE "C" NOT NULL, shard integer NOT NULL,
        delayed bigint NOT NULL, ready bigint NOT NULL, assigned bigint NOT NULL, running bigint NOT NULL,
        failed bigint NOT NULL, finished bigint NOT NULL, completed bigint NOT NULL, cancelled bigint NOT NULL,
        PRIMARY KEY (queue, shard)
    ) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500)""",
    """CREATE TABLE callboard_sessions (
        session bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        started_ms bigint NOT NULL, counter bigint NOT NULL, ttl_s double precision NOT NULL,
        opened_ms bigint NOT NULL, ended_ms bigint,
        pid bigint NOT NULL,
        node text COLLATE "C" NOT NULL, boot_id text COLLATE "C" NOT NULL, host text NOT NULL, version text NOT NULL,
        socket text NOT NULL,
        ended_reason text
    ) WITH (fillfactor = 50)""",
    "CREATE UNIQUE INDEX callboard_sessions_live ON callboard_sessions (node) WHERE ended_ms IS NULL",
    """CREATE TABLE callboard_pools (
        session bigint NOT NULL, pool text COLLATE "C" NOT NULL, position integer NOT NULL,
        queues text NOT NULL, slots integer NOT NULL, capacity integer NOT NULL,
        PRIMARY KEY (session, pool)
    )""",
    """CREATE TABLE callboard_held (
        session bigint NOT NULL, queue text COLLATE "C" NOT NULL, side integer NOT NULL, held bigint NOT NULL,
        PRIMARY KEY (session, queue, side)
    ) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500)""",
    """CREATE TABLE callboard_desired (
        queue text COLLATE "C" NOT NULL, node text COLLATE "C" NOT NULL, slots integer NOT NULL,
        PRIMARY KEY (queue, node)
    )""",
    """CREATE TABLE callboard_draining (node text COLLATE "C" PRIMARY KEY)""",
    """CREATE TABLE callboard_schedules (
        name text COLLATE "C" PRIMARY KEY, cron text NOT NULL, timezone text NOT NULL, missed text NOT NULL,
        window_s double precision NOT NULL, job bytea NOT NULL, last_tick_ms bigint NOT NULL, version bigint NOT NULL
    )""",
    """INSERT INTO callboard_store (one, schema_version, store_id, epoch, owner, cluster_id, backend, term_number)
        VALUES (1, 1, replace(gen_random_uuid()::text, '-', ''), 0, '', '', '', 0)""",
    "INSERT INTO callboard_bell (one, waiting) VALUES (1, 0)",
)


def upgrade() -> None:
    """Create everything."""
    run({"sqlite": _SQLITE, "postgresql": _POSTGRESQL, "mariadb": mariadb.FIRST})


def downgrade() -> None:
    """Not offered: jobs would be lost."""
    raise NotImplementedError("the first version has nothing below it; drop the tables instead")

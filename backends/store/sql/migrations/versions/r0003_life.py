"""The rest of a job's life: start marks, results, progress, expiry, periods of unique keys, limits of queues.

A node of the version before goes on working beside it, but for unique keys: those are rows of a table from now on, so
that one primary key decides about all their forms.
"""

from __future__ import annotations

from typing import Final

from callboard.backends.store.sql.migrations import mariadb
from callboard.backends.store.sql.migrations.ddl import run

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SQLITE: Final = (
    "ALTER TABLE callboard_jobs ADD COLUMN doubts INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE callboard_jobs ADD COLUMN once INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE callboard_jobs ADD COLUMN unique_until INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE callboard_jobs ADD COLUMN expires_ms INTEGER",
    "ALTER TABLE callboard_jobs ADD COLUMN result_ttl_ms INTEGER NOT NULL DEFAULT 3600000",
    "ALTER TABLE callboard_jobs ADD COLUMN assigned_ms INTEGER",
    "ALTER TABLE callboard_jobs ADD COLUMN taken_ms INTEGER",
    "ALTER TABLE callboard_jobs ADD COLUMN started_ms INTEGER",
    "ALTER TABLE callboard_jobs ADD COLUMN node TEXT",
    "ALTER TABLE callboard_jobs ADD COLUMN awaited INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE callboard_jobs ADD COLUMN progress_fraction REAL",
    "ALTER TABLE callboard_jobs ADD COLUMN progress_message TEXT",
    "ALTER TABLE callboard_jobs ADD COLUMN progress_ms INTEGER",
    "ALTER TABLE callboard_jobs ADD COLUMN result_until_ms INTEGER",
    "ALTER TABLE callboard_jobs ADD COLUMN result BLOB",
    "ALTER TABLE callboard_jobs ADD COLUMN history BLOB",
    """CREATE INDEX callboard_jobs_alone ON callboard_jobs (session) WHERE state IN (2, 3) AND losses >= 2""",
    """CREATE INDEX callboard_jobs_expires ON callboard_jobs (expires_ms)
        WHERE expires_ms IS NOT NULL AND state IN (0, 1) AND step = 0""",
    """CREATE INDEX callboard_jobs_results ON callboard_jobs (result_until_ms) WHERE result IS NOT NULL""",
    """CREATE TABLE callboard_keys (
        unique_key TEXT PRIMARY KEY, id TEXT NOT NULL, until_ms INTEGER
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX callboard_keys_until ON callboard_keys (until_ms) WHERE until_ms IS NOT NULL",
    """INSERT INTO callboard_keys (unique_key, id) SELECT unique_key, id FROM callboard_jobs
        WHERE unique_key IS NOT NULL AND state < 4""",
    "DROP INDEX callboard_jobs_unique",
    "ALTER TABLE callboard_queues ADD COLUMN max_depth INTEGER",
)

_POSTGRESQL: Final = (
    """ALTER TABLE callboard_jobs
        ADD COLUMN doubts integer NOT NULL DEFAULT 0,
        ADD COLUMN once smallint NOT NULL DEFAULT 0,
        ADD COLUMN unique_until smallint NOT NULL DEFAULT 1,
        ADD COLUMN awaited smallint NOT NULL DEFAULT 0,
        ADD COLUMN expires_ms bigint,
        ADD COLUMN result_ttl_ms bigint NOT NULL DEFAULT 3600000,
        ADD COLUMN assigned_ms bigint, ADD COLUMN taken_ms bigint, ADD COLUMN started_ms bigint,
        ADD COLUMN node text COLLATE "C",
        ADD COLUMN progress_fraction double precision, ADD COLUMN progress_message text, ADD COLUMN progress_ms bigint,
        ADD COLUMN result_until_ms bigint, ADD COLUMN result bytea,
        ADD COLUMN history bytea""",
    "CREATE INDEX callboard_jobs_alone ON callboard_jobs (session) WHERE state IN (2, 3) AND losses >= 2",
    """CREATE INDEX callboard_jobs_expires ON callboard_jobs (expires_ms)
        WHERE expires_ms IS NOT NULL AND state IN (0, 1) AND step = 0""",
    "CREATE INDEX callboard_jobs_results ON callboard_jobs (result_until_ms) WHERE result IS NOT NULL",
    """CREATE TABLE callboard_keys (
        unique_key text COLLATE "C" PRIMARY KEY, id text COLLATE "C" NOT NULL, until_ms bigint
    )""",
    "CREATE INDEX callboard_keys_until ON callboard_keys (until_ms) WHERE until_ms IS NOT NULL",
    """INSERT INTO callboard_keys (unique_key, id) SELECT unique_key, id FROM callboard_jobs
        WHERE unique_key IS NOT NULL AND state < 4""",
    "DROP INDEX callboard_jobs_unique",
    "ALTER TABLE callboard_queues ADD COLUMN max_depth bigint",
)


def upgrade() -> None:
    """Add what is new."""
    run({"sqlite": _SQLITE, "postgresql": _POSTGRESQL, "mariadb": mariadb.LIFE})


def downgrade() -> None:
    """Not offered: nodes that are running may use what is new."""
    raise NotImplementedError("what is new may be in use; the version before works with this schema")

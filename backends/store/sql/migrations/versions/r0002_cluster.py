"""Tables of the `store` cluster backend: one lease, members, locks, broadcasts."""

from __future__ import annotations

from typing import Final

from callboard.backends.store.sql.migrations.ddl import run

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# start_s and ttl_s are seconds of CLOCK_BOOTTIME in the boot named by machine; under another boot they are void.
# The numbers in callboard_cluster only grow, whatever happens to the rows of the other tables.
_SQLITE: Final = (
    """CREATE TABLE callboard_cluster (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        cluster_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        owner TEXT NOT NULL, handle TEXT NOT NULL,
        machine TEXT NOT NULL, start_s REAL NOT NULL, ttl_s REAL NOT NULL,
        lock_number INTEGER NOT NULL,
        members_version INTEGER NOT NULL,
        message_bytes INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE callboard_cluster_nodes (
        boot_id TEXT PRIMARY KEY,
        node TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, version TEXT NOT NULL, socket TEXT NOT NULL,
        started_ms INTEGER NOT NULL,
        machine TEXT NOT NULL, start_s REAL NOT NULL, ttl_s REAL NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE callboard_cluster_locks (
        key TEXT PRIMARY KEY,
        holder TEXT NOT NULL, number INTEGER NOT NULL,
        machine TEXT NOT NULL, start_s REAL NOT NULL, ttl_s REAL NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE callboard_cluster_messages (
        n INTEGER PRIMARY KEY AUTOINCREMENT,
        machine TEXT NOT NULL, sent_s REAL NOT NULL,
        body BLOB NOT NULL
    ) STRICT""",
    """INSERT INTO callboard_cluster (one, cluster_id, number, owner, handle, machine, start_s, ttl_s, lock_number,
        members_version, message_bytes)
        VALUES (1, lower(hex(randomblob(16))), 0, '', '', '', 0, 0, 0, 0, 0)""",
)


def upgrade() -> None:
    """Create everything."""
    run({"sqlite": _SQLITE})


def downgrade() -> None:
    """Not offered: the numbers must never start again."""
    raise NotImplementedError("fencing numbers would start again; keep the tables")

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

# On a server, start_s and ttl_s are seconds of the server's own clock. The numbers of broadcasts have a row of their
# own, so that a flood of them keeps no renewal waiting; `total` is the length of all broadcasts before it.
_POSTGRESQL: Final = (
    """CREATE TABLE callboard_cluster (
        one integer PRIMARY KEY CHECK (one = 1),
        cluster_id text NOT NULL,
        number bigint NOT NULL,
        owner text NOT NULL, handle text NOT NULL,
        start_s double precision NOT NULL, ttl_s double precision NOT NULL,
        lock_number bigint NOT NULL,
        members_version bigint NOT NULL
    ) WITH (fillfactor = 10)""",
    """CREATE TABLE callboard_cluster_nodes (
        boot_id text COLLATE "C" PRIMARY KEY,
        node text COLLATE "C" NOT NULL, host text NOT NULL, pid bigint NOT NULL, version text NOT NULL,
        socket text NOT NULL, started_ms bigint NOT NULL,
        start_s double precision NOT NULL, ttl_s double precision NOT NULL
    ) WITH (fillfactor = 50)""",
    """CREATE TABLE callboard_cluster_locks (
        name text COLLATE "C" PRIMARY KEY,
        holder text COLLATE "C" NOT NULL, number bigint NOT NULL,
        start_s double precision NOT NULL, ttl_s double precision NOT NULL
    )""",
    """CREATE TABLE callboard_cluster_sent (
        one integer PRIMARY KEY CHECK (one = 1),
        number bigint NOT NULL, total bigint NOT NULL
    ) WITH (fillfactor = 10)""",
    """CREATE TABLE callboard_cluster_messages (
        n bigint PRIMARY KEY,
        total bigint NOT NULL, sent_s double precision NOT NULL,
        body bytea NOT NULL
    )""",
    """INSERT INTO callboard_cluster
        VALUES (1, replace(gen_random_uuid()::text, '-', ''), 0, '', '', 0, 0, 0, 0)""",
    "INSERT INTO callboard_cluster_sent VALUES (1, 0, 0)",
)
# A version that ended in its middle begins again: each of MariaDB's statements on tables commits by itself.
_WORD: Final = "varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL"
_MARIADB: Final = (
    f"""CREATE TABLE IF NOT EXISTS callboard_cluster (
        one int PRIMARY KEY CHECK (one = 1),
        cluster_id {_WORD},
        number bigint NOT NULL,
        owner {_WORD}, handle {_WORD},
        start_s double NOT NULL, ttl_s double NOT NULL,
        lock_number bigint NOT NULL,
        members_version bigint NOT NULL
    ) ENGINE = InnoDB""",
    f"""CREATE TABLE IF NOT EXISTS callboard_cluster_nodes (
        boot_id {_WORD} PRIMARY KEY,
        node {_WORD}, host {_WORD}, pid bigint NOT NULL, version {_WORD}, socket {_WORD}, started_ms bigint NOT NULL,
        start_s double NOT NULL, ttl_s double NOT NULL
    ) ENGINE = InnoDB""",
    f"""CREATE TABLE IF NOT EXISTS callboard_cluster_locks (
        name {_WORD} PRIMARY KEY,
        holder {_WORD}, number bigint NOT NULL,
        start_s double NOT NULL, ttl_s double NOT NULL
    ) ENGINE = InnoDB""",
    """CREATE TABLE IF NOT EXISTS callboard_cluster_sent (
        one int PRIMARY KEY CHECK (one = 1),
        number bigint NOT NULL, total bigint NOT NULL
    ) ENGINE = InnoDB""",
    """CREATE TABLE IF NOT EXISTS callboard_cluster_messages (
        n bigint PRIMARY KEY,
        total bigint NOT NULL, sent_s double NOT NULL,
        body mediumblob NOT NULL
    ) ENGINE = InnoDB""",
    "INSERT IGNORE INTO callboard_cluster VALUES (1, replace(uuid(), '-', ''), 0, '', '', 0, 0, 0, 0)",
    "INSERT IGNORE INTO callboard_cluster_sent VALUES (1, 0, 0)",
)


def upgrade() -> None:
    """Create everything."""
    run({"sqlite": _SQLITE, "postgresql": _POSTGRESQL, "mariadb": _MARIADB})


def downgrade() -> None:
    """Not offered: the numbers must never start again."""
    raise NotImplementedError("fencing numbers would start again; keep the tables")

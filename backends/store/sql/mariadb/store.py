"""The store on a MariaDB database, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.backends.store.sql.mariadb.address import parse_address
from callboard.backends.store.sql.mariadb.bells import POLL_MAX_S, POLL_MIN_S, MariadbBells
from callboard.backends.store.sql.mariadb.connection import connect
from callboard.backends.store.sql.mariadb.database import Database
from callboard.backends.store.sql.mariadb.dialect import TEXT_MAX, mariadb_dialect
from callboard.backends.store.sql.mariadb.guest import GuestConnection, visit
from callboard.backends.store.sql.mariadb.pool import CONNECTIONS_MAX
from callboard.backends.store.sql.mariadb.schema import prepare
from callboard.backends.store.sql.options import SqlStoreOptions
from callboard.backends.store.sql.store import SqlStore
from callboard.backends.store.sql.tx import Greeter
from callboard.core.records import Characteristics

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from callboard.backends.store.sql.mariadb.address import Address
    from callboard.backends.store.sql.mariadb.schema import Server
    from callboard.backends.store.sql.tx import StoreRow, Tx

_DEFAULTS: Final = SqlStoreOptions()


class MariadbStore(SqlStore):
    """A job store in a MariaDB database, shared by all nodes that reach it. Its clock is the server's."""

    _database: Database

    def __init__(
        self, address: Address, server: Server, options: SqlStoreOptions, time_ms: Callable[[int], int] | None = None
    ) -> None:
        """Serve from this database, which has its tables; see `open_mariadb`."""
        dialect = mariadb_dialect(options.table_prefix)
        database = Database(address, options.busy_s, Greeter(dialect.statements), server.packet_max_bytes)
        with database.read() as (_, row):
            subject = f"mariadb {row.store_id}"
        bells = MariadbBells(lambda: connect(address), dialect.statements, subject, options.busy_s)
        super().__init__(database, dialect, bells, options)
        self._server = server
        self._time_ms = time_ms

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        durable = "yes: whatever was acknowledged is committed and synced" if self._server.durable else (
            "no: the server's innodb_flush_log_at_trx_commit is not 1, so acknowledged pushes of the last second are "
            "lost when its machine goes down; set it to 1")
        galera = ("a Galera cluster: all nodes name one and the same server of it",) if self._server.galera else ()
        return Characteristics(
            name="mariadb",
            durable=durable,
            shared="by all nodes that reach the server",
            limits=(
                f"{CONNECTIONS_MAX} connections a process at most, and one for bells",
                (f"bells of other machines are looked for every {POLL_MIN_S * 1000:.0f} ms, after a quiet second less "
                 f"and less often, down to every {POLL_MAX_S * 1000:.0f} ms; on one machine they are heard at once"),
                f"ids, names and keys of up to {TEXT_MAX} characters",
                f"{self._options.queue_max_jobs:,} jobs of a queue that wait or run; a push beyond raises QueueFull",
                "what is pushed in a caller's own transaction rings nobody at its commit: the leader polls",
                "a failover to a replica that lacks acknowledged commits loses them",
                *galera,
            ),
        )

    def _now_ms(self, row: StoreRow) -> int:
        server_ms: int = row.clock[0]
        return server_ms if self._time_ms is None else self._time_ms(server_ms)

    def _tidy_up(self, tx: Tx) -> None:
        found = tx.run("sweep.guest_counts").fetchall()
        for queue, _, *counts in found:
            for column, jobs in enumerate(counts):
                tx.count(queue, column, jobs)
        tx.many("sweep.drop_guest_counts", [row[:2] for row in found])

    def _guest(self, connection: object) -> AbstractContextManager[GuestConnection]:
        return visit(connection, self._database.name)

    def _told(self, topic: str) -> None:
        """The leader is awake before it is rung: else it could say meanwhile that it waits, and not be believed."""
        if topic == "leader":
            statements = self._dialect.statements
            self._database.hint([statements["bells.woken"], statements["bells.missed"]])
        self.ring(topic)


def open_mariadb(
    url: str, *, options: SqlStoreOptions = _DEFAULTS, time_ms: Callable[[int], int] | None = None
) -> MariadbStore:
    """Open a job store in a MariaDB database; create or migrate its tables where needed.

    Args:
        url: mariadb://USER:PASSWORD@HOST:PORT/DATABASE, with ssl_ca and others behind it; see `address.Address`.
        options: settings; every process on the same database should give the same.
        time_ms: only for tests: makes the store's time of the server's.

    Raises:
        InvalidArgument: Raised when the address can't be read.
        StoreUnavailable: Raised when the server can't be reached, or does not do; the message says why.
        SchemaTooNew: Raised when a newer callboard migrated the tables.
        StoreError: Raised when the tables are missing or old, and this user may not change that.
    """
    address = parse_address(url)
    return MariadbStore(address, prepare(address, options.busy_s, options.table_prefix), options, time_ms)

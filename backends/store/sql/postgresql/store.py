"""The store on a PostgreSQL database, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.backends.store.sql.options import SqlStoreOptions
from callboard.backends.store.sql.store import SqlStore
from callboard.backends.store.sql.tx import Greeter
from callboard.core.records import Characteristics

from .bells import PostgresqlBells
from .connection import Link
from .database import CONNECTIONS_MAX, Address, Database
from .dialect import postgresql_dialect
from .guest import GuestLink, visit
from .schema import prepare
from .upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from callboard.backends.store.sql.dialect import Connection
    from callboard.backends.store.sql.tx import StoreRow, Tx

_DEFAULTS: Final = SqlStoreOptions()


class PostgresqlStore(SqlStore):
    """A job store in a PostgreSQL database, shared by all nodes that reach it. Its clock is the server's."""

    _bells: PostgresqlBells

    def __init__(
        self, address: Address, options: SqlStoreOptions, time_ms: Callable[[int], int] | None = None
    ) -> None:
        """Serve from this database, which has its tables; see `open_postgresql`."""
        dialect = postgresql_dialect(options.table_prefix)
        database = Database(address, options.busy_s, Greeter(dialect.statements))
        with database.read() as (_, row):
            channel = f"{options.table_prefix}{row.store_id[:16]}"
        bells = PostgresqlBells(lambda: Link(address.conninfo, options.busy_s), channel, options.busy_s)
        super().__init__(database, dialect, bells, options)
        database.upkeep = Upkeep(database, dialect.statements).look
        self._time_ms = time_ms
        self._bell = (channel, bells.payload("leader"))

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        return Characteristics(
            name="postgresql",
            durable="yes: whatever was acknowledged is committed and synced, as far as the server's fsync and "
            "synchronous_commit say",
            shared="by all nodes that reach the server",
            limits=(
                f"{CONNECTIONS_MAX} connections a process at most, and one that listens",
                "no pooler that gives a connection to another client between two transactions",
                f"{self._options.queue_max_jobs:,} jobs of a queue that wait or run; a push beyond raises QueueFull",
                "a failover to a standby that lacks acknowledged commits loses them",
                "while a transaction stays open anywhere on the server, tables are not cleaned: assigning slows down",
            ),
        )

    def _now_ms(self, row: StoreRow) -> int:
        server_ms: int = row.clock[0]
        return server_ms if self._time_ms is None else self._time_ms(server_ms)

    def _tidy_up(self, tx: Tx) -> None:
        tx.do("sweep.fold_counts")

    def _guest(self, connection: object) -> AbstractContextManager[GuestLink]:
        return visit(connection, self._database.name)

    def _tell_as_guest(self, connection: Connection, tx: Tx) -> None:
        if tx.made_ready:  # whether the leader waits then nobody knows now; our own process listens to it, too
            topics = self._dialect.array([":leader"])
            connection.do(self._dialect.statements["bells.ring"], (self._bells.channel, topics))

    def _tell(self, connection: Connection, rings: set[str]) -> None:
        if rings:
            topics = self._dialect.array([self._bells.payload(topic) for topic in sorted(rings)])
            connection.later(self._dialect.statements["bells.ring"], (self._bells.channel, topics), lambda _: None)

    def _told(self, topic: str) -> None:
        self._bells.ring_here(topic)


def open_postgresql(
    url: str, *, options: SqlStoreOptions = _DEFAULTS, time_ms: Callable[[int], int] | None = None
) -> PostgresqlStore:
    """Open a job store in a PostgreSQL database; create or migrate its tables where needed.

    Args:
        url: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with libpq's parameters behind it.
        options: settings; every process on the same database should give the same.
        time_ms: only for tests: makes the store's time of the server's.

    Raises:
        StoreUnavailable: Raised when the server can't be reached; the message says why.
        SchemaTooNew: Raised when a newer callboard migrated the tables.
        StoreError: Raised when the tables are missing or old, and this user may not change that.
    """
    address = Address(url, options.busy_s)
    prepare(address, options.table_prefix)
    return PostgresqlStore(address, options, time_ms)

"""The store on a SQLite file, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.backends.clock import machine_boot_id
from callboard.backends.socket_bells import SocketBells
from callboard.backends.store.sql.options import SqlStoreOptions
from callboard.backends.store.sql.store import SqlStore
from callboard.backends.store.sql.tx import Greeter
from callboard.core.records import Characteristics
from callboard.core.storeclock import Anchor, drop_anchor, follow, holds, now_s

from .database import Database
from .dialect import sqlite_dialect
from .guest import GuestConnection, visit
from .schema import prepare

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from callboard.backends.store.sql.dialect import Dialect
    from callboard.backends.store.sql.tx import StoreRow, Tx
    from callboard.core.ports import Clock

_DEFAULTS: Final = SqlStoreOptions()


class SqliteStore(SqlStore):
    """A job store on one SQLite file, shared by all processes of one user on one machine.

    Its clock counts from an anchor in the file, see `callboard.core.storeclock`.
    """

    def __init__(self, database: Database, dialect: Dialect, clock: Clock, options: SqlStoreOptions) -> None:
        """Serve from this database; see `open_sqlite`."""
        super().__init__(database, dialect, SocketBells(database.turn.path), options)
        self._clock = clock
        self._boot_id = machine_boot_id() if options.machine_boot_id is None else options.machine_boot_id

    def _now_ms(self, row: StoreRow) -> int:
        return round(now_s(Anchor(*row.clock), self._boot_id, self._clock.boot_s(), self._clock.wall_s()) * 1000)

    def _guest(self, connection: object) -> AbstractContextManager[GuestConnection]:
        return visit(connection, self._database.name)

    def _keep_time(self, tx: Tx) -> None:
        if not holds(Anchor(*tx.row.clock), self._boot_id, self._clock.boot_s()):
            tx.run("store.set_anchor", *drop_anchor(self._boot_id, self._clock.boot_s(), self._clock.wall_s()))

    def _follow_time(self, tx: Tx) -> None:
        before = Anchor(*tx.row.clock)
        anchor = follow(before, self._boot_id, self._clock.boot_s(), self._clock.wall_s())
        if anchor != before:
            tx.run("store.set_anchor", *anchor)

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        return Characteristics(
            name="sqlite",
            durable="yes: an acknowledged push, term or cron tick is synced to the disk; a finish survives the death "
            "of every process, and after a power loss the job may run again",
            shared="by all processes of one user on one machine; never over a network file system",
            limits=(
                "a process that is stopped inside a write transaction stops the file's cluster",
                f"one writer at a time: who waits longer than {self._options.busy_s:g} s gets StoreUnavailable",
                f"{self._options.queue_max_jobs:,} jobs of a queue that wait or run; a push beyond raises QueueFull",
                "processes of other users are not rung: they poll",
            ),
        )


def open_sqlite(path: str, *, clock: Clock, options: SqlStoreOptions = _DEFAULTS) -> SqliteStore:
    """Open a job store in a file; create it, readable by its owner only, or migrate it, where needed.

    Args:
        path: the file; its directory must exist.
        clock: the machine's, or a test's.
        options: settings; every process on the same file should give the same.

    Raises:
        StoreUnavailable: Raised when the file can't be opened, or is locked, full or read-only; the message says which.
        SchemaTooNew: Raised when a newer callboard migrated it.
        StoreError: Raised when it is corrupt, or another application's.
    """
    dialect = sqlite_dialect(options.table_prefix)
    prepare(path, options.busy_s, options.table_prefix)
    return SqliteStore(Database(path, options.busy_s, Greeter(dialect.statements)), dialect, clock, options)

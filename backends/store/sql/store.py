"""The store on a SQLite file, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.backends.clock import machine_boot_id
from callboard.backends.socket_bells import SocketBells
from callboard.core.records import Characteristics

from .aging import AgingPart
from .assign import AssignPart
from .leader import LeaderPart
from .node import NodePart
from .operator import OperatorPart
from .options import SqlStoreOptions
from .producer import ProducerPart
from .reads import ReadPart
from .schedules import SchedulePart
from .schema import prepare
from .sqlite import Database
from .sweep import SweepPart
from .tx import greet

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.ports import Bell, Clock

_DEFAULTS: Final = SqlStoreOptions()


class SqlStore(
    AssignPart, LeaderPart, SweepPart, NodePart, OperatorPart, AgingPart, ReadPart, SchedulePart, ProducerPart
):
    """`callboard.core.ports.JobStore` on one SQLite file, shared by all processes of one user on one machine.

    Every method may be called from any thread, and after a fork.
    """

    def __init__(self, database: Database, clock: Clock, options: SqlStoreOptions) -> None:
        """Serve from this database; see `open_sqlite`."""
        self._database = database
        self._clock = clock
        self._options = options
        self._boot_id = machine_boot_id() if options.machine_boot_id is None else options.machine_boot_id
        self._bells = SocketBells(database.turn.path)
        with database.read() as (_, row):
            self._store_id = row.store_id

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

    def listen(self, topic: str, callback: Callable[[], None]) -> Bell:
        """See the port."""
        return self._bells.listen(topic, callback)

    def ring(self, topic: str) -> None:
        """See the port."""
        self._bells.ring(topic)

    def close(self) -> None:
        """See the port."""
        self._bells.close()
        self._database.close()


def open_sqlite(path: str, *, clock: Clock, options: SqlStoreOptions = _DEFAULTS) -> SqlStore:
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
    prepare(path, options.busy_s)
    return SqlStore(Database(path, options.busy_s, greet), clock, options)

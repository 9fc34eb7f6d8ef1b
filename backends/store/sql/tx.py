"""One act in the store: a transaction with the fence, the store's time, and what to count and ring at its end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from callboard.core.errors import SchemaTooNew, SessionEnded, StaleEpoch, StoreReset
from callboard.core.records import JobState
from callboard.core.storeclock import Anchor, drop_anchor, holds, now_s

from .schema import SCHEMA_VERSION
from .statements import load

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator

    from callboard.core.ports import Clock
    from callboard.core.records import Epoch, SessionId

    from .options import SqlStoreOptions
    from .sqlite import Database

_SQL: Final = load("store.sql")
_STORE_ROW: Final = _SQL["store_row"]

DELAYED: Final = 0
READY: Final = 1
ASSIGNED: Final = 2
RUNNING: Final = 3
FAILED: Final = 4
FINISHED: Final = 5
COMPLETED_EVER: Final = 6
CANCELLED_EVER: Final = 7
"""Columns of a queue's counters, in the order of `add_counts`."""

_COLUMN: Final = {
    JobState.DELAYED: DELAYED,
    JobState.READY: READY,
    JobState.ASSIGNED: ASSIGNED,
    JobState.RUNNING: RUNNING,
    JobState.COMPLETED: FINISHED,
    JobState.FAILED: FAILED,
    JobState.CANCELLED: FINISHED,
    JobState.FORGOTTEN: None,
}


class StoreRow(NamedTuple):
    """The one row of `callboard_store`.

    Attributes:
        schema_version: which migration was the last.
        seq: the last token's.
        waiting: the leader found nothing to do and waits for a ring.
        boot_id: this and the rest are the clock's anchor.
    """

    schema_version: int
    store_id: str
    epoch: int
    owner: str
    cluster_id: str
    backend: str
    term_number: int
    seq: int
    waiting: int
    boot_id: str
    boot_s: float
    wall_s: float
    step_s: float | None
    step_since_s: float

    @property
    def anchor(self) -> Anchor:
        """The clock's anchor."""
        return Anchor(*self[9:])


class Tx:
    """A transaction under way."""

    __slots__ = ("_aging", "_aging_s", "_counts", "_held", "execute", "executemany", "now_ms", "rings", "row")

    def __init__(self, connection: sqlite3.Connection, row: StoreRow, now_ms: int, aging_s: float) -> None:
        """Nothing counted, nothing rung."""
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.row = row
        self.now_ms = now_ms
        self.rings: set[str] = set()
        self._counts: dict[str, list[int]] = {}
        self._held: dict[tuple[int, str], int] = {}
        self._aging: dict[str, float] = {}
        self._aging_s = aging_s

    def fenced(self, epoch: Epoch) -> None:
        """Refuse an act of a leader that is none any more."""
        if epoch.number != self.row.epoch or epoch.owner != self.row.owner or not self.row.epoch:
            raise StaleEpoch(f"epoch {epoch.number} of {epoch.owner} is not the store's epoch {self.row.epoch} of "
                             f"{self.row.owner}; this node leads no more")

    def live_session(self, session: SessionId) -> str:
        """The session's node; raises SessionEnded."""
        found = self.execute(_SQL["live_session"], (session,)).fetchone()
        if found is None:
            raise SessionEnded(f"session {session} has ended; the node must drop what it held and open another")
        return str(found[0])

    def aging_s(self, queue: str) -> float:
        """The queue's aging in seconds."""
        aging_s = self._aging.get(queue)
        if aging_s is None:
            found = self.execute(_SQL["aging_ms"], (queue,)).fetchone()
            aging_s = self._aging_s if found is None or found[0] is None else found[0] / 1000
            self._aging[queue] = aging_s
        return aging_s

    def count(self, queue: str, column: int, jobs: int) -> None:
        """Add to one of a queue's counters at the transaction's end."""
        counts = self._counts.get(queue)
        if counts is None:
            counts = self._counts[queue] = [0] * 8
        counts[column] += jobs

    def moved(self, queue: str, before: JobState | None, after: JobState | None, jobs: int = 1) -> None:
        """Count jobs that changed their state."""
        if before is not None and (column := _COLUMN[before]) is not None:
            self.count(queue, column, -jobs)
        if after is None:
            return
        if (column := _COLUMN[after]) is not None:
            self.count(queue, column, jobs)
        if after is JobState.COMPLETED:
            self.count(queue, COMPLETED_EVER, jobs)
        elif after is JobState.CANCELLED:
            self.count(queue, CANCELLED_EVER, jobs)

    def hold(self, session: int, queue: str, jobs: int) -> None:
        """Count jobs that a session got (or, below zero, lost)."""
        key = session, queue
        self._held[key] = self._held.get(key, 0) + jobs

    def not_alone(self, session: int) -> None:
        """A session is rid of a job that had to run alone."""
        self.execute(_SQL["add_alone"], (-1, session))

    def became_ready(self, queues: set[str]) -> bool:
        """Jobs of these queues are ready now: ring the leader if it waits and saw one of them empty."""
        if not self.row.waiting or "leader" in self.rings:
            return False
        for queue in queues:
            found = self.execute(_SQL["wakes"], (queue,)).fetchone()
            if found is None or found[0]:
                self.execute(_SQL["not_idle"], (queue,))
                self._ring_leader()
                return True
        return False

    def freed(self) -> None:
        """Capacity came free: ring the leader if it waits and jobs are ready."""
        if self.row.waiting and "leader" not in self.rings and self.execute(_SQL["any_ready"]).fetchone():
            self._ring_leader()

    def _ring_leader(self) -> None:
        """Ring the leader at the transaction's end; it counts as awake from now on."""
        self.rings.add("leader")
        self.execute(_SQL["set_waiting"], (0,))

    def settle(self) -> None:
        """Write the counters."""
        for queue, counts in self._counts.items():
            if any(counts):
                self.execute(_SQL["add_counts"], (queue, *counts))
        self._counts.clear()
        for (session, queue), jobs in self._held.items():
            if jobs:
                self.execute(_SQL["add_held"], (session, queue, jobs))
        self._held.clear()


class Part:
    """What the parts of a SQL store share."""

    _database: Database
    _clock: Clock
    _options: SqlStoreOptions
    _boot_id: str
    _store_id: str

    def ring(self, topic: str) -> None:
        """Wake who listens."""
        raise NotImplementedError

    @contextmanager
    def _act(self, *, durable: bool = False) -> Generator[Tx]:
        """A write transaction; see `Database.write`. Bells ring after the commit."""
        with self._database.write(durable=durable) as (connection, row):
            tx = self._tx(connection, row)
            if not holds(row.anchor, self._boot_id, self._clock.boot_s()):
                anchor = drop_anchor(self._boot_id, self._clock.boot_s(), self._clock.wall_s())
                tx.execute(_SQL["set_anchor"], anchor)
            yield tx
            tx.settle()
        for topic in tx.rings:
            self.ring(topic)

    @contextmanager
    def _look(self) -> Generator[Tx]:
        """A read transaction."""
        with self._database.read() as (connection, row):
            yield self._tx(connection, row)

    @contextmanager
    def _fenced(self, epoch: Epoch, *, durable: bool = False) -> Generator[Tx]:
        """A leader's act."""
        with self._act(durable=durable) as tx:
            tx.fenced(epoch)
            yield tx

    def _tx(self, connection: sqlite3.Connection, row: StoreRow) -> Tx:
        if row.store_id != self._store_id:
            raise StoreReset(f"job store {self._database.path}: is another than the one that was opened; "
                             "start the node again")
        now = now_s(row.anchor, self._boot_id, self._clock.boot_s(), self._clock.wall_s())
        return Tx(connection, row, round(now * 1000), self._options.aging_s)


def greet(connection: sqlite3.Connection) -> StoreRow:
    """The first thing in each transaction: read the store's row."""
    found = connection.execute(_STORE_ROW).fetchone()
    if found is None:
        raise StoreReset("the store was emptied; start the node again")
    row = StoreRow(*found)
    if row.schema_version > SCHEMA_VERSION:
        raise SchemaTooNew(f"the store was migrated to schema version {row.schema_version}, this callboard knows "
                           f"{SCHEMA_VERSION}; upgrade callboard on this machine")
    return row

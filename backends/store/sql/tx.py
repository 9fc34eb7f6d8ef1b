"""One act in the store: a transaction with the fence, the store's time, and what to count and ring at its end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from callboard.core.errors import InvalidArgument, SchemaTooNew, SessionEnded, StaleEpoch, StoreReset
from callboard.core.records import JobState

from .dialect import Ahead, Fence
from .versions import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from callboard.core.records import Epoch, SessionId

    from .dialect import Connection, Database, Dialect, Result
    from .guests import Seen
    from .options import SqlStoreOptions
    from .producer import Bound

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
        schema_version: the oldest version of callboard's schema that may work with it.
        waiting: the leader found nothing to do and waits for a ring; only where one transaction writes at a time.
        clock: what tells the store's time, in the dialect's way.
    """

    schema_version: int
    store_id: str
    epoch: int
    owner: str
    cluster_id: str
    backend: str
    term_number: int
    waiting: int
    clock: tuple[Any, ...]


class Tx:
    """A transaction under way."""

    __slots__ = (
        "_aging",
        "_aging_s",
        "_ahead",
        "_connection",
        "_counts",
        "_held",
        "_ready",
        "_room",
        "_statements",
        "array",
        "bell",
        "concurrent",
        "guest",
        "now_ms",
        "rang",
        "rings",
        "row",
        "seen",
    )

    def __init__(self, connection: Connection, dialect: Dialect, row: StoreRow, now_ms: int, aging_s: float) -> None:
        """Nothing counted, nothing rung."""
        self._connection = connection
        self._statements = dialect.statements
        self.array = dialect.array
        self.concurrent = dialect.concurrent
        self.row = row
        self.now_ms = now_ms
        self.rings: set[str] = set()
        self.rang = False
        self._ahead: dict[tuple[str, tuple[object, ...]], Result] = {}
        self.guest = False
        self.seen: Seen | None = None
        self.bell: tuple[object, ...] = ()
        self._ready: set[str] = set()
        self._room = False
        self._counts: dict[str, list[int]] = {}
        self._held: dict[tuple[int, str], int] = {}
        self._aging: dict[str, float] = {}
        self._aging_s = aging_s

    def run(self, name: str, *values: object) -> Result:
        """Run a statement by its name."""
        if self._ahead and (found := self._ahead.pop((name, values), None)) is not None:
            return found
        return self._connection.run(self._statements[name], values)

    def ahead(self, *calls: tuple[object, ...]) -> None:
        """Run these (a name and its values each) at once, where that saves round trips: `run` gives what they gave."""
        if isinstance(self._connection, Ahead):
            texts = [(self._statements[str(name)], values) for name, *values in calls]
            found = self._connection.run_each(texts)
            self._ahead = {(str(name), tuple(values)): rows for (name, *values), rows in zip(calls, found, strict=True)}

    def many(self, name: str, rows: Sequence[tuple[object, ...]]) -> int:
        """Run a statement by its name for each row; how many rows were changed."""
        return self._connection.many(self._statements[name], rows) if rows else 0

    def do(self, name: str, *values: object) -> None:
        """Run a statement by its name some time before the commit: nobody needs its answer."""
        self._connection.do(self._statements[name], values)

    def text(self, name: str) -> str:
        """A statement by its name."""
        return self._statements[name]

    def fenced(self, epoch: Epoch) -> None:
        """Refuse an act of a leader that is none any more."""
        if epoch.number != self.row.epoch or epoch.owner != self.row.owner or not self.row.epoch:
            raise StaleEpoch(f"epoch {epoch.number} of {epoch.owner} is not the store's epoch {self.row.epoch} of "
                             f"{self.row.owner}; this node leads no more")

    def live_session(self, session: SessionId) -> str:
        """The session's node; it can't be ended until this act is committed. Raises SessionEnded."""
        found = self.run("store.live_session", session).fetchone()
        if found is None:
            raise SessionEnded(f"session {session} has ended; the node must drop what it held and open another")
        return str(found[0])

    def aging_s(self, queue: str) -> float:
        """The queue's aging in seconds."""
        aging_s = self._aging.get(queue)
        if aging_s is None:
            found = self.run("store.aging_ms", queue).fetchone()
            aging_s = self.know_aging(queue, None if found is None else found[0])
        return aging_s

    def know_aging(self, queue: str, aging_ms: int | None) -> float:
        """What the queue's row says; None: the store's own setting."""
        aging_s = self._aging[queue] = self._aging_s if aging_ms is None else aging_ms / 1000
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

    def let_go(self, session: int) -> None:
        """A session is over: nothing is counted for it any more."""
        self._held = {key: jobs for key, jobs in self._held.items() if key[0] != session}
        self.run("node.drop_held", session)

    def became_ready(self, queue: str) -> None:
        """Jobs of this queue are ready now: ring the leader if it waits and saw the queue empty."""
        self._ready.add(queue)

    def freed(self) -> None:
        """Capacity came free: ring the leader if it waits and jobs are ready."""
        self._room = True

    def lock(self, name: str, *values: object) -> None:
        """Lock rows, where transactions go on side by side."""
        if self.concurrent and not self.guest:
            self.do(name, *values)

    @property
    def made_ready(self) -> bool:
        """Jobs became ready."""
        return bool(self._ready)

    def set_waiting(self, waiting: int) -> None:
        """Whether the leader waits for a ring."""
        if self.concurrent or self.row.waiting != waiting:
            self.do("store.set_waiting", waiting)

    def look_again(self) -> None:
        """For a leader that waits: what was committed while it said so rings it, for nobody else will."""
        if self.concurrent:
            self._connection.later(self._statements["bells.missed"], (), self._missed)

    def settle(self) -> None:
        """Write the counters; in the order of their keys, so that no two acts wait for each other."""
        counts, self._counts = self._counts, {}
        name = "store.add_guest_counts" if self.guest and self.concurrent else "store.add_counts"
        self.many(name, [(queue, *counts[queue]) for queue in sorted(counts) if any(counts[queue])])
        held, self._held = self._held, {}
        self.many("store.add_held", [(*key, held[key]) for key in sorted(held) if held[key]])

    def wake(self) -> None:
        """Ring the leader where it waits for what this transaction did.

        Where others are under way, that is looked up after the commit: who commits before the leader looks is seen by
        it, who commits later sees that it waits.
        """
        if not (self._ready or self._room):
            return
        if self.concurrent:
            values = self.array(sorted(self._ready)), int(self._room), *self.bell
            self._connection.later(self._statements["bells.wake"], values, self._woke)
        elif self.row.waiting:
            self._wake_now()

    def _wake_now(self) -> None:
        for queue in self._ready:
            found = self.run("store.wakes", queue).fetchone()
            if found is None or found[0]:
                self.run("store.not_idle", queue)
                self.rang = True
                break
        if self.rang or (self._room and self.run("store.any_ready").fetchone()):
            self.rings.add("leader")
            self.run("store.set_waiting", 0)

    def _missed(self, rows: list[Any]) -> None:
        if rows:
            self.rings.add("leader")

    def _woke(self, rows: list[Any]) -> None:
        self.rang = bool(rows)


class Part:
    """What the parts of a SQL store share."""

    _database: Database
    _dialect: Dialect
    _options: SqlStoreOptions
    _bound: Bound
    _store_id: str
    _bell: tuple[object, ...] = ()
    """What `bells.wake` needs besides, to ring the leader."""

    def ring(self, topic: str) -> None:
        """Wake who listens."""
        raise NotImplementedError

    def _now_ms(self, row: StoreRow) -> int:
        """The store's time."""
        raise NotImplementedError

    def _keep_time(self, tx: Tx) -> None:
        """At the beginning of each write transaction."""

    def _follow_time(self, tx: Tx) -> None:
        """At each sweep."""

    def _tidy_up(self, tx: Tx) -> None:
        """At each sweep: what the dialect's tables need."""

    def _tell(self, connection: Connection, rings: set[str]) -> None:
        """Just before the commit: what is to be rung once it is done."""

    def _told(self, topic: str) -> None:
        """After the commit: others were told by `_tell`, or are now."""
        self.ring(topic)

    @contextmanager
    def _act(self, *, durable: bool = False, fence: Fence = Fence.LOOK) -> Generator[Tx]:
        """A write transaction; see `Database.write`. Bells ring after the commit."""
        with self._database.write(durable=durable, fence=fence) as (connection, row):
            tx = self._tx(connection, row)
            self._keep_time(tx)
            yield tx
            tx.settle()
            tx.wake()
            told = set(tx.rings)
            self._tell(connection, told)
        if tx.rang and tx.concurrent:
            self._told("leader")
        for topic in tx.rings:
            (self._told if topic in told else self.ring)(topic)

    def _guest(self, connection: object) -> AbstractContextManager[Connection]:
        """The caller's own transaction, in which the dialect's statements can be run."""
        raise InvalidArgument(f"a job store on {self._dialect.name} can't take part in the transaction of a "
                              f"{type(connection).__qualname__}")

    @contextmanager
    def _visit(self, given: object) -> Generator[Tx]:
        """Act in a caller's own transaction, which the caller ends."""
        other = "the connection is to another database than the job store's, or to one without its tables"
        with self._guest(given) as connection:
            there = connection.run(self._dialect.statements["store.is_there"]).fetchone()
            if there is None or there[0] is None:
                raise InvalidArgument(other)
            found = connection.run(self._dialect.statements["store.row"]).fetchone()
            row = Greeter(self._dialect.statements).row(found)
            if row.store_id != self._store_id:
                raise InvalidArgument(other)
            tx = self._tx(connection, row)
            tx.guest = True
            yield tx
            tx.settle()
            self._tell_as_guest(connection, tx)

    def _tell_as_guest(self, connection: Connection, tx: Tx) -> None:
        """Ring the leader when the caller commits, where the database can do that."""

    @contextmanager
    def _look(self) -> Generator[Tx]:
        """A read transaction."""
        with self._database.read() as (connection, row):
            yield self._tx(connection, row)

    @contextmanager
    def _fenced(self, epoch: Epoch, *, durable: bool = False) -> Generator[Tx]:
        """A leader's act."""
        with self._act(durable=durable, fence=Fence.SHARE) as tx:
            tx.fenced(epoch)
            yield tx

    def _tx(self, connection: Connection, row: StoreRow) -> Tx:
        if row.store_id != self._store_id:
            raise StoreReset(f"job store {self._database.name}: is another than the one that was opened; "
                             "start the node again")
        tx = Tx(connection, self._dialect, row, self._now_ms(row), self._options.aging_s)
        tx.bell = self._bell
        return tx


class Greeter:
    """What is done first in each transaction: read the store's row."""

    def __init__(self, statements: Mapping[str, str]) -> None:
        """Take the dialect's statements."""
        self._statements = {fence: statements[f"store.{fence.value}"] for fence in Fence}

    def statement(self, fence: Fence) -> str:
        """What reads the row, and holds it so."""
        return self._statements[fence]

    def row(self, found: Sequence[Any] | None) -> StoreRow:
        """The row that was read, if it is one that we can work with."""
        if found is None:
            raise StoreReset("the store was emptied; start the node again")
        row = StoreRow._make((*found[:8], tuple(found[8:])))
        if row.schema_version > SCHEMA_VERSION:
            raise SchemaTooNew(f"the store was migrated to schema version {row.schema_version}, this callboard knows "
                               f"{SCHEMA_VERSION}; upgrade callboard on this machine")
        return row

    def __call__(self, connection: Connection, fence: Fence) -> StoreRow:
        """Read it."""
        return self.row(connection.run(self._statements[fence]).fetchone())

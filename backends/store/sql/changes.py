"""Carrying out what the lifecycle says that an event makes of a row; the counters follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from callboard.core.errors import StoreError
from callboard.core.history import add_run
from callboard.core.lifecycle import (
    FINISHED,
    HELD,
    LIVE,
    Due,
    ErrorFate,
    Event,
    charged,
    doubts_after,
    landing,
    transition,
)
from callboard.core.rank import rank
from callboard.core.records import JobState, OutcomeKind, RunRecord, Step, Token, UniqueUntil

if TYPE_CHECKING:
    from .tx import Tx



class Row(NamedTuple):
    """What decides about a job, without its body."""

    n: int
    id: str
    queue: str
    state: int
    step: int
    attempts: int
    losses: int
    epoch: int | None
    seq: int | None
    session: int | None
    outcome: int | None
    cancel: int
    has_failed_hook: int
    priority: int
    due_ms: int
    rank: int
    doubts: int
    once: int
    started_ms: int | None
    awaited: int
    unique_key: str | None
    unique_until: int
    assigned_ms: int | None
    taken_ms: int | None
    node: str | None

    @property
    def token(self) -> Token | None:
        """The last token."""
        return None if self.epoch is None or self.seq is None else Token(self.epoch, self.seq)


class Changes:
    """Rows that change in one transaction, written in batches by `flush`."""

    def __init__(self, tx: Tx) -> None:
        """Nothing has changed yet."""
        self._tx = tx
        self._completed: list[tuple[int, bytes | None, int]] = []
        self._done: dict[tuple[str, int | None], int] = {}
        self._changed: list[tuple[object, ...]] = []
        self._forgotten: list[tuple[int, int]] = []
        self._keys: list[tuple[str, str]] = []
        self._told: dict[int, RunRecord] = {}
        self._freed = False

    def apply(
        self, row: Row, event: Event, *, delay_s: float = 0.0, error: bytes | None = None,
        outcome: OutcomeKind | None = None,
    ) -> JobState:
        """Apply one event; the job's new state.

        Raises:
            StoreError: Raised when the event can't happen to a job in that state.
        """
        state, step = JobState(row.state), Step(row.step)
        then = transition(state, step, event)
        if then is None:
            raise StoreError(f"{event.value} can't happen to a job that is {state.name}", job=row.id)
        now_ms = self._tx.now_ms
        to = landing(then.to, delay_s)
        if event is Event.COMPLETE and to is JobState.COMPLETED:
            self.complete(row)
            return to
        self._leave(row, state, to)
        if state is JobState.RUNNING:
            self._told[row.n] = _run(row, event, now_ms, error)
        if event is Event.OPERATOR_RETRY:
            self._told[row.n] = RunRecord(row.token or Token(0, 0), "", 0, 0, None, now_ms, event.value)
            self._tx.run("changes.never_expires", row.n)
        if to is JobState.FORGOTTEN:
            self._forgotten.append((now_ms, row.n))
            return to
        attempts, losses = charged(then.charge, row.attempts, row.losses)
        due_ms, place = row.due_ms, row.rank
        if then.due is not Due.KEPT:
            due_ms = now_ms + (round(delay_s * 1000) if then.due is Due.LATER else 0)
            place = rank(row.priority, due_ms, self._tx.aging_s(row.queue))
        self._changed.append((
            int(to), int(step if then.step is None else then.step), attempts, losses,
            doubts_after(then.charge, row.doubts), due_ms, place, now_ms if to in FINISHED else None, outcome,
            int(then.error is ErrorFate.KEPT), error if then.error is ErrorFate.SET else None, row.n,
        ))
        return to

    def complete(self, row: Row, result: bytes | None = None) -> None:
        """The same as `apply` with COMPLETE to a row that runs its handle(): the hot path."""
        self._completed.append((self._tx.now_ms, result, row.n))
        key = row.queue, row.session
        self._done[key] = self._done.get(key, 0) + 1
        if row.unique_key is not None or row.awaited:
            self._over(row)

    def flush(self) -> None:
        """Write the rows; the leader is rung where it matters, at the transaction's end."""
        tx = self._tx
        tx.many("changes.complete", self._completed)
        for (queue, session), jobs in self._done.items():
            tx.moved(queue, JobState.RUNNING, JobState.COMPLETED, jobs)
            if session is not None:
                tx.hold(session, queue, -jobs)
        tx.many("changes.change", self._changed)
        tx.many("changes.forget", self._forgotten)
        tx.many("changes.free_key", sorted(self._keys))
        self._tell()
        if self._completed or self._freed:
            tx.freed()

    def _leave(self, row: Row, state: JobState, to: JobState) -> None:
        self._tx.moved(row.queue, state, to)
        if state in HELD and row.session is not None:
            self._tx.hold(row.session, row.queue, -1)
            self._freed = True
        if to is JobState.READY:
            self._tx.became_ready(row.queue)
        elif to not in LIVE and state in LIVE:
            self._over(row)

    def _over(self, row: Row) -> None:
        """The job has ended: its key is free, unless it is held for a period, and who waits for the end is rung."""
        if row.unique_key is not None and row.unique_until != UniqueUntil.PERIOD:
            self._keys.append((row.unique_key, row.id))
        if row.awaited:
            self._tx.rings.add(f"job-{row.id}")

    def _tell(self) -> None:
        """Add the runs that are over to their jobs' histories."""
        if self._told:
            found = self._tx.run("changes.histories", self._tx.array(list(self._told))).fetchall()
            self._tx.many("changes.tell", [(add_run(history, self._told[n]), n) for n, history in found])


def _run(row: Row, event: Event, now_ms: int, error: bytes | None) -> RunRecord:
    return RunRecord(row.token or Token(0, 0), row.node or "", row.assigned_ms or 0, row.taken_ms or 0, row.started_ms,
                     now_ms, event.value, error)

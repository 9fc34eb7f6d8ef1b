"""What the memory store knows, with every index kept in step; the lifecycle decides, this carries out.

Nothing here locks: `MemoryStore` holds its lock around each act.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from callboard.core.errors import SessionEnded, StaleEpoch, StoreError
from callboard.core.lifecycle import (
    FINISHED,
    HELD,
    LIVE,
    Due,
    ErrorFate,
    Event,
    charged,
    doubts_after,
    isolated,
    landing,
    release_event,
    transition,
)
from callboard.core.rank import rank
from callboard.core.records import JobState, Released, Token, UniqueUntil

from .rows import Heap, JobRow, QueueRow, SessionRow
from .unique import UniqueKeys

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.records import Desired, Epoch, NewJob, ScheduleRow, SessionId, TermClaim
    from callboard.core.retention import Retention

_WAITING: Final = frozenset({JobState.DELAYED, JobState.READY})
REMEMBERED_MAX: Final = 100_000
"""Ids of jobs that are gone, in number; the oldest are forgotten first."""


class Table:
    """Jobs, queues, sessions, the fence and what operators ordered."""

    def __init__(self, aging_s: float, retention: Retention, on_end: Callable[[str], None]) -> None:
        """An empty store; `on_end` is told the id of each job that ends and is awaited."""
        self._on_end = on_end
        self.aging_s = aging_s
        self.retention = retention
        self.rows: dict[int, JobRow] = {}
        self.by_id: dict[str, JobRow] = {}
        self.unique = UniqueKeys()
        self.queues: dict[str, QueueRow] = {}
        self.delayed = Heap([JobState.DELAYED], _due)
        self.expiring = Heap(_WAITING, _expiry)
        self.finished: OrderedDict[int, JobRow] = OrderedDict()  # completed and cancelled, oldest first
        self.failed: OrderedDict[int, JobRow] = OrderedDict()
        self.remembered: OrderedDict[str, tuple[int, int]] = OrderedDict()  # id: (ref, since)
        self.live = 0
        self.sessions: dict[SessionId, SessionRow] = {}
        self.session_of_node: dict[str, SessionRow] = {}
        self.desired: dict[tuple[str, str], Desired] = {}
        self.draining: set[str] = set()
        self.schedules: dict[str, ScheduleRow] = {}
        self.epoch: Epoch | None = None
        self.claim: TermClaim | None = None
        self.waiting = False  # the leader found nothing to do, and waits for a ring
        self.made_ready: set[str] = set()  # queues of the jobs that the act under way has made ready
        self._last_ref = 0
        self._last_seq = 0
        self._last_session = 0

    def fenced(self, epoch: Epoch) -> None:
        """Refuse an act of a leader that is none any more."""
        if epoch != self.epoch:
            raise StaleEpoch(f"epoch {epoch.number} of {epoch.owner} is not the store's epoch; this node leads no more")

    def live_session(self, session: SessionId) -> SessionRow:
        """The session, or SessionEnded."""
        row = self.sessions.get(session)
        if row is None:
            raise SessionEnded(f"session {session} has ended; the node must drop what it held and open another")
        return row

    def queue(self, name: str) -> QueueRow:
        """The queue, known from now on."""
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = QueueRow()
        return queue

    def next_session(self) -> int:
        """A number for a session that no session had."""
        self._last_session += 1
        return self._last_session

    def next_token(self, epoch: Epoch) -> Token:
        """A token that no job had."""
        self._last_seq += 1
        return Token(epoch.number, self._last_seq)

    def is_known(self, job_id: str) -> bool:
        """The store has, or had, a job of this id."""
        return job_id in self.by_id or job_id in self.remembered

    def ref_of(self, job_id: str) -> int | None:
        """The ref of a job that the store has or had."""
        row = self.by_id.get(job_id)
        return row.ref if row is not None else self.remembered.get(job_id, (None,))[0]

    def insert(self, job: NewJob, now_ms: int) -> JobRow:
        """A new job; its id and unique key are free."""
        self._last_ref += 1
        row = self.rows[self._last_ref] = self.by_id[job.id] = JobRow(self._last_ref, job, now_ms)
        self.move(row, Event.PUSH, now_ms, delay_s=job.delay_s)
        return row

    def move(
        self, row: JobRow, event: Event, now_ms: int, *, delay_s: float = 0.0, error: bytes | None = None,
        result: bytes | None = None,
    ) -> None:
        """Carry out what the lifecycle says that the event makes of the job."""
        then = transition(None if event is Event.PUSH else row.state, row.step, event)
        if then is None:
            raise StoreError(f"{event.value} can't happen to a job that is {row.state!r}", job=row.job.id)
        was, state = row.state, landing(then.to, delay_s)
        self._leave(row)
        _tell(row, event, was, state, now_ms, error)
        row.step = row.step if then.step is None else then.step
        row.attempts, row.losses = charged(then.charge, row.attempts, row.losses)
        row.doubts = doubts_after(then.charge, row.doubts)
        if then.due is not Due.KEPT:
            row.due_ms = now_ms + round(delay_s * 1000 if then.due is Due.LATER else 0)
            row.rank = rank(row.job.priority, row.due_ms, self._aging_s(row))
        if then.error is not ErrorFate.KEPT:
            row.error = error if then.error is ErrorFate.SET else None
        if state is JobState.COMPLETED and row.job.result_ttl_s > 0:
            row.result, row.result_until_ms = result, now_ms + round(row.job.result_ttl_s * 1000)
        if was in LIVE and state not in LIVE:
            self._end_life(row)
        elif state in LIVE and was not in LIVE:
            self._begin_life(row, event, now_ms)
        if state is JobState.FORGOTTEN:
            self._remember(row, now_ms)
        else:
            self._enter(row, state)
            if state in FINISHED:
                self._keep(row, now_ms)

    def _aging_s(self, row: JobRow) -> float:
        ordered = self.queue(row.job.queue).limits.aging_s
        return self.aging_s if ordered is None else ordered

    def give(self, row: JobRow, session: SessionRow, token: Token, now_ms: int) -> None:
        """Assign a ready job to a session."""
        row.begin_run(token, session, now_ms)
        self.move(row, Event.ASSIGN, now_ms)

    def take(self, row: JobRow, now_ms: int) -> None:
        """A node has got the job that was assigned to it."""
        row.taken_ms = now_ms
        self.move(row, Event.TAKE, now_ms)
        if row.job.unique_until is UniqueUntil.STARTED:
            self.unique.free(row.job)

    def end(self, session: SessionRow, now_ms: int, node_lost: bytes) -> Released:
        """End a session and release what it holds."""
        handed_back = lost = doubted = 0
        quarantined: list[str] = []
        for row in list(session.held.values()):
            job = row.holding
            event = release_event(job)
            if event is Event.DOUBT:
                doubted += 1
            elif job.state is JobState.RUNNING and job.started:
                lost += 1
            else:
                handed_back += 1
            if event is Event.QUARANTINE:
                quarantined.append(row.job.id)
            self.move(row, event, now_ms, error=node_lost)
        del self.sessions[session.session]
        del self.session_of_node[session.info.node]
        return Released(handed_back, lost, tuple(quarantined), doubted=doubted)

    def drop_results(self, now_ms: int) -> None:
        """Let go of results that were kept long enough."""
        for row in self.finished.values():
            if row.result_until_ms is not None and now_ms >= row.result_until_ms:
                row.result = None

    def prune(self, row: JobRow, now_ms: int) -> None:
        """Remember no more of a finished job than its id."""
        self._leave(row)
        self._remember(row, now_ms)

    def _remember(self, row: JobRow, now_ms: int) -> None:
        del self.rows[row.ref], self.by_id[row.job.id]
        self.remembered[row.job.id] = (row.ref, row.finished_ms or now_ms)
        if len(self.remembered) > REMEMBERED_MAX:
            self.remembered.popitem(last=False)

    def _leave(self, row: JobRow) -> None:
        state, row.state = row.state, JobState.FORGOTTEN
        if state is JobState.FORGOTTEN:
            return
        queue = self.queue(row.job.queue)
        queue.counts[state] -= 1
        if state in _WAITING and row.key_expiry >= 0:
            self.expiring.left()
        if state is JobState.READY:
            if queue.isolated.pop(row.ref, None) is None:
                queue.ready.left()
        elif state is JobState.DELAYED:
            self.delayed.left()
        elif state in HELD:
            if row.session is not None:
                self.sessions[row.session].drop(row)
        else:
            (self.failed if state is JobState.FAILED else self.finished).pop(row.ref)

    def _enter(self, row: JobRow, state: JobState) -> None:
        row.state = state
        queue = self.queue(row.job.queue)
        queue.counts[state] += 1
        if state in HELD:
            if row.session is not None:
                self.sessions[row.session].hold(row)
            return
        row.session = None
        row.cancel_asked = False
        if state in _WAITING and row.key_expiry >= 0:
            self.expiring.push(row)
        if state is JobState.DELAYED:
            self.delayed.push(row)
        elif state is JobState.READY:
            self.made_ready.add(row.job.queue)
            if isolated(row.losses):
                queue.isolated[row.ref] = row
            else:
                queue.ready.push(row)

    def _begin_life(self, row: JobRow, event: Event, now_ms: int) -> None:
        self.live += 1
        row.finished_ms = None
        if event is Event.PUSH or row.job.unique_until is UniqueUntil.DONE:
            self.unique.hold(row.job, now_ms)

    def _end_life(self, row: JobRow) -> None:
        self.live -= 1
        self.unique.free(row.job)
        if row.awaited:
            row.awaited = False
            self._on_end(row.job.id)

    def _keep(self, row: JobRow, now_ms: int) -> None:
        row.finished_ms = now_ms
        kept, bound = self.finished, self.retention.finished_max
        if row.state is JobState.FAILED:
            kept, bound = self.failed, self.retention.failed_max
        self.queue(row.job.queue).ever[row.state] += 1
        kept[row.ref] = row
        # Sweeps need a leader; without one the store stays bounded all the same.
        if len(kept) > 2 * bound + 1:
            self.prune(next(iter(kept.values())), now_ms)


def _due(row: JobRow) -> int:
    return row.due_ms


def _expiry(row: JobRow) -> int:
    return row.key_expiry


def _tell(
    row: JobRow, event: Event, was: JobState, state: JobState, now_ms: int, error: bytes | None
) -> None:
    """Note what the job's history keeps of an event."""
    if was is JobState.RUNNING and state is not JobState.COMPLETED:
        row.tell_run(event, now_ms, error)
    elif event is Event.OPERATOR_RETRY:
        row.tell_retry(now_ms)
        row.expires_ms = None  # his word goes above it

"""A job, a queue and a session as the memory store keeps them."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING

from callboard.core.history import add_run, decode_history
from callboard.core.lifecycle import Event, Holding, attempt_number, isolated
from callboard.core.records import (
    JobRecord,
    JobState,
    PoolView,
    QueueLimits,
    RunRecord,
    SessionView,
    Step,
    TakenJob,
    Token,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from callboard.core.records import NewJob, NodeInfo, OutcomeKind, PoolReport, ProgressView, SessionId


class JobRow:
    """One job. `done` is what a finish made of its token: the same again changes nothing."""

    __slots__ = ("assigned_ms", "attempts", "awaited", "cancel_asked", "done", "doubts", "due_ms", "error",
                 "expires_ms", "finished_ms", "history", "job", "losses", "node", "progress", "pushed_ms", "rank",
                 "ref", "result", "result_until_ms", "session", "started_ms", "state", "step", "taken_ms", "token")

    def __init__(self, ref: int, job: NewJob, now_ms: int) -> None:
        """A row that is in no index yet."""
        self.ref = ref
        self.job = job
        self.pushed_ms = now_ms
        self.due_ms = now_ms
        self.rank = 0
        self.state = JobState.FORGOTTEN  # in no index
        self.step = Step.HANDLE
        self.attempts = 0
        self.losses = 0
        self.doubts = 0
        self.token: Token | None = None
        self.session: SessionId | None = None
        self.error: bytes | None = None
        self.finished_ms: int | None = None
        self.cancel_asked = False
        self.done: OutcomeKind | None = None
        self.expires_ms = None if job.expires_s is None else now_ms + round(job.expires_s * 1000)
        self.node: str | None = None
        self.assigned_ms: int | None = None
        self.taken_ms: int | None = None
        self.started_ms: int | None = None
        self.progress: ProgressView | None = None
        self.history: bytes | None = None
        self.result: bytes | None = None
        self.result_until_ms: int | None = None
        self.awaited = False  # somebody wants to hear of its end

    @property
    def key_expiry(self) -> int:
        """When it expires, if it can."""
        return -1 if self.expires_ms is None or self.step is not Step.HANDLE else self.expires_ms

    def expired(self, now_ms: int) -> bool:
        """It must not be assigned any more."""
        return 0 <= self.key_expiry <= now_ms

    @property
    def holding(self) -> Holding:
        """What decides when its session ends."""
        once = self.job.at_most_once
        return Holding(self.state, self.step, self.losses, started=self.started_ms is not None,
                       careful=self.doubts > 0 or once, once=once, has_hook=self.job.has_failed_hook,
                       cancel_asked=self.cancel_asked)

    def begin_run(self, token: Token, session: SessionRow, now_ms: int) -> None:
        """A new assignment: nothing is known of its run yet."""
        self.token, self.session, self.node = token, session.session, session.info.node
        self.assigned_ms, self.taken_ms, self.started_ms = now_ms, None, None
        self.done = self.progress = None

    def tell_run(self, event: Event, now_ms: int, error: bytes | None) -> None:
        """Note how the run ended that is under way."""
        self._tell(RunRecord(self.token or Token(0, 0), self.node or "", self.assigned_ms or 0, self.taken_ms or 0,
                             self.started_ms, now_ms, event.value, error))

    def tell_retry(self, now_ms: int) -> None:
        """Note that an operator let it begin anew."""
        self._tell(RunRecord(self.token or Token(0, 0), "", 0, 0, None, now_ms, Event.OPERATOR_RETRY.value))

    def _tell(self, run: RunRecord) -> None:
        self.history = add_run(self.history, run)

    def taken(self, token: Token) -> TakenJob:
        """What its node gets."""
        job = self.job
        return TakenJob(
            self.ref, job.id, token, job.name, job.queue, job.body, attempt_number(self.attempts, self.step),
            self.losses, self.step, job.max_attempts, job.timeout_s, job.backoff, self.error, job.has_failed_hook,
            self.pushed_ms, self.doubts, job.at_most_once,
        )

    def record(self, now_ms: int) -> JobRecord:
        """What an operator gets."""
        job = self.job
        over = self.result_until_ms is not None and now_ms >= self.result_until_ms
        return JobRecord(
            id=job.id, name=job.name, queue=job.queue, state=self.state, priority=job.priority, attempts=self.attempts,
            losses=self.losses, max_attempts=job.max_attempts, pushed_ms=self.pushed_ms, due_ms=self.due_ms,
            finished_ms=self.finished_ms, token=self.token, node=self.node, body=job.body, error=self.error,
            unique=job.unique, doubts=self.doubts, at_most_once=job.at_most_once, expires_ms=self.expires_ms,
            assigned_ms=self.assigned_ms, taken_ms=self.taken_ms, started_ms=self.started_ms,
            result=None if over else self.result, result_until_ms=self.result_until_ms, progress=self.progress,
            history=decode_history(self.history),
        )


class Heap:
    """Rows of some states by (key, ref). A row that leaves otherwise than by pop stays until it is met or most are."""

    def __init__(self, states: Collection[JobState], key: Callable[[JobRow], int]) -> None:
        """Rows are alive in these states, at the key that they have then."""
        self._states = frozenset(states)
        self._key = key
        self._heap: list[tuple[int, int, JobRow]] = []
        self.alive = 0

    def push(self, row: JobRow) -> None:
        """Add a row that has just come into the state."""
        self.alive += 1
        heapq.heappush(self._heap, (self._key(row), row.ref, row))

    def left(self) -> None:
        """A row has just left the state."""
        self.alive -= 1
        if len(self._heap) > 2 * self.alive + 64:
            entries = {entry[1]: entry for entry in self._heap if self._is_alive(entry)}
            self._heap = sorted(entries.values())

    def first(self) -> JobRow | None:
        """The first row alive."""
        while self._heap:
            if self._is_alive(self._heap[0]):
                return self._heap[0][2]
            heapq.heappop(self._heap)
        return None

    def pop(self) -> JobRow | None:
        """The same, taken out: its state must change at once, then left() be called."""
        row = self.first()
        if row is not None:
            heapq.heappop(self._heap)
        return row

    def _is_alive(self, entry: tuple[int, int, JobRow]) -> bool:
        return entry[2].state in self._states and self._key(entry[2]) == entry[0]


def _rank(row: JobRow) -> int:
    return row.rank


class QueueRow:
    """One queue: its ready rows by rank, those that must run alone, and counts by state."""

    def __init__(self) -> None:
        """An empty queue."""
        self.ready = Heap([JobState.READY], _rank)
        self.isolated: dict[int, JobRow] = {}
        self.counts: Counter[JobState] = Counter()
        self.ever: Counter[JobState] = Counter()  # how many ended so, pruned ones too
        self.paused = False
        self.limits = QueueLimits()
        self.idle = True  # had nothing ready when the leader last looked

    def refuses(self, more: int) -> bool:
        """So many more jobs would be too many."""
        depth = self.counts[JobState.DELAYED] + self.counts[JobState.READY] + more
        return self.limits.max_depth is not None and depth > self.limits.max_depth

    def has_ready(self) -> bool:
        """A job could be assigned to any node."""
        return not self.paused and self.ready.alive > 0

    def has_waiting(self) -> bool:
        """A job could be assigned, if only to a node that holds nothing."""
        return not self.paused and (self.ready.alive > 0 or bool(self.isolated))


class SessionRow:
    """One life of a node."""

    def __init__(self, session: SessionId, info: NodeInfo, ttl_s: float) -> None:
        """A session that holds nothing and has no pools."""
        self.session = session
        self.info = info
        self.ttl_s = ttl_s
        self.counter = 0
        self.held: dict[int, JobRow] = {}
        self.by_queue: Counter[str] = Counter()
        self.alone = 0
        self.pools: dict[str, PoolReport] = {}

    def report(self, pools: Sequence[PoolReport]) -> bool:
        """Replace the pools; whether any capacity rose."""
        before = {name: pool.capacity for name, pool in self.pools.items()}
        self.pools = {pool.name: pool for pool in pools}
        return any(pool.capacity > before.get(pool.name, 0) for pool in pools)

    def hold(self, row: JobRow) -> None:
        """The row is this session's now."""
        self.held[row.ref] = row
        self.by_queue[row.job.queue] += 1
        self.alone += isolated(row.losses)

    def drop(self, row: JobRow) -> None:
        """The row is no longer this session's; called before its losses change."""
        del self.held[row.ref]
        self.by_queue[row.job.queue] -= 1
        self.alone -= isolated(row.losses)

    def free(self, pool: str, queue: str) -> int:
        """Rows that the pool may still take from the queue."""
        report = self.pools.get(pool)
        if report is None or all(share.queue != queue for share in report.queues):
            return 0
        return report.capacity - sum(self.by_queue[share.queue] for share in report.queues)

    def rows(self, state: JobState, queues: frozenset[str] | None = None) -> Iterator[JobRow]:
        """Rows held in this state, of these queues, oldest token first."""
        for row in self.held.values():
            if row.state is state and (queues is None or row.job.queue in queues):
                yield row

    def view(self, *, draining: bool) -> SessionView:
        """What the leader sees."""
        pools: list[PoolView] = []
        for report in self.pools.values():
            held = {share.queue: n for share in report.queues if (n := self.by_queue[share.queue]) > 0}
            pools.append(PoolView(report, sum(held.values()), held))
        return SessionView(self.session, self.info, self.counter, self.ttl_s, tuple(pools), draining, self.alone > 0)

"""A job, a queue and a session as the memory store keeps them."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING

from callboard.core.lifecycle import attempt_number, isolated
from callboard.core.records import JobRecord, JobState, PoolView, SessionView, Step, TakenJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from callboard.core.records import NewJob, NodeInfo, OutcomeKind, PoolReport, SessionId, Token


class JobRow:
    """One job. `done` is what a finish made of its token: the same again changes nothing."""

    __slots__ = ("attempts", "cancel_asked", "done", "due_ms", "error", "finished_ms", "job", "losses", "pushed_ms",
                 "rank", "ref", "session", "state", "step", "token")

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
        self.token: Token | None = None
        self.session: SessionId | None = None
        self.error: bytes | None = None
        self.finished_ms: int | None = None
        self.cancel_asked = False
        self.done: OutcomeKind | None = None

    def taken(self, token: Token) -> TakenJob:
        """What its node gets."""
        job = self.job
        return TakenJob(
            self.ref, job.id, token, job.name, job.queue, job.body, attempt_number(self.attempts, self.step),
            self.losses, self.step, job.max_attempts, job.timeout_s, job.backoff, self.error, job.has_failed_hook,
            self.pushed_ms,
        )

    def record(self, node: str | None) -> JobRecord:
        """What an operator gets."""
        job = self.job
        return JobRecord(
            id=job.id, name=job.name, queue=job.queue, state=self.state, priority=job.priority, attempts=self.attempts,
            losses=self.losses, max_attempts=job.max_attempts, pushed_ms=self.pushed_ms, due_ms=self.due_ms,
            finished_ms=self.finished_ms, token=self.token, node=node, body=job.body, error=self.error,
            unique=job.unique,
        )


class Heap:
    """Rows of one state by (key, ref). A row that leaves otherwise than by pop stays until it is met or most are."""

    def __init__(self, state: JobState, key: Callable[[JobRow], int]) -> None:
        """Rows are alive in this state, at the key that they have then."""
        self._state = state
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
        return entry[2].state is self._state and self._key(entry[2]) == entry[0]


def _rank(row: JobRow) -> int:
    return row.rank


class QueueRow:
    """One queue: its ready rows by rank, those that must run alone, and counts by state."""

    def __init__(self) -> None:
        """An empty queue."""
        self.ready = Heap(JobState.READY, _rank)
        self.isolated: dict[int, JobRow] = {}
        self.counts: Counter[JobState] = Counter()
        self.ever: Counter[JobState] = Counter()  # how many ended so, pruned ones too
        self.paused = False
        self.idle = True  # had nothing ready when the leader last looked

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

"""The values that pass between the parts: what a job, a token, a session, an assignment is.

Durations are seconds (float) and end in `_s`; instants are milliseconds of the store's clock since 1970 (int) and end
in `_ms`. Values that are made once per job on the hot path are NamedTuples (half the cost of a frozen dataclass).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, NewType

SessionId = NewType("SessionId", int)
"""One life of a node, issued by the store; grows, is never used twice."""


class JobState(IntEnum):
    """Where a job is. The numbers are stored, so they never change."""

    DELAYED = 0
    READY = 1
    ASSIGNED = 2
    RUNNING = 3
    COMPLETED = 4
    FAILED = 5
    CANCELLED = 6
    FORGOTTEN = 7  # purged or forgotten by an operator: only the id is remembered


class Step(IntEnum):
    """Which part of a job is due: its handle(), or, once it failed for good, its failed()."""

    HANDLE = 0
    FAILED_HOOK = 1


class Token(NamedTuple):
    """Names one assignment of one job; never reused, never lowered; the job's fencing token. Ordered."""

    epoch: int
    seq: int


class Epoch(NamedTuple):
    """What a leader shows with each fenced act: compared for equality with the store's fence."""

    number: int
    owner: str


class Term(NamedTuple):
    """A leadership that a cluster backend granted.

    Attributes:
        number: grows with each term of this backend (its fencing number).
        owner: boot id of the node that holds it.
        ttl_s: how long the backend keeps it without a renewal: what was granted, not what was asked for.
        handle: what the backend needs to renew or resign exactly this term; opaque.
    """

    number: int
    owner: str
    ttl_s: float
    handle: str


class TermClaim(NamedTuple):
    """How a new leader introduces itself to the store."""

    cluster_id: str
    backend: str
    number: int
    owner: str


class LockToken(NamedTuple):
    """A held lock: key, holder's secret, and a fencing number that only grows for the key."""

    key: str
    holder: str
    number: int
    ttl_s: float


class Backoff(NamedTuple):
    """How long to wait before the next attempt; numbers only, stored with the job.

    Attributes:
        base_s: seconds before the second attempt.
        factor: 1.0 is constant; 2.0 doubles with each attempt.
        cap_s: never longer than this.
        jitter: 0.0 to 1.0: the share of the delay that is drawn at random downwards.
    """

    base_s: float
    factor: float = 1.0
    cap_s: float = 86_400.0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class NewJob:
    """A validated job on its way into the store.

    Attributes:
        body: msgpack of `{"a": {field: value}, "h": headers or absent}`; opaque to the store.
        max_attempts, timeout_s, backoff: None takes the queue's setting on the node that runs it.
        unique: at most one live job with this key exists; a push that meets it gets that job's id.
        has_failed_hook: a failed() step follows when the job fails for good.
    """

    id: str
    name: str
    queue: str
    body: bytes
    priority: int = 0
    delay_s: float = 0.0
    max_attempts: int | None = None
    timeout_s: float | None = None
    backoff: Backoff | None = None
    unique: str | None = None
    has_failed_hook: bool = False


class PushReceipt(NamedTuple):
    """What a push did, in the order of the jobs given.

    Attributes:
        ids: the id each job has in the store (for a unique key that is held: the holder's id).
        new: how many rows were written; the others were there already.
        rang: a waiting leader was rung.
    """

    ids: tuple[str, ...]
    new: int
    rang: bool


class TakenJob(NamedTuple):
    """A job that this node may now run; everything that a child needs.

    Attributes:
        ref: the store's own handle of the row (int or str), to be given back with the outcome.
        attempt: 1 at the first try.
        losses: how often a node died under it.
    """

    ref: int
    id: str
    token: Token
    name: str
    queue: str
    body: bytes
    attempt: int
    losses: int
    step: Step
    max_attempts: int | None
    timeout_s: float | None
    backoff: Backoff | None
    error: bytes | None
    has_failed_hook: bool
    pushed_ms: int


class Held(NamedTuple):
    """Names a row that a node holds: enough to finish it."""

    ref: int
    id: str
    token: Token


class OutcomeKind(IntEnum):
    """How a run of a job ended."""

    COMPLETED = 0
    RETRY = 1  # an attempt is charged; ready again after delay_s
    FAILED = 2  # an attempt is charged; fails for good (first its failed() step, if it has one)
    SNOOZED = 3  # nothing is charged; ready again after delay_s
    HANDED_BACK = 4  # never started: nothing is charged; ready at once; also from ASSIGNED
    LOST = 5  # its process vanished with the node or a neighbour: a loss is charged; ready at once, or quarantined
    CANCELLED = 6  # stopped on an operator's request


class Outcome(NamedTuple):
    """One end of one run, as the node reports it to the store.

    Attributes:
        error: msgpack of an ErrorRecord, bounded; for RETRY, FAILED, LOST.
    """

    held: Held
    kind: OutcomeKind
    delay_s: float = 0.0
    error: bytes | None = None


class FinishReceipt(NamedTuple):
    """What the store made of a batch of outcomes.

    Attributes:
        applied: outcomes that took effect now, or had taken effect before (the same finish sent twice).
        stale: those whose token the job no longer has: nothing was changed for them.
        quarantined: ids that this batch put on the failed list because their losses ran out.
    """

    applied: int
    stale: tuple[Held, ...]
    quarantined: tuple[str, ...] = ()


class ErrorRecord(NamedTuple):
    """Why an attempt ended, in strings: remote exceptions are never objects.

    Attributes:
        kind: the exception's class name, or `Timeout`, `ChildDied`, `NodeLost`, `Interrupted`.
        message: at most 2,000 characters.
        traceback: at most 16,000 characters; empty where there is none.
    """

    kind: str
    message: str
    traceback: str = ""


# Sessions and assignment ----------------------------------------------------------------------------------------------


class QueueShare(NamedTuple):
    """A queue that a pool serves, with its weight against the pool's other queues."""

    queue: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class PoolReport:
    """One Worker actor's offer: slots that serve one or more queues. A queue is in one pool of a node only.

    Attributes:
        name: the pool's name (its first queue).
        slots: jobs that run side by side.
        capacity: rows the pool may hold at once: slots and the little that is prefetched; 0 takes nothing.
    """

    name: str
    queues: tuple[QueueShare, ...]
    slots: int
    capacity: int


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a node says of itself when it registers and opens a session. All strings are at most 255 characters."""

    node: str
    boot_id: str
    host: str = ""
    pid: int = 0
    version: str = ""
    socket: str = ""
    started_ms: int = 0


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool as the leader sees it."""

    report: PoolReport
    held: int
    held_by_queue: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class SessionView:
    """A live session as the leader sees it.

    Attributes:
        counter: the heartbeat counter; only its standing still matters.
        ttl_s: how long it may stand still.
        draining: gets nothing new.
        isolating: holds a job that must run alone on its node: gets nothing new until it is done.
    """

    session: SessionId
    info: NodeInfo
    counter: int
    ttl_s: float
    pools: tuple[PoolView, ...]
    draining: bool = False
    isolating: bool = False

    @property
    def held(self) -> int:
        """Rows that the session holds, all pools together."""
        return sum(pool.held for pool in self.pools)


class IsolatedJob(NamedTuple):
    """A ready job that has lost two nodes: it runs alone on a node or not at all."""

    ref: int
    id: str
    queue: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What the leader decides from: counts, never payloads.

    Attributes:
        ready: queue to ready jobs, counted up to the limit asked for; isolated ones and paused queues left out.
        isolated: the first few jobs that must run alone.
    """

    sessions: tuple[SessionView, ...]
    ready: dict[str, int]
    isolated: tuple[IsolatedJob, ...] = ()


class Assignment(NamedTuple):
    """Give up to `count` ready jobs of a queue to a session's pool; the store takes the first by rank."""

    session: SessionId
    pool: str
    queue: str
    count: int


class IsolatedAssignment(NamedTuple):
    """Give one isolated job to a session that holds nothing."""

    session: SessionId
    pool: str
    job: IsolatedJob


@dataclass(frozen=True, slots=True)
class Plan:
    """What the leader decided in one round."""

    assignments: tuple[Assignment, ...] = ()
    isolated: tuple[IsolatedAssignment, ...] = ()

    @property
    def empty(self) -> bool:
        """Nothing is to be assigned."""
        return not self.assignments and not self.isolated


@dataclass(frozen=True, slots=True)
class AssignReceipt:
    """What the store did with a plan.

    Attributes:
        assigned: jobs assigned per session, in all.
        taken: with `take_for`, that session's jobs, running already; empty otherwise.
        idle: nothing was ready for any assignment of the plan: the next push rings.
    """

    assigned: dict[SessionId, int]
    taken: tuple[TakenJob, ...] = ()
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """What ending a session did with its rows.

    Attributes:
        handed_back: were only assigned: uncharged.
        lost: were running: a loss charged, ready again.
        quarantined: ids on the failed list now, because their losses ran out.
    """

    handed_back: int
    lost: int
    quarantined: tuple[str, ...] = ()


class Promoted(NamedTuple):
    """What promote_due did: jobs moved, and seconds until the next one is due (None: none waits)."""

    moved: int
    next_due_s: float | None


class CancelRequest(NamedTuple):
    """A running job that an operator wants stopped."""

    id: str
    token: Token


class Desired(NamedTuple):
    """What an operator ordered for a queue: durable, reconciled by nodes, late joiners too.

    Attributes:
        node: a node's name, or "*" for every node.
        slots: jobs side by side.
    """

    queue: str
    node: str
    slots: int


class BeatReply(NamedTuple):
    """What a node learns with each heartbeat.

    Attributes:
        desired: all rows for this node's queues.
        draining: this node shall get nothing new.
        cancels: running jobs of this session to be stopped.
        waiting: rows assigned to this session and not taken yet.
    """

    desired: tuple[Desired, ...]
    draining: bool
    cancels: tuple[CancelRequest, ...]
    waiting: int


# What operators read --------------------------------------------------------------------------------------------------


class QueueCounts(NamedTuple):
    """Jobs of one queue by state. `completed` and `failed_total` count since the store began, and survive pruning."""

    queue: str
    delayed: int
    ready: int
    assigned: int
    running: int
    failed: int
    completed: int
    cancelled: int
    paused: bool


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as an operator sees it."""

    id: str
    name: str
    queue: str
    state: JobState
    priority: int
    attempts: int
    losses: int
    max_attempts: int | None
    pushed_ms: int
    due_ms: int
    finished_ms: int | None
    token: Token | None
    node: str | None
    body: bytes
    error: bytes | None
    unique: str | None = None


class FenceView(NamedTuple):
    """The store's fence: which epoch counts, and whose it is."""

    epoch: int
    owner: str
    cluster_id: str
    backend: str
    term_number: int


class CancelResult(IntEnum):
    """What cancel did."""

    CANCELLED = 0  # it had not started; it never will
    REQUESTED = 1  # it runs; its node has been told
    TOO_LATE = 2  # it had ended


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A cron entry as the store keeps it.

    Attributes:
        job: the job to push at each tick; its id is made from the name and the tick.
        missed: "skip", "once" or "all": what becomes of ticks that nobody was there for.
        window_s: how late a tick may still fire.
        last_tick_ms: the newest tick that was decided (fired or skipped); moved by compare-and-set.
    """

    name: str
    cron: str
    timezone: str
    missed: str
    window_s: float
    job: NewJob
    last_tick_ms: int
    version: int = 1


class Characteristics(NamedTuple):
    """What an implementation does and does not guarantee, in sentences for `callboard doctor` and the docs."""

    name: str
    durable: str
    shared: str
    limits: tuple[str, ...]

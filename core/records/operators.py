"""What operators read and order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from callboard.core.records.jobs import JobState, NewJob, Token


class QueueCounts(NamedTuple):
    """Jobs of one queue by state, and its limits. `completed` and `cancelled` count since the store began."""

    queue: str
    delayed: int
    ready: int
    assigned: int
    running: int
    failed: int
    completed: int
    cancelled: int
    paused: bool
    max_depth: int | None = None
    aging_s: float | None = None


class QueueLimits(NamedTuple):
    """What an operator ordered for one queue; None: the store's default.

    Attributes:
        max_depth: delayed and ready jobs; a push beyond it is refused.
        aging_s: a job that has waited this long is a priority higher.
    """

    max_depth: int | None = None
    aging_s: float | None = None


class ProgressView(NamedTuple):
    """What a job last said of its progress."""

    fraction: float | None
    message: str
    at_ms: int


class RunRecord(NamedTuple):
    """A run of a job that is over, and did not complete it.

    Attributes:
        token: its assignment.
        node: whose it was; empty where it is not known any more.
        assigned_ms: by the store's clock, as the others.
        taken_ms: when its node had it.
        started_ms: when the store heard that it had begun; None: it ended before, or never began.
        end: what ended it: the value of a `core.lifecycle.Event`.
        error: msgpack of an ErrorRecord.
    """

    token: Token
    node: str
    assigned_ms: int
    taken_ms: int
    started_ms: int | None
    ended_ms: int
    end: str
    error: bytes | None = None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as an operator sees it.

    Attributes:
        token, node, assigned_ms, taken_ms, started_ms, progress: of its last run; they stay until the next assignment.
        result: until result_until_ms; None after that, and where the job returned None.
        history: runs before that, and the last one too unless it completed the job or goes on; the newest 20 at most,
            oldest first.
    """

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
    doubts: int = 0
    at_most_once: bool = False
    expires_ms: int | None = None
    assigned_ms: int | None = None
    taken_ms: int | None = None
    started_ms: int | None = None
    result: bytes | None = None
    result_until_ms: int | None = None
    progress: ProgressView | None = None
    history: tuple[RunRecord, ...] = ()


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

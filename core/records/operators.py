"""What operators read and order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from callboard.core.records.jobs import JobState, NewJob, Token


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

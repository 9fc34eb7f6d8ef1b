"""The values between an executor and its Worker: how a run ended, what a child has to say, what an app defines."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from callboard.core.records import Backoff, ErrorRecord, Token  # noqa: TC001 - read at run time to validate messages


class EndKind(IntEnum):
    """How a run ended, as the executor saw it; `core/verdict.py` makes an Outcome of it."""

    COMPLETED = 0
    RAISED = 1
    TIMED_OUT = 2  # it overran: TimeLimitExceeded was raised in it, or its process was killed
    CHILD_DIED = 3  # its process ended under it, and no other job ran there: its own doing
    NEIGHBOUR_DIED = 4  # its process ended while several jobs ran in it: whose doing is unknown
    NOT_STARTED = 5  # it never started: its child was stopped, or the lease had passed
    CANCELLED = 6
    INTERRUPTED = 7  # killed at the deadline of a graceful stop
    UNKNOWN_JOB = 8  # the app of this node does not define it


class RunEnd(NamedTuple):
    """One run's end.

    Attributes:
        error: for RAISED, TIMED_OUT, CHILD_DIED, NEIGHBOUR_DIED, UNKNOWN_JOB.
        permanent: RAISED: no further attempt can help.
        retry_after_s: RAISED, TIMED_OUT: the job's own wish (RetryLater, or its retry_after method).
        snooze_s: RAISED by Snooze: charge nothing, run again after this.
        duration_s: how long it ran.
        result: COMPLETED: what it returned, as `core.result` encodes it; None where it returned None or keeps none.
    """

    token: Token
    kind: EndKind
    error: ErrorRecord | None = None
    permanent: bool = False
    retry_after_s: float | None = None
    snooze_s: float | None = None
    duration_s: float = 0.0
    result: bytes | None = None


class RunningJob(NamedTuple):
    """A job in a child now."""

    token: Token
    job_id: str
    name: str
    child_pid: int
    started_boot_s: float


class ChildNote(NamedTuple):
    """Something a child said, or that happened to one; becomes an event.

    Attributes:
        event: a name of the catalogue, such as `job.output`, `job.progress`, `child.started`, `child.killed`.
        token: the job it belongs to, where that is certain.
        fields: bounded plain data.
    """

    event: str
    pid: int
    token: Token | None
    fields: dict[str, str | int | float | bool | None]


class JobSpec(NamedTuple):
    """What a node knows of a job without running user code; published with its session.

    Attributes:
        fields: argument names in order; required ones are named in `required`.
        open_ended: takes further keyword arguments.
        unique_until: of its unique key: a UniqueUntil, as a number.
    """

    name: str
    queue: str
    fields: tuple[str, ...]
    required: tuple[str, ...]
    max_attempts: int | None
    timeout_s: float | None
    backoff: Backoff | None
    has_failed_hook: bool
    open_ended: bool = False
    doc: str = ""
    priority: int = 0
    delay_s: float = 0.0
    at_most_once: bool = False
    expires_s: float | None = None
    result_ttl_s: float | None = None
    tags: tuple[str, ...] = ()
    unique: str | None = None
    unique_until: int = 1
    unique_period_s: float | None = None

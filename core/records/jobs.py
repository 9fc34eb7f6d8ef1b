"""A job on its way: pushed, assigned, taken, finished; its token, its outcome, its error."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple


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


class UniqueUntil(IntEnum):
    """How long a job holds its unique key. The numbers are stored, so they never change."""

    STARTED = 0  # until a node takes it: the key is free from then on, for good
    DONE = 1  # until it has ended
    PERIOD = 2  # for `unique_period_s` from its push, whatever becomes of it


class Step(IntEnum):
    """Which part of a job is due: its handle(), or, once it failed for good, its failed()."""

    HANDLE = 0
    FAILED_HOOK = 1


class Token(NamedTuple):
    """Names one assignment of one job; never reused, never lowered; the job's fencing token. Ordered."""

    epoch: int
    seq: int


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


RESULT_TTL_S: Final = 3_600.0
"""How long a result is kept unless the job says otherwise."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A validated job on its way into the store.

    Attributes:
        body: msgpack of `{"a": {field: value}, "h": headers or absent, "t": tags or absent}`; opaque to the store.
        max_attempts, timeout_s, backoff: None takes the queue's setting on the node that runs it.
        unique: at most one job holds this key, whatever its form; a push that meets it gets that job's id.
        has_failed_hook: a failed() step follows when the job fails for good.
        unique_until: how long it holds the key.
        unique_period_s: for UniqueUntil.PERIOD, by the store's clock.
        at_most_once: its handle() never starts twice: what is lost, or asks to be run again, fails for good.
        expires_s: from the push on, by the store's clock: a run of handle() that was not assigned by then never is,
            unless an operator retries the job.
        result_ttl_s: how long its result is kept; 0 keeps none.
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
    unique_until: UniqueUntil = UniqueUntil.DONE
    unique_period_s: float | None = None
    at_most_once: bool = False
    expires_s: float | None = None
    result_ttl_s: float = RESULT_TTL_S


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
        doubts: how often a node died that may have started it, or not: see `careful`.
        at_most_once: its handle() never starts twice.
        keeps_result: the store keeps what it returns.
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
    doubts: int = 0
    at_most_once: bool = False
    keeps_result: bool = True

    @property
    def careful(self) -> bool:
        """Whether the store must have its start mark before it starts, with no job before or behind it in its child."""
        return self.doubts > 0 or self.at_most_once


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
        result: what the job returned, as `core.result` encodes it, bounded; for COMPLETED. None: it returned None.
    """

    held: Held
    kind: OutcomeKind
    delay_s: float = 0.0
    error: bytes | None = None
    result: bytes | None = None


class Progress(NamedTuple):
    """How far a running job says that it is.

    Attributes:
        fraction: 0.0 to 1.0, where it knows.
        message: at most 500 characters.
    """

    held: Held
    fraction: float | None = None
    message: str = ""


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

"""A job's lifecycle as one table: what each event makes of a job, in every state.

Every store follows it; a pair that is not in the table does not happen: the store refuses the act or leaves the job
alone. `docs/lifecycle.md` is drawn from it (`core/lifecyclepage.py`).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from callboard.core.records import JobState, OutcomeKind, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

LOSSES_MAX: Final = 3
"""With this loss a job is quarantined: it goes to the failed list and its failed() does not run."""
ISOLATE_AT_LOSSES: Final = 2
"""From this loss on a job runs alone on a node or not at all."""

LIVE: Final = frozenset({JobState.DELAYED, JobState.READY, JobState.ASSIGNED, JobState.RUNNING})
"""States in which a job holds its unique key and counts against the store's bound."""
HELD: Final = frozenset({JobState.ASSIGNED, JobState.RUNNING})
"""States in which a session holds the job: it takes capacity."""
FINISHED: Final = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})
"""States that end a job; its row is kept until a sweep prunes it, its id for longer."""


class Event(Enum):
    """What happens to a job."""

    PUSH = "push"
    PROMOTE = "promote"
    ASSIGN = "assign"
    TAKE = "take"
    COMPLETE = "complete"
    RETRY = "retry"
    SNOOZE = "snooze"
    FAIL = "fail"
    FAIL_TO_HOOK = "fail, has failed()"
    HAND_BACK = "hand back"
    LOSE = "lose"
    DOUBT = "lose, perhaps never started"
    LOSE_ONCE = "lose, at most once"
    LOSE_ONCE_TO_HOOK = "lose, at most once, has failed()"
    QUARANTINE = "lose for the last time"
    CANCEL = "cancel"
    WITHDRAW = "withdraw"
    EXPIRE = "expire"
    PURGE = "purge"
    OPERATOR_RETRY = "operator's retry"
    FORGET = "forget"


class Charge(Enum):
    """What it costs."""

    NOTHING = ""
    ATTEMPT = "attempts + 1"
    LOSS = "losses + 1"
    DOUBT = "doubts + 1"
    RESET = "all to 0"


class TokenFate(Enum):
    """What becomes of the job's token. A retired one stays on the row as its last, and is accepted by nothing."""

    NONE = ""
    ISSUED = "issued by the store"
    KEPT = "kept"
    RETIRED = "retired"


class Due(Enum):
    """What becomes of the instant that the job is due at, and with it of its place in the queue."""

    KEPT = "kept"
    NOW = "now"
    LATER = "now + delay"


class ErrorFate(Enum):
    """What becomes of the job's recorded error."""

    KEPT = "kept"
    SET = "set"
    CLEARED = "cleared"


class Transition(NamedTuple):
    """What an event makes of a job.

    Attributes:
        to: the next state; DELAYED stands for READY where the delay is 0.
        step: the next step; None: as it was.
    """

    to: JobState
    step: Step | None = None
    charge: Charge = Charge.NOTHING
    token: TokenFate = TokenFate.NONE
    due: Due = Due.KEPT
    error: ErrorFate = ErrorFate.KEPT


class Row(NamedTuple):
    """A line of the table; `state` None: before the push."""

    state: JobState | None
    step: Step
    event: Event
    then: Transition


_H: Final = (Step.HANDLE,)
_F: Final = (Step.FAILED_HOOK,)
_BOTH: Final = (Step.HANDLE, Step.FAILED_HOOK)
_S: Final = JobState
_T: Final = Transition
_KEPT: Final = TokenFate.KEPT
_RETIRED: Final = TokenFate.RETIRED

_TABLE: Final[tuple[tuple[JobState | None, tuple[Step, ...], Event, Transition], ...]] = (
    (None, _H, Event.PUSH, _T(_S.DELAYED, due=Due.LATER)),
    # waiting; a job that waits for its failed() has failed: cancelling it only leaves out the failed()
    (_S.DELAYED, _BOTH, Event.PROMOTE, _T(_S.READY)),
    (_S.DELAYED, _H, Event.CANCEL, _T(_S.CANCELLED)),
    (_S.DELAYED, _F, Event.CANCEL, _T(_S.FAILED)),
    (_S.DELAYED, _H, Event.EXPIRE, _T(_S.CANCELLED, error=ErrorFate.SET)),
    (_S.DELAYED, _BOTH, Event.PURGE, _T(_S.FORGOTTEN)),
    (_S.READY, _BOTH, Event.ASSIGN, _T(_S.ASSIGNED, token=TokenFate.ISSUED)),
    (_S.READY, _H, Event.CANCEL, _T(_S.CANCELLED)),
    (_S.READY, _F, Event.CANCEL, _T(_S.FAILED)),
    (_S.READY, _H, Event.EXPIRE, _T(_S.CANCELLED, error=ErrorFate.SET)),
    (_S.READY, _BOTH, Event.PURGE, _T(_S.FORGOTTEN)),
    # given to a session, not started: nothing costs anything
    (_S.ASSIGNED, _BOTH, Event.TAKE, _T(_S.RUNNING, token=_KEPT)),
    (_S.ASSIGNED, _BOTH, Event.HAND_BACK, _T(_S.READY, token=_RETIRED)),
    (_S.ASSIGNED, _BOTH, Event.WITHDRAW, _T(_S.READY, token=_RETIRED)),
    (_S.ASSIGNED, _H, Event.CANCEL, _T(_S.CANCELLED, token=_RETIRED)),
    (_S.ASSIGNED, _F, Event.CANCEL, _T(_S.FAILED, token=_RETIRED)),
    (_S.ASSIGNED, _BOTH, Event.PURGE, _T(_S.FORGOTTEN, token=_RETIRED)),
    # running
    (_S.RUNNING, _BOTH, Event.TAKE, _T(_S.RUNNING, token=_KEPT)),
    (_S.RUNNING, _BOTH, Event.HAND_BACK, _T(_S.READY, token=_RETIRED)),
    (_S.RUNNING, _BOTH, Event.SNOOZE, _T(_S.DELAYED, token=_RETIRED, due=Due.LATER)),
    (_S.RUNNING, _H, Event.CANCEL, _T(_S.CANCELLED, token=_RETIRED)),
    (_S.RUNNING, _BOTH, Event.LOSE, _T(_S.READY, charge=Charge.LOSS, token=_RETIRED)),
    (_S.RUNNING, _BOTH, Event.DOUBT, _T(_S.READY, charge=Charge.DOUBT, token=_RETIRED)),
    (_S.RUNNING, _H, Event.LOSE_ONCE, _T(_S.FAILED, charge=Charge.LOSS, token=_RETIRED, error=ErrorFate.SET)),
    (_S.RUNNING, _H, Event.LOSE_ONCE_TO_HOOK,
     _T(_S.READY, Step.FAILED_HOOK, Charge.LOSS, _RETIRED, Due.NOW, ErrorFate.SET)),
    (_S.RUNNING, _H, Event.QUARANTINE, _T(_S.FAILED, charge=Charge.LOSS, token=_RETIRED, error=ErrorFate.SET)),
    (_S.RUNNING, _H, Event.COMPLETE, _T(_S.COMPLETED, charge=Charge.ATTEMPT, token=_RETIRED, error=ErrorFate.CLEARED)),
    (_S.RUNNING, _H, Event.RETRY,
     _T(_S.DELAYED, charge=Charge.ATTEMPT, token=_RETIRED, due=Due.LATER, error=ErrorFate.SET)),
    (_S.RUNNING, _H, Event.FAIL, _T(_S.FAILED, charge=Charge.ATTEMPT, token=_RETIRED, error=ErrorFate.SET)),
    (_S.RUNNING, _H, Event.FAIL_TO_HOOK,
     _T(_S.READY, Step.FAILED_HOOK, Charge.ATTEMPT, _RETIRED, Due.NOW, ErrorFate.SET)),
    # running its failed(): whatever comes of it, the job has failed, with the error that it failed with
    (_S.RUNNING, _F, Event.QUARANTINE, _T(_S.FAILED, charge=Charge.LOSS, token=_RETIRED)),
    (_S.RUNNING, _F, Event.COMPLETE, _T(_S.FAILED, token=_RETIRED)),
    (_S.RUNNING, _F, Event.RETRY, _T(_S.FAILED, token=_RETIRED)),
    (_S.RUNNING, _F, Event.FAIL, _T(_S.FAILED, token=_RETIRED)),
    (_S.RUNNING, _F, Event.CANCEL, _T(_S.FAILED, token=_RETIRED)),
    # on the failed list
    (_S.FAILED, _BOTH, Event.OPERATOR_RETRY,
     _T(_S.READY, Step.HANDLE, Charge.RESET, due=Due.NOW, error=ErrorFate.CLEARED)),
    (_S.FAILED, _BOTH, Event.FORGET, _T(_S.FORGOTTEN)),
)


def rows() -> Iterator[Row]:
    """The table, a line for each state, step and event."""
    for state, steps, event, then in _TABLE:
        for step in steps:
            yield Row(state, step, event, then)


_INDEX: Final = {(row.state, row.step, row.event): row.then for row in rows()}


def transition(state: JobState | None, step: Step, event: Event) -> Transition | None:
    """What the event makes of a job in this state and step; None: it can't happen to it."""
    return _INDEX.get((state, step, event))


_EVENT_OF: Final = {
    OutcomeKind.COMPLETED: Event.COMPLETE,
    OutcomeKind.RETRY: Event.RETRY,
    OutcomeKind.FAILED: Event.FAIL,
    OutcomeKind.SNOOZED: Event.SNOOZE,
    OutcomeKind.HANDED_BACK: Event.HAND_BACK,
    OutcomeKind.LOST: Event.LOSE,
    OutcomeKind.CANCELLED: Event.CANCEL,
}
_RUNS_AGAIN: Final = frozenset({Event.RETRY, Event.SNOOZE, Event.HAND_BACK, Event.LOSE, Event.DOUBT})
_HOOKED: Final = {Event.FAIL: Event.FAIL_TO_HOOK, Event.LOSE_ONCE: Event.LOSE_ONCE_TO_HOOK}
_ONCE: Final = {Event.RETRY: Event.FAIL, Event.SNOOZE: Event.FAIL, Event.LOSE: Event.LOSE_ONCE}


def event_of(
    kind: OutcomeKind, step: Step, losses: int, *, has_hook: bool, cancel_asked: bool = False, once: bool = False
) -> Event:
    """The event that an outcome is for a job.

    Args:
        kind: what the node reports.
        step: the step that ran.
        losses: the job's losses so far.
        has_hook: the job has a failed().
        cancel_asked: an operator asked for this run to be stopped: where the job would run again, it is cancelled.
        once: its handle() never starts twice: where it would run again although it has started, it fails for good.
    """
    event = _EVENT_OF[kind]
    if event is Event.LOSE and losses + 1 >= LOSSES_MAX:
        return Event.QUARANTINE
    if cancel_asked and event in _RUNS_AGAIN:
        return Event.CANCEL
    if step is Step.HANDLE:
        if once:
            event = _ONCE.get(event, event)
        if has_hook:
            event = _HOOKED.get(event, event)
    return event


class Holding(NamedTuple):
    """What decides about a job whose session ends.

    Attributes:
        started: the store has its start mark.
        careful: the mark is asked for before it starts (see `TakenJob.careful`).
    """

    state: JobState
    step: Step
    losses: int
    started: bool
    careful: bool
    once: bool
    has_hook: bool
    cancel_asked: bool


def release_event(job: Holding) -> Event:
    """The event that the end of its session is for a job that the session holds.

    A run without its mark had most likely not begun: it is given back uncharged. It may have begun just then, though,
    and have killed its node: so it counts as a doubt, and is marked before it starts from now on. No mark is
    proof then.
    """
    if job.state is JobState.ASSIGNED:
        return Event.HAND_BACK
    if not job.started:
        if job.cancel_asked:
            return Event.CANCEL
        return Event.HAND_BACK if job.careful else Event.DOUBT
    return event_of(OutcomeKind.LOST, job.step, job.losses, has_hook=job.has_hook, cancel_asked=job.cancel_asked,
                    once=job.once)


def landing(to: JobState, delay_s: float) -> JobState:
    """DELAYED, or READY where there is nothing to wait for; every other state as it is."""
    return JobState.READY if to is JobState.DELAYED and delay_s <= 0 else to


def charged(charge: Charge, attempts: int, losses: int) -> tuple[int, int]:
    """Attempts and losses after a charge."""
    if charge is Charge.ATTEMPT:
        return attempts + 1, losses
    if charge is Charge.LOSS:
        return attempts, losses + 1
    return (0, 0) if charge is Charge.RESET else (attempts, losses)


def doubts_after(charge: Charge, doubts: int) -> int:
    """Doubts after a charge."""
    if charge is Charge.DOUBT:
        return doubts + 1
    return 0 if charge is Charge.RESET else doubts


def attempt_number(attempts: int, step: Step) -> int:
    """Which attempt a run is: 1 at the first try; for a failed() the attempt that failed."""
    return attempts + 1 if step is Step.HANDLE else attempts


def isolated(losses: int) -> bool:
    """Whether a job runs alone on a node or not at all."""
    return losses >= ISOLATE_AT_LOSSES

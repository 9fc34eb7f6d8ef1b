"""What becomes of a job whose run ended: the executor's view of the end turned into the store's outcome.

An attempt is charged for what the job itself did (an exception, a timeout, the death of a child that ran nothing else),
a loss for what ended it from outside. A run that was killed at the deadline of a graceful stop is charged a loss: its
node ended under it. So a job that needs longer than every stop's grace period ends on the failed list after its third,
rather than starting again for ever; its node names it (`Interrupted`) in the error.

An at_most_once job whose handle() has begun is never asked for again: what would be a retry or a snooze fails for good,
and the error says so; what becomes of a loss the store decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from callboard.core.errorrecord import decode_error, encode_error
from callboard.core.errors import CodecError
from callboard.core.options import DELAY_MAX_S
from callboard.core.records import Backoff, ErrorRecord, Held, Outcome, OutcomeKind, Step, TakenJob
from callboard.core.retry import backoff
from callboard.core.runs import EndKind, RunEnd

UNKNOWN_JOB_DELAY_S: Final = 5.0
"""A job that this node's app does not define waits this long for a node that knows it; costs nothing.

An at_most_once job waits on this node, and is handed back then.
"""

_BACKOFF: Final = Backoff(60.0)


@dataclass(frozen=True, slots=True)
class QueueDefaults:
    """What holds where neither the push nor the job's class says anything."""

    max_attempts: int = 3
    timeout_s: float = 300.0
    backoff: Backoff = _BACKOFF


_UNCHARGED: Final = {
    EndKind.COMPLETED: OutcomeKind.COMPLETED,
    EndKind.NOT_STARTED: OutcomeKind.HANDED_BACK,
    EndKind.CANCELLED: OutcomeKind.CANCELLED,
    EndKind.UNKNOWN_JOB: OutcomeKind.SNOOZED,
}
_OWN_DOING: Final = frozenset({EndKind.RAISED, EndKind.TIMED_OUT, EndKind.CHILD_DIED})
_UNEXPLAINED: Final = {
    EndKind.RAISED: ErrorRecord("Exception", "the job raised, and nothing more is known"),
    EndKind.TIMED_OUT: ErrorRecord("Timeout", "the job ran longer than its timeout"),
    EndKind.CHILD_DIED: ErrorRecord("ChildDied", "the job's process ended under it"),
    EndKind.NEIGHBOUR_DIED: ErrorRecord("ChildDied", "the process ended while several jobs ran in it"),
    EndKind.INTERRUPTED: ErrorRecord("Interrupted", "the node stopped before the job was done"),
}


def outcome_of(end: RunEnd, held: Held, job: TakenJob, defaults: QueueDefaults, draw: float) -> Outcome:
    """The outcome to report for one run's end.

    Args:
        end: from the executor.
        held: the row's name, for the store.
        job: as it was taken.
        defaults: of the job's queue on this node; the job's own numbers go first.
        draw: a random number in [0, 1) for the backoff's jitter.
    """
    uncharged = _UNCHARGED.get(end.kind)
    if uncharged is not None:
        if end.kind is EndKind.UNKNOWN_JOB:
            # a snooze of an at_most_once job is a failure for the store, but this one has not started
            kind = OutcomeKind.HANDED_BACK if job.at_most_once else uncharged
            return Outcome(held, kind, UNKNOWN_JOB_DELAY_S)
        return Outcome(held, uncharged, result=end.result)
    if end.kind in _OWN_DOING:
        hook = job.step is Step.FAILED_HOOK
        return _failed_hook(end, held, job) if hook else _attempt(end, held, job, defaults, draw)
    return Outcome(held, OutcomeKind.LOST, error=encode_error(_error(end)))  # NEIGHBOUR_DIED, INTERRUPTED


def _attempt(end: RunEnd, held: Held, job: TakenJob, defaults: QueueDefaults, draw: float) -> Outcome:
    if job.at_most_once:
        return Outcome(held, OutcomeKind.FAILED, error=encode_error(_once(end)))
    if end.snooze_s is not None:
        return Outcome(held, OutcomeKind.SNOOZED, _bounded_s(end.snooze_s))
    error = encode_error(_error(end))
    attempts = defaults.max_attempts if job.max_attempts is None else job.max_attempts
    if end.permanent or job.attempt >= attempts:
        return Outcome(held, OutcomeKind.FAILED, error=error)
    if end.retry_after_s is not None:
        delay_s = _bounded_s(end.retry_after_s)
    else:
        delay_s = backoff(defaults.backoff if job.backoff is None else job.backoff, job.attempt, draw)
    return Outcome(held, OutcomeKind.RETRY, delay_s, error)


def _failed_hook(end: RunEnd, held: Held, job: TakenJob) -> Outcome:
    """failed() itself failed: it had its run, and what the job failed of stays the reason on the failed list."""
    hook = _error(end)
    try:
        reason = decode_error(job.error) if job.error is not None else ErrorRecord(hook.kind, "the job failed")
    except CodecError:  # whatever a hostile row held, the job still ends on the failed list
        reason = ErrorRecord(hook.kind, "the job failed; its error can't be read")
    note = f"its failed() ended with {hook.kind}: {hook.message}"[:500]
    message = f"{reason.message[:1_400]}; {note}"
    return Outcome(held, OutcomeKind.FAILED, error=encode_error(reason._replace(message=message)))


def _once(end: RunEnd) -> ErrorRecord:
    """The error of a run that would come again, of a job that never starts twice."""
    error = _error(end)
    if end.snooze_s is not None:
        wish = f"it asked to be run again in {_bounded_s(end.snooze_s):g} s"
    elif end.retry_after_s is not None:
        wish = f"it asked to be tried again in {_bounded_s(end.retry_after_s):g} s"
    else:
        return error
    return error._replace(message=f"{error.message[:1_800]}; {wish}, but it is at_most_once: it never starts twice")


def _error(end: RunEnd) -> ErrorRecord:
    return _UNEXPLAINED[end.kind] if end.error is None else end.error


def _bounded_s(wish_s: float) -> float:
    """A job's own wish comes from user code: 0 to ten years, and 0 for what is no number."""
    return 0.0 if math.isnan(wish_s) else min(max(wish_s, 0.0), DELAY_MAX_S)

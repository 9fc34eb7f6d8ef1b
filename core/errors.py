"""The tree of errors: one class a remedy, one sentence "Raised when ..." a class.

`exit_code` is what the command line ends with: 1 it failed, 2 it was called wrongly, 3 a server can't be reached.
"""

from __future__ import annotations

from typing import ClassVar


class QueueError(Exception):
    """Root of every error that callboard raises on purpose.

    Args:
        message: what happened and what to do about it, in one sentence.
        job: the job (instance, name or id) that it is about, if any.
        cause: the error below it, if any; also set as `__cause__`.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", job: object = None, cause: BaseException | None = None) -> None:
        """Keep the three parts as attributes."""
        super().__init__(message)
        self.message = message
        self.job = job
        self.cause = cause
        if cause is not None:
            self.__cause__ = cause


# The caller erred -----------------------------------------------------------------------------------------------------


class UsageError(QueueError, ValueError):
    """Raised when callboard was called wrongly; the message names the thing and the remedy."""

    exit_code = 2


class UnknownJob(UsageError):
    """Raised when a job's name is not registered where it must be known."""


class UnknownOption(UsageError):
    """Raised when an option, driver or setting has no such name; says "did you mean" where one is near."""


class InvalidJob(UsageError):
    """Raised when a job's class or function can't be registered: a reserved field, a name taken twice, no handle()."""


class AppImportFailed(UsageError):
    """Raised when the module or script that defines the jobs can't be imported; carries the last lines of why."""


class InvalidArgument(UsageError):
    """Raised when a value is out of its range or of the wrong type."""


class Unserialisable(InvalidArgument):
    """Raised when an argument of a job is not plain data (None, bool, int, float, str, bytes, list, dict, datetime)."""


class PayloadTooLarge(InvalidArgument):
    """Raised when a job's encoded arguments exceed the limit (1 MiB by default), or what it returned exceeds 64 KiB."""


class InvalidSchedule(UsageError):
    """Raised when a cron line can't be parsed or never fires, or a time zone is unknown."""


class NotFound(QueueError):
    """Raised when no job (or schedule, or node) of that id or name is known."""


class ResultLost(QueueError):
    """Raised when a job completed and what it returned could not be kept: no plain data, or too large; says why."""


class Conflict(QueueError):
    """Raised when an operator's command lost a race or breaks a rule, for example a unique key that is held again."""


# Limits and servers ---------------------------------------------------------------------------------------------------


class QueueFull(QueueError):
    """Raised when a bound is reached: the memory store's jobs, a queue's depth, a mailbox. Nothing was written."""


class Unavailable(QueueError):
    """Raised when a server or file can't be reached in time; nothing is known to be wrong with the request."""

    exit_code = 3


class StoreUnavailable(Unavailable):
    """Raised when the job store can't be reached, is locked, full or read-only; the message says which."""


class ClusterUnavailable(Unavailable):
    """Raised when the cluster backend can't be reached in time."""


class PushOutcomeUnknown(StoreUnavailable):
    """Raised when a push was sent and no reply came: push again with `id=error.job_id`, it makes no duplicate."""

    def __init__(self, message: str, job_ids: tuple[str, ...], cause: BaseException | None = None) -> None:
        """Name the ids whose outcome is unknown; `job_id` is the first."""
        super().__init__(message, job=job_ids[0], cause=cause)
        self.job_ids = job_ids
        self.job_id = job_ids[0]


class StoreError(QueueError):
    """Raised when the store answers, but not as a store of ours: corrupt, foreign, or of another schema."""


class SchemaTooNew(StoreError):
    """Raised when the database was migrated by a newer callboard; upgrade this one."""


class StoreReset(StoreError):
    """Raised when the store is not the one that this node opened: it was emptied or replaced."""


class CodecError(QueueError):
    """Raised when bytes from a socket, store or file are not a message of ours, or exceed a limit."""


# Fencing --------------------------------------------------------------------------------------------------------------


class Fenced(QueueError):
    """Root of the refusals that keep a paused, cut-off or deposed node from doing harm."""


class StaleEpoch(Fenced):
    """Raised when an act of a leader carries an epoch or owner that is no longer the store's."""


class TermRefused(Fenced):
    """Raised when begin_term names an older term, or a cluster that the store does not belong to."""


class StaleToken(Fenced):
    """Raised when a completion carries a token that the job no longer has; the store is unchanged."""


class SessionEnded(Fenced):
    """Raised when the node's session was ended by the leader, or never was."""


class JobFailed(QueueError):
    """Raised when a job's result is asked for, and the job failed for good or was cancelled.

    Attributes:
        kind: the class name of what ended it, or `Timeout`, `ChildDied`, `NodeLost`, `Expired`; empty if not known.
        traceback: of its last attempt, as text; empty where there is none.
    """

    def __init__(self, message: str = "", job: object = None, *, kind: str = "", traceback: str = "") -> None:
        """Keep what is known of the failure, as text."""
        super().__init__(message, job)
        self.kind = kind
        self.traceback = traceback


class ResultTimeout(QueueError, TimeoutError):
    """Raised when a job has not ended within the time that its result was waited for; the job goes on."""


# What a handler may raise ---------------------------------------------------------------------------------------------


class PermanentError(QueueError):
    """Raised by a handler when no further attempt can help: the job fails for good at once."""


class RetryLater(QueueError):
    """Raised by a handler to be tried again after `after` seconds; costs an attempt.

    Args:
        after: seconds until the next attempt (int, float or timedelta); None takes the job's own backoff.
        message: why, for the job's record.
    """

    def __init__(self, after: object = None, message: str = "retry later") -> None:
        """Keep the delay for the executor."""
        super().__init__(message)
        self.after = after


class Snooze(QueueError):
    """Raised by a handler to be run again after `after` seconds; costs no attempt.

    Args:
        after: seconds until then (int, float or timedelta).
        message: why, for the job's record.
    """

    def __init__(self, after: object, message: str = "snoozed") -> None:
        """Keep the delay for the executor."""
        super().__init__(message)
        self.after = after


class TimeLimitExceeded(QueueError):
    """Raised in a running job when its timeout has passed; its process is killed a grace period later if it goes on."""

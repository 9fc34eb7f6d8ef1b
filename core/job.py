"""What a user writes: a Job class or a function; its arguments, and the context of a run."""

from __future__ import annotations

import contextvars
import dataclasses
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, dataclass_transform

from callboard.core.errors import InvalidArgument, InvalidJob, QueueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from callboard.core.options import Unique
    from callboard.core.records import Backoff, Token

RESERVED: Final = frozenset({
    "queue", "delay", "max_attempts", "timeout", "retry_after", "permanent", "priority", "unique", "at_most_once",
    "expires", "result_ttl", "tags", "attempts", "payload", "context", "handle", "failed", "job_name",
})
"""Names that a Job class uses itself; a field of one of these names is an error at the class."""
PROGRESS_MESSAGE_MAX: Final = 500
"""Limit of a progress message, in characters."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a run knows of itself.

    Attributes:
        job_id: the idempotency key: the same at every attempt.
        token: the fencing token, (epoch, seq): larger at every later assignment. Give it to systems that you write to,
            and let them refuse a smaller one.
        attempt: 1 at the first try.
        losses: how often a node died under this job.
        timeout_s: the attempt's time limit in seconds.
        deadline_boot_s: the same as an instant of CLOCK_BOOTTIME.
        headers: what the push gave along.
        tags: likewise, or what the job's class says.
    """

    job_id: str
    token: Token
    name: str
    queue: str
    attempt: int
    losses: int
    timeout_s: float
    deadline_boot_s: float
    headers: Mapping[str, str]
    report: Callable[[dict[str, Any]], None]
    tags: tuple[str, ...] = ()

    def progress(self, fraction: float | None = None, message: str = "") -> None:
        """Report how far the job is, as often as you like: `status` and `callboard job` show the newest.

        Args:
            fraction: 0.0 to 1.0 where it is known; what is beyond is taken as the nearer end.
            message: in words; cut at 500 characters.

        Raises:
            InvalidArgument: Raised when the fraction is no number.
        """
        self.report({"fraction": _fraction(fraction), "message": str(message)[:PROGRESS_MESSAGE_MAX]})


def _fraction(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124 - NaN
        raise InvalidArgument(f"progress takes a fraction from 0.0 to 1.0, not {value!r}")
    return float(min(max(value, 0.0), 1.0))


_current: contextvars.ContextVar[JobContext | None] = contextvars.ContextVar("callboard_job", default=None)


def current_job() -> JobContext:
    """The context of the job that runs here.

    Raises:
        QueueError: Raised when no job runs here.
    """
    context = _current.get()
    if context is None:
        raise QueueError("no job runs here: current_job() works inside a job's function or handle()")
    return context


def enter_job(context: JobContext) -> contextvars.Token[JobContext | None]:
    """Make this the current job of the calling thread or task; for executors."""
    return _current.set(context)


def leave_job(mark: contextvars.Token[JobContext | None]) -> None:
    """Undo enter_job; for executors."""
    _current.reset(mark)


@dataclass_transform(kw_only_default=False)
class Job:
    """Base class of jobs. Annotated fields are the arguments, as in a dataclass.

    Override `handle` (plain or async) and, if you like, `failed`. Class attributes are the policy:

    Attributes:
        queue: where it waits; "default" unless set.
        delay: seconds (or timedelta) before it may start.
        max_attempts: tries in all.
        timeout: seconds (or timedelta) for each try.
        retry_after: seconds, timedelta or Backoff before the next try, or a method `(self, attempt) -> seconds`.
        permanent: exception classes that no further try can help.
        priority: -100 to 100; higher first within its queue.
        unique: a key, or a Unique: at most one job holds it; mostly given with the push.
        at_most_once: handle() never starts twice: what would run again fails for good.
        expires: seconds (or timedelta) from the push on; a try that has not begun by then never does.
        result_ttl: seconds (or timedelta) for which what handle() returned is kept; an hour unless set, 0 keeps none.
        tags: up to 20 words to find it by.
        job_name: the registered name; the class's name unless set.
    """

    queue: ClassVar[str | None] = None
    delay: ClassVar[float | timedelta | None] = None
    max_attempts: ClassVar[int | None] = None
    timeout: ClassVar[float | timedelta | None] = None
    retry_after: ClassVar[Any] = None
    permanent: ClassVar[tuple[type[BaseException], ...]] = ()
    priority: ClassVar[int | None] = None
    unique: ClassVar[str | Unique | None] = None
    at_most_once: ClassVar[bool | None] = None
    expires: ClassVar[float | timedelta | None] = None
    result_ttl: ClassVar[float | timedelta | None] = None
    tags: ClassVar[Sequence[str]] = ()
    job_name: ClassVar[str | None] = None

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        """Make a dataclass of the subclass and register it, unless `abstract=True`."""
        super().__init_subclass__(**kwargs)
        _refuse_reserved_fields(cls)
        dataclasses.dataclass(cls)
        if not abstract:
            from callboard.core.registry import registry  # noqa: PLC0415 - the registry imports this module

            registry.add_class(cls)

    def handle(self) -> Any:
        """Do the work; may be `async def`. What it returns is kept a while; what it raises decides what comes next."""
        raise InvalidJob(f"{type(self).__name__} has no handle(): define it")

    def failed(self, error: Exception) -> Any:
        """Called once the job failed for good, at least once; may be `async def`. Does nothing unless overridden."""

    @property
    def context(self) -> JobContext:
        """The run's context. Raises QueueError outside a run."""
        return current_job()

    @property
    def attempts(self) -> int:
        """The number of this attempt: 1 at the first try; 0 outside a run."""
        context = _current.get()
        return 0 if context is None else context.attempt

    @property
    def payload(self) -> dict[str, Any]:
        """The arguments as plain data."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]  # every subclass is made a dataclass


def _refuse_reserved_fields(cls: type) -> None:
    own = inspect.get_annotations(cls)
    for name, annotation in own.items():
        if name in RESERVED and "ClassVar" not in str(annotation):
            raise InvalidJob(f"{cls.__name__}.{name} would be a field, but {name!r} is a setting of every job: rename "
                             f"the field, or set it without an annotation ({name} = ...)")


class FailedJobError(QueueError):
    """Raised never: it is what `failed(error)` receives, made of strings, as the first exception's class may be gone.

    Attributes:
        kind: the exception's class name, or `Timeout`, `ChildDied`, `NodeLost`.
        traceback: the text of its traceback, empty where there is none.
    """

    def __init__(self, kind: str, message: str, traceback: str = "") -> None:
        """Keep the strings."""
        super().__init__(f"{kind}: {message}" if message else kind)
        self.kind = kind
        self.traceback = traceback


def backoff_setting(value: object) -> Backoff | None:
    """The stored part of `retry_after`: None where it is a method (it runs in the child) or not set."""
    if value is None or callable(value):
        return None
    from callboard.core.options import backoff_of  # noqa: PLC0415 - keeps `import callboard` light

    return backoff_of(value)

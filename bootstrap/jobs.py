"""Functions as jobs: the `@callboard.job` decorator."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from callboard.core.registry import JobDefinition, policy_options, registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from callboard.core.options import Unique

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class BoundJob:
    """A job and its arguments, ready to be pushed: what `queue.push` takes beside Job instances."""

    definition: JobDefinition
    arguments: dict[str, Any]


class FunctionJob(Generic[P, R]):
    """A function that is also a job. Called directly it is the plain function."""

    def __init__(self, function: Callable[P, R], definition: JobDefinition) -> None:
        """Wrap the function; its name, doc and signature stay."""
        functools.update_wrapper(self, function)
        self._function = function
        self.definition = definition

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now."""
        return self._function(*args, **kwargs)

    @property
    def job_name(self) -> str:
        """The registered name."""
        return self.definition.name

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> BoundJob:
        """The job with its arguments, for `queue.push` and `scheduler.add`. Raises InvalidArgument."""
        return BoundJob(self.definition, self.definition.arguments(args, kwargs))

    def push(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Push to the default queue (`callboard.configure` or the environment); the job's id."""
        from callboard.queue import default_queue  # noqa: PLC0415 - the queue loads stores

        return default_queue().push(self.bind(*args, **kwargs))

    def later(self, delay: float | timedelta, *args: P.args, **kwargs: P.kwargs) -> str:
        """Push to be run after `delay` (seconds or timedelta); the job's id."""
        from callboard.queue import default_queue  # noqa: PLC0415 - the queue loads stores

        return default_queue().later(delay, self.bind(*args, **kwargs))

    async def apush(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """As push, for asyncio."""
        from callboard.queue import default_queue  # noqa: PLC0415 - the queue loads stores

        return await default_queue().apush(self.bind(*args, **kwargs))

    async def alater(self, delay: float | timedelta, *args: P.args, **kwargs: P.kwargs) -> str:
        """As later, for asyncio."""
        from callboard.queue import default_queue  # noqa: PLC0415 - the queue loads stores

        return await default_queue().alater(delay, self.bind(*args, **kwargs))

    def __repr__(self) -> str:
        """The job's name."""
        return f"<job {self.definition.name}>"


@overload
def job(function: Callable[P, R], /) -> FunctionJob[P, R]: ...


@overload
def job(*, name: str | None = None, queue: str | None = None, delay: float | timedelta | None = None,
        max_attempts: int | None = None, timeout: float | timedelta | None = None, retry_after: Any = None,
        permanent: tuple[type[BaseException], ...] = (), priority: int | None = None,
        unique: str | Unique | None = None, at_most_once: bool | None = None,
        expires: float | timedelta | None = None, result_ttl: float | timedelta | None = None,
        tags: Sequence[str] = (),
        ) -> Callable[[Callable[P, R]], FunctionJob[P, R]]: ...


def job(function: Callable[P, R] | None = None, /, *, name: str | None = None, queue: str | None = None,  # noqa: PLR0913 - a job's settings are many and all named
        delay: float | timedelta | None = None, max_attempts: int | None = None,
        timeout: float | timedelta | None = None, retry_after: Any = None,
        permanent: tuple[type[BaseException], ...] = (), priority: int | None = None,
        unique: str | Unique | None = None, at_most_once: bool | None = None,
        expires: float | timedelta | None = None, result_ttl: float | timedelta | None = None,
        tags: Sequence[str] = (),
        ) -> Any:
    """Make a job of a function (plain or async): `@job` or `@job(queue="emails", max_attempts=3)`.

    Args:
        function: the function, where the decorator stands without parentheses.
        name: the registered name; the function's name unless given.
        queue: where it waits; the queue's own name unless given.
        delay: seconds (or timedelta) before it may start.
        max_attempts: tries in all; 3 unless the queue says otherwise.
        timeout: seconds (or timedelta) for each try; 300 unless the queue says otherwise.
        retry_after: seconds, timedelta, Backoff, or a function of the attempt's number that returns seconds.
        permanent: exception classes that no further try can help.
        priority: -100 to 100; higher first within its queue.
        unique: a key, or a Unique: at most one job holds it; mostly given with the push.
        at_most_once: the function never starts twice: what would run again fails for good.
        expires: seconds (or timedelta) from the push on; a try that has not begun by then never does.
        result_ttl: seconds (or timedelta) for which what it returned is kept; an hour unless given, 0 keeps none.
        tags: up to 20 words to find it by.

    Raises:
        InvalidJob: Raised when the name is taken.
        InvalidArgument: Raised when a setting is out of range.
    """
    given = {"queue": queue, "delay": delay, "max_attempts": max_attempts, "timeout": timeout, "unique": unique,
             "retry_after": retry_after, "priority": priority, "at_most_once": at_most_once, "expires": expires,
             "result_ttl": result_ttl, "tags": tags}

    def decorate(target: Callable[P, R]) -> FunctionJob[P, R]:
        options = policy_options(given)
        retry_method = retry_after if callable(retry_after) else None
        return FunctionJob(target, registry.add_function(target, name, options, permanent, retry_method))

    return decorate if function is None else decorate(function)

"""Options of a job: their names, ranges and units, checked where they are given."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

from callboard.core.errors import InvalidArgument, UnknownOption
from callboard.core.records import Backoff, UniqueUntil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")

NAME_MAX: Final = 200
"""Limit of the names of jobs, queues, nodes and schedules, and of a job's id, in characters."""
PRIORITY_MAX: Final = 100
"""Priorities go from -100 to 100; higher runs first."""
ATTEMPTS_MAX: Final = 1_000
FACTOR_MAX: Final = 100.0
HEADERS_MAX: Final = 32
TAGS_MAX: Final = 20
TAG_MAX: Final = 100
"""Limit of a tag, in characters."""
DELAY_MAX_S: Final = 10 * 366 * 86_400.0
"""Limit of a delay, a backoff and a timeout, in seconds: ten years."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@/+-]*\Z")


@dataclass(frozen=True, slots=True)
class Unique:
    """A unique key, and how long a job holds it: a push that meets a held key makes no job, and gets the holder's id.

    Args:
        key: 1 to 200 printable characters; one for all queues of the store.
        until: "done" (until the job has ended, however), or "started" (until a node has it: then the next may wait).
        period: instead of both, seconds or timedelta from the push on, whatever becomes of the job.

    Raises:
        InvalidArgument: Raised when a value is of the wrong type or out of range.
    """

    key: str
    until: Literal["done", "started"] = "done"
    period: float | timedelta | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        text(self.key, "the key of Unique")
        if self.until not in ("done", "started"):
            raise InvalidArgument(f"Unique(until=...) must be 'done' or 'started', not {str(self.until)[:60]!r}; for a "
                                  "time use period=")
        if self.period is not None:
            seconds(self.period, "Unique(period=...)", above_zero=True)
            if self.until != "done":
                raise InvalidArgument("Unique takes until= or period=, not both")

    @property
    def holds(self) -> UniqueUntil:
        """How long the key is held."""
        if self.period is not None:
            return UniqueUntil.PERIOD
        return UniqueUntil.STARTED if self.until == "started" else UniqueUntil.DONE

    @property
    def period_s(self) -> float | None:
        """Seconds from the push on; None: until what `holds` says."""
        return None if self.period is None else seconds(self.period, "period", above_zero=True)


@dataclass(frozen=True, slots=True)
class JobOptions:
    """Options of one job; None leaves the choice to the next in line (push, class, queue's WorkerConfig, default)."""

    queue: str | None = None
    delay_s: float | None = None
    max_attempts: int | None = None
    timeout_s: float | None = None
    backoff: Backoff | None = None
    priority: int | None = None
    unique: Unique | None = None
    headers: tuple[tuple[str, str], ...] = ()
    at_most_once: bool | None = None
    expires_s: float | None = None
    result_ttl_s: float | None = None
    tags: tuple[str, ...] = ()

    def over(self, below: JobOptions) -> JobOptions:
        """These options, and those of `below` where these say nothing.

        Raises:
            InvalidArgument: Raised when these and those contradict each other.
        """
        at_most_once = _first(self.at_most_once, below.at_most_once)
        max_attempts = _first(self.max_attempts, below.max_attempts)
        if at_most_once:
            once_or_more(self.max_attempts)
            max_attempts = 1
        delay_s, expires_s = _first(self.delay_s, below.delay_s), _first(self.expires_s, below.expires_s)
        if expires_s is not None and delay_s is not None and delay_s >= expires_s:
            raise InvalidArgument(f"the job would expire ({expires_s:g} s) before it may start (delay {delay_s:g} s)")
        return JobOptions(
            queue=_first(self.queue, below.queue),
            delay_s=delay_s,
            max_attempts=max_attempts,
            timeout_s=_first(self.timeout_s, below.timeout_s),
            backoff=_first(self.backoff, below.backoff),
            priority=_first(self.priority, below.priority),
            unique=_first(self.unique, below.unique),
            headers=self.headers or below.headers,
            at_most_once=at_most_once,
            expires_s=expires_s,
            result_ttl_s=_first(self.result_ttl_s, below.result_ttl_s),
            tags=self.tags or below.tags,
        )

    def with_delay(self, delay_s: float) -> JobOptions:
        """The same with another delay."""
        return replace(self, delay_s=delay_s)


PUSH_OPTIONS: Final = (
    "queue", "delay", "max_attempts", "timeout", "retry_after", "priority", "unique", "headers", "id", "at_most_once",
    "expires", "result_ttl", "tags",
)


def parse_options(given: Mapping[str, Any], *, allowed: Iterable[str] = PUSH_OPTIONS, what: str = "push") -> JobOptions:
    """Check options as users give them.

    Raises:
        UnknownOption: Raised when a name is not among `allowed`; says "did you mean" where one is near.
        InvalidArgument: Raised when a value is out of range or of the wrong type.
    """
    names = tuple(allowed)
    for name in given:
        if name not in names:
            raise UnknownOption(f"{what} has no option {name!r}{did_you_mean(name, names)}; it has {', '.join(names)}")
    max_attempts = _optional(given, "max_attempts", lambda v: whole(v, "max_attempts", 1, ATTEMPTS_MAX))
    at_most_once = _optional(given, "at_most_once", lambda v: flag(v, "at_most_once"))
    if at_most_once:
        once_or_more(max_attempts)
    return JobOptions(
        queue=_optional(given, "queue", lambda v: name_of(v, "queue")),
        delay_s=_optional(given, "delay", lambda v: seconds(v, "delay")),
        max_attempts=max_attempts,
        timeout_s=_optional(given, "timeout", lambda v: seconds(v, "timeout", above_zero=True)),
        backoff=_optional(given, "retry_after", backoff_of),
        priority=_optional(given, "priority", lambda v: whole(v, "priority", -PRIORITY_MAX, PRIORITY_MAX)),
        unique=_optional(given, "unique", unique_of),
        headers=headers_of(given.get("headers")),
        at_most_once=at_most_once,
        expires_s=_optional(given, "expires", lambda v: seconds(v, "expires", above_zero=True)),
        result_ttl_s=_optional(given, "result_ttl", lambda v: seconds(v, "result_ttl")),
        tags=tags_of(given.get("tags")),
    )


def once_or_more(max_attempts: int | None) -> None:
    """Refuse more attempts than one of an at_most_once job.

    Raises:
        InvalidArgument: Raised when more are asked for.
    """
    if max_attempts is not None and max_attempts > 1:
        raise InvalidArgument(f"max_attempts={max_attempts} contradicts at_most_once: such a job never starts twice; "
                              "leave one of them out")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` where a known name is near, else an empty string."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def seconds(value: object, what: str, *, above_zero: bool = False) -> float:
    """Seconds from an int, float or timedelta: 0 (or more than 0) to ten years.

    Raises:
        InvalidArgument: Raised when it is anything else.
    """
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    else:
        raise InvalidArgument(f"{what} must be seconds (a number) or a timedelta, not {value!r}")
    if not 0 <= number <= DELAY_MAX_S or (above_zero and number == 0):
        low = "more than 0" if above_zero else "0"
        raise InvalidArgument(f"{what} must be {low} to {DELAY_MAX_S:.0f} seconds, not {value!r}")
    return number


def whole(value: object, what: str, low: int, high: int) -> int:
    """A whole number within [low, high].

    Raises:
        InvalidArgument: Raised when it is anything else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidArgument(f"{what} must be a whole number from {low:,} to {high:,}, not {value!r}")
    return value


def flag(value: object, what: str) -> bool:
    """True or False.

    Raises:
        InvalidArgument: Raised when it is anything else.
    """
    if not isinstance(value, bool):
        raise InvalidArgument(f"{what} must be True or False, not {str(value)[:60]!r}")
    return value


def text(value: object, what: str, limit: int = NAME_MAX) -> str:
    """A string of 1 to `limit` characters without control characters.

    Raises:
        InvalidArgument: Raised when it is anything else.
    """
    if not isinstance(value, str) or not 1 <= len(value) <= limit or not value.isprintable():
        raise InvalidArgument(f"{what} must be 1 to {limit} printable characters, not {str(value)[:60]!r}")
    return value


def name_of(value: object, what: str) -> str:
    """A name of a job, queue, node or schedule: 1 to 200 letters, digits and `_.:@/+-`, the first a letter, digit or _.

    Raises:
        InvalidArgument: Raised when it is anything else.
    """
    if not isinstance(value, str) or len(value) > NAME_MAX or not _NAME.match(value):
        raise InvalidArgument(f"{what} must be 1 to {NAME_MAX} letters, digits and _.:@/+-, starting with a letter, "
                              f"digit or _, not {str(value)[:60]!r}")
    return value


def backoff_of(value: object) -> Backoff:
    """A Backoff from seconds, a timedelta or a Backoff.

    Raises:
        InvalidArgument: Raised when it is anything else, or out of range.
    """
    if not isinstance(value, Backoff):
        return Backoff(seconds(value, "retry_after"))
    seconds(value.base_s, "backoff base_s")
    seconds(value.cap_s, "backoff cap_s")
    if not 1.0 <= value.factor <= FACTOR_MAX:
        raise InvalidArgument(f"backoff factor must be 1 to 100, not {value.factor!r}")
    if not 0.0 <= value.jitter <= 1.0:
        raise InvalidArgument(f"backoff jitter must be 0 to 1, not {value.jitter!r}")
    return Backoff(*(float(number) for number in value))


def headers_of(value: object) -> tuple[tuple[str, str], ...]:
    """Headers, a dict of strings to strings, as sorted pairs; at most 32.

    Raises:
        InvalidArgument: Raised when it is anything else.
    """
    if value is None:
        return ()
    if not isinstance(value, dict) or len(cast("dict[object, object]", value)) > HEADERS_MAX:
        raise InvalidArgument("headers must be a dict of at most 32 strings to strings")
    pairs = cast("dict[object, object]", value)
    return tuple(sorted((text(k, "header name"), text(v, f"header {k!r}", 1_000)) for k, v in pairs.items()))


def unique_of(value: object) -> Unique:
    """A Unique from a key or a Unique.

    Raises:
        InvalidArgument: Raised when it is anything else.
    """
    return value if isinstance(value, Unique) else Unique(text(value, "unique"))


def tags_of(value: object) -> tuple[str, ...]:
    """Tags, a list of strings, each once, in the order given; at most 20 of 100 characters.

    Raises:
        InvalidArgument: Raised when it is anything else.
    """
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or len(cast("list[object]", value)) > TAGS_MAX:
        raise InvalidArgument(f"tags must be a list of at most {TAGS_MAX} strings, not {str(value)[:60]!r}")
    return tuple(dict.fromkeys(text(tag, "a tag", TAG_MAX) for tag in cast("list[object]", value)))


def _optional(given: Mapping[str, Any], name: str, check: Callable[[object], T]) -> T | None:
    value = given.get(name)
    return None if value is None else check(value)


def _first(value: T | None, below: T | None) -> T | None:
    return below if value is None else value

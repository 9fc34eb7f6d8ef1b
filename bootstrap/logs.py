"""Events: written with structlog as JSON lines or coloured text, kept in a ring, handed to who follows."""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TextIO

from callboard.core.errors import UsageError
from callboard.core.events import level_of
from callboard.core.options import did_you_mean
from callboard.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from callboard.core.messages import FollowEvents
    from callboard.core.ports import Clock

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
RING_MAX: Final = 10_000
"""Events that a node keeps for `callboard events`."""

Follower = "Callable[[dict[str, Any]], None]"


def level_number(name: str) -> int:
    """A level's number. Raises UsageError for an unknown name."""
    if name not in LEVELS:
        raise UsageError(f"no log level is named {name!r}{did_you_mean(name, LEVELS)}; use {', '.join(LEVELS)}")
    return LEVELS[name]


class EventLog:
    """One node's events. `emit` may be called from any thread."""

    def __init__(self, node: str, clock: Clock, *, level: str = "info", style: str = "auto",
                 stream: TextIO | None = None, epoch: Callable[[], int] = lambda: 0) -> None:
        """Write events of `level` and above to `stream` (stderr): `json`, `text`, `auto` (text on a terminal) or `off`.

        Raises:
            UsageError: Raised when level or style is unknown.
        """
        self._node = node
        self._clock = clock
        self._level = level_number(level)
        self._epoch = epoch
        self._ring: deque[dict[str, Any]] = deque(maxlen=RING_MAX)
        self._count = 0
        self._jobs_until_s = 0.0
        self._followers: dict[int, Callable[[dict[str, Any]], None]] = {}
        self._lock = threading.Lock()
        self._write = _writer(style, stream or sys.stderr)

    def emit(self, actor: str, event: str, **fields: Any) -> None:
        """Write one event of the catalogue (`core/events.py`)."""
        level = level_of(event)
        number = LEVELS[level]
        if number < self._level and not self._followers and not self._jobs_kept():
            return
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(self._clock.wall_s(), UTC).isoformat(timespec="milliseconds"),
            "level": level, "event": event, "actor": actor, "node": self._node,
        }
        if (epoch := self._epoch()) > 0:
            line["epoch"] = epoch
        line.update(fields)
        with self._lock:
            self._ring.append(line)
            self._count += 1
            followers = tuple(self._followers.values())
        for follower in followers:
            follower(line)
        if number >= self._level:
            self._write(line)

    def wants_jobs(self) -> bool:
        """Events at debug, which speak of single jobs, go somewhere."""
        return bool(self._followers) or self._level <= LEVELS["debug"] or self._jobs_kept()

    def keep_jobs(self, for_s: float) -> None:
        """Keep events at debug for so long from now: somebody reads them page by page."""
        self._jobs_until_s = self._clock.boot_s() + for_s

    def _jobs_kept(self) -> bool:
        return self._jobs_until_s > 0.0 and self._clock.boot_s() < self._jobs_until_s

    def since(self, number: int) -> tuple[int, list[dict[str, Any]]]:
        """The kept events behind this number, and the first one's number; the first event ever has number 0."""
        with self._lock:
            oldest = self._count - len(self._ring)
            first = max(oldest, min(number + 1, self._count))
            return first, list(islice(self._ring, first - oldest, None))

    def kept(self, wanted: FollowEvents) -> list[dict[str, Any]]:
        """The last events that pass the filter, oldest first."""
        with self._lock:
            lines = [line for line in self._ring if passes(line, wanted)]
        return lines[-wanted.last:] if wanted.last > 0 else []

    def follow(self, follower: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Call `follower` with each event from now on, from the thread that emits; call the result to end it."""
        key = id(follower)
        with self._lock:
            self._followers[key] = follower
        return lambda: self._unfollow(key)

    def _unfollow(self, key: int) -> None:
        with self._lock:
            self._followers.pop(key, None)


def passes(line: dict[str, Any], wanted: FollowEvents) -> bool:
    """Whether an event passes a filter: actor and event by beginning, job exactly, level and above."""
    return (
        LEVELS.get(str(line.get("level")), 0) >= LEVELS.get(wanted.level, 0)
        and str(line.get("actor", "")).startswith(wanted.actor)
        and str(line.get("event", "")).startswith(wanted.event)
        and (not wanted.job or line.get("job") == wanted.job)
    )


def to_json(line: dict[str, Any]) -> str:
    """An event as one line of JSON; what is no JSON is shown as text."""
    return json.dumps(line, default=str, ensure_ascii=False, separators=(",", ":"))


def _writer(style: str, stream: TextIO) -> Callable[[dict[str, Any]], None]:
    if style not in ("auto", "json", "text", "off"):
        raise UsageError(f"no log style is named {style!r}; use auto, json, text or off")
    if style == "off":
        return lambda _line: None
    import structlog  # noqa: PLC0415 - commands that only read events need none of it

    terminal = stream.isatty()
    if style == "json" or (style == "auto" and not terminal):
        steps: list[Any] = [structlog.processors.JSONRenderer(default=str, ensure_ascii=False)]
    else:
        steps = [_tame, structlog.dev.ConsoleRenderer(colors=terminal, timestamp_key="time", pad_event_to=28)]
    logger = structlog.wrap_logger(structlog.PrintLogger(stream), processors=[_event_third, *steps])

    lock = threading.Lock()

    def write(line: dict[str, Any]) -> None:
        fields = dict(line)
        event = fields.pop("event")
        with lock:  # one line at a time, whichever thread it comes from
            logger.info(event, **fields)

    return write


def _tame(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> dict[str, Any]:
    """What jobs print and errors say must not steer a terminal."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in fields.items()}


def _event_third(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> dict[str, Any]:
    """Behind time and level, where eyes look for it; structlog puts it last."""
    first = {name: fields[name] for name in ("time", "level", "event")}
    return {**first, **fields}

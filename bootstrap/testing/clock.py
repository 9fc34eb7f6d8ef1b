"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from callboard.core.errors import InvalidArgument
from callboard.core.options import seconds

if TYPE_CHECKING:
    from collections.abc import Callable

_START: Final = datetime(2024, 1, 1, tzinfo=UTC)
_BOOTED_S: Final = 100_000.0


class Watcher(Protocol):
    """Who has something to do while time passes: a testing queue, whose schedules fire."""

    def next_look_s(self) -> float | None:
        """Seconds since 1970 of the next instant at which something is to be done; None: never."""
        ...

    def look(self) -> None:
        """Do it."""
        ...


class FakeClock:
    """`callboard.core.ports.Clock` for tests: it stands still until `advance`.

    It is the clock of the queue: of delays, retries and schedules. `datetime.now()` in your code does not follow it.

    Args:
        start: where it begins, with a time zone; 2024-01-01 00:00 UTC unless given.
    """

    def __init__(self, start: datetime = _START) -> None:
        """Stand still.

        Raises:
            InvalidArgument: Raised when start has no time zone.
        """
        if start.tzinfo is None:
            raise InvalidArgument(f"FakeClock's start needs a time zone, as in {start!r}.replace(tzinfo=UTC)")
        self._started_s = start.timestamp()
        self._passed_s = 0.0
        self._watchers: list[Watcher] = []

    def boot_s(self) -> float:
        """Seconds since an imagined boot."""
        return _BOOTED_S + self._passed_s

    def wall_s(self) -> float:
        """Seconds since 1970."""
        return self._started_s + self._passed_s

    def now(self) -> datetime:
        """The same as a datetime in UTC."""
        return datetime.fromtimestamp(self.wall_s(), UTC)

    def advance(self, by: float | timedelta) -> None:
        """Let time pass: `by` seconds (or timedelta).

        Cron entries of the queues that have this clock are fired on the way, each at its own instant: their jobs are
        pushed, as the cluster's leader does it. Jobs are run by `drain`, not by this (but see `inline`).

        Raises:
            InvalidArgument: Raised when it is negative: this clock does not go back.
        """
        target_s = self._passed_s + seconds(by, "advance")
        while (next_s := self._next_look_s()) is not None and next_s - self._started_s <= target_s:
            self._passed_s = max(self._passed_s, next_s - self._started_s)
            self._look()
        self._passed_s = max(self._passed_s, target_s)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Let this one do its work as time passes, until the result is called."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def _next_look_s(self) -> float | None:
        looks = [look for watcher in self._watchers if (look := watcher.next_look_s()) is not None]
        return min(looks, default=None)

    def _look(self) -> None:
        for watcher in tuple(self._watchers):
            watcher.look()

    def __repr__(self) -> str:
        """What it shows."""
        return f"<FakeClock at {self.now().isoformat()}>"

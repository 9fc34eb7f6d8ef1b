"""Broadcasts: nodes that the server numbers, listed by who follows, removed by who sends."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.clock import SystemClock
from callboard.core.codec import BROADCAST_MAX_BYTES

from .layout import Paths, message_number
from .requests import add, children, delete, emptied, exists, get, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .session import Session

MESSAGES_MAX: Final = 1_000
"""ZooKeeper keeps them in memory: 64 MiB at most."""
MESSAGES_AGE_S: Final = 600.0
SWEEP_S: Final = 10.0
"""How often a sender looks for what is too old, or was left behind by others."""
_SWEEP: Final = 200  # nodes that one sweep looks at
_LOG: Final = logging.getLogger(__name__)
_clock = SystemClock()


class Messages:
    """What was broadcast."""

    def __init__(self, paths: Paths, session: Session) -> None:
        """Of one cluster."""
        self._paths = paths
        self._session = session
        self._swept_s = 0.0

    def send(self, body: bytes) -> None:
        """Add one; remove the one that is too far behind."""
        [sent] = self._session.ask(add(f"{self._paths.messages}/m-", body))
        if isinstance(sent, Exception):
            raise emptied()
        path, stat = sent
        number = message_number(path.rpartition("/")[2]) or 0
        if number > MESSAGES_MAX:
            self._remove(self._paths.message(number - MESSAGES_MAX))
        if _clock.boot_s() - self._swept_s > SWEEP_S:
            self._swept_s = _clock.boot_s()
            self._sweep(number, stat.ctime)

    def newest(self) -> int:
        """The number of the last one, 0 when there is none."""
        _, found = self._session.ask(sync(self._paths.messages), children(self._paths.messages))
        return max(_numbers(found), default=0)

    def after(self, number: int, limit: int, ring: Callable[[object], None]) -> Sequence[tuple[int, bytes | None]]:
        """Up to `limit` numbered above `number`; None for one that is too large. Rings when there are more."""
        [listed] = self._session.ask(children(self._paths.messages, ring))
        numbers = [one for one in _numbers(listed) if one > number][:limit]
        found = self._session.ask(*(get(self._paths.message(one)) for one in numbers))
        return [(one, _body(got[0])) for one, got in zip(numbers, found, strict=True) if not isinstance(got, Exception)]

    def _sweep(self, number: int, now_ms: int) -> None:
        """Remove what is over the bounds, told by the server's own times."""
        [listed] = self._session.ask(children(self._paths.messages))
        oldest = _numbers(listed)[:_SWEEP]
        stats = self._session.ask(*(exists(self._paths.message(one)) for one in oldest))
        for one, stat in zip(oldest, stats, strict=True):
            if stat is not None and (one <= number - MESSAGES_MAX or now_ms - stat.ctime > MESSAGES_AGE_S * 1000):
                self._remove(self._paths.message(one))

    def _remove(self, path: str) -> None:
        """Without waiting: what is left behind, the next sweep finds."""
        self._session.send(delete(path), lambda _: None)


def _numbers(listed: Any) -> list[int]:
    if isinstance(listed, Exception):
        raise emptied()
    return sorted(number for name in listed[0] if (number := message_number(name)) is not None)


def _body(data: bytes) -> bytes | None:
    if len(data) <= BROADCAST_MAX_BYTES:
        return data
    _LOG.warning("a broadcast in ZooKeeper is over %s bytes: left out", BROADCAST_MAX_BYTES)
    return None

"""Connections that are kept for the next transaction."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from callboard.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.backends.store.sql.mariadb.connection import Raw

CONNECTIONS_MAX: Final = 8
"""Of one store; a node's threads seldom need more than four at once."""


class Pool:
    """Up to `CONNECTIONS_MAX` connections; the one that was used last goes first, so that a burst's rest stays idle."""

    def __init__(self, name: str, connect: Callable[[], Raw], wait_s: float) -> None:
        """Open nothing yet.

        Args:
            name: for messages.
            connect: opens one.
            wait_s: how long a borrower waits for one at most.
        """
        self._name = name
        self._connect = connect
        self._wait_s = wait_s
        self._free = threading.Condition()
        self._idle: list[Raw] = []
        self._lent = 0
        self._closed = False
        _everyone.add(self)

    def borrow(self, *, fresh: bool = False) -> tuple[Raw, bool]:
        """A connection, and whether it was opened just now.

        Args:
            fresh: the idle ones are closed first: the server has lost them, most likely.
        """
        with self._free:
            if self._closed:
                raise StoreUnavailable(f"job store {self._name}: it was closed")
            if not self._free.wait_for(lambda: self._lent < CONNECTIONS_MAX or self._closed, self._wait_s):
                raise StoreUnavailable(f"job store {self._name}: {CONNECTIONS_MAX} transactions have taken "
                                       f"{self._wait_s:g} s")
            if self._closed:
                raise StoreUnavailable(f"job store {self._name}: it was closed")
            if fresh:
                self._close_idle()
            self._lent += 1
            if self._idle:
                return self._idle.pop(), False
        try:
            return self._connect(), True
        except BaseException:
            with self._free:
                self._lent -= 1
                self._free.notify()
            raise

    def give_back(self, raw: Raw, *, sound: bool) -> None:
        """Keep it, or close one that is not sound."""
        with self._free:
            self._lent -= 1
            keep = sound and not self._closed and raw.open
            if keep:
                self._idle.append(raw)
            self._free.notify()
        if not keep and raw.open:
            raw.close()

    def close(self) -> None:
        """Close them; those that are lent follow when they come back."""
        with self._free:
            self._closed = True
            self._close_idle()
            self._free.notify_all()

    def _close_idle(self) -> None:
        while self._idle:
            raw = self._idle.pop()
            if raw.open:
                raw.close()

    def after_fork(self) -> None:
        """In a forked child: the connections are the parent's; let go of them without a word to the server."""
        self._free = threading.Condition()
        self._idle.clear()
        self._lent = 0


_everyone: Final[WeakSet[Pool]] = WeakSet()


def _after_fork() -> None:
    for pool in list(_everyone):
        pool.after_fork()


os.register_at_fork(after_in_child=_after_fork)

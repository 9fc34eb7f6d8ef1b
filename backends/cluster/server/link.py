"""A connection that acts take turns on, opened when it is needed and again after a failure."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from callboard.core.errors import ClusterUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CLASHES_MAX: Final = 3
SETUP_S: Final = 1.0
"""What a new connection is given to be set up in, at least."""


class Connection(Protocol):
    """One open connection, in which each statement is a transaction of its own."""

    def ask(self, statement: str, values: Mapping[str, object], end_s: float) -> Sequence[Sequence[Any]]:
        """Run a statement; its rows.

        Args:
            statement: its name.
            values: by name.
            end_s: of the monotonic clock, when to give up.

        Raises:
            Clashed: Raised when others were in the way, and trying again helps.
            ClusterUnavailable: Raised when it can't be done, or nobody knows whether it was.
        """
        ...

    def is_sound(self) -> bool:
        """Whether the server has not hung up, as far as this side knows: asks nobody."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class Clashed(Exception):
    """Raised when a statement did nothing, for others were in the way."""


class Link:
    """One connection's turns. Safe in all threads, and after a fork."""

    def __init__(self, name: str, connect: Callable[[float], Connection], timeout_s: float) -> None:
        """Connect to nothing yet.

        Args:
            name: for messages.
            connect: opens a connection within so many seconds; raises ClusterUnavailable.
            timeout_s: how long an act may take, with its wait for a turn; connecting comes on top.
        """
        self._name = name
        self._connect = connect
        self._timeout_s = timeout_s
        self._turn = threading.Lock()
        self._connection: Connection | None = None
        self._pid = os.getpid()
        self._closed = False

    def ask(self, statement: str, **values: object) -> Sequence[Sequence[Any]]:
        """Run a statement; its rows.

        Raises:
            ClusterUnavailable: Raised when it is not known to be done in time.
        """
        end_s = time.monotonic() + self._timeout_s
        if os.getpid() != self._pid:  # the parent's connection is left as it is
            self._pid, self._turn, self._connection = os.getpid(), threading.Lock(), None
        if not self._turn.acquire(timeout=self._timeout_s):
            raise ClusterUnavailable(f"{self._name}: the calls before this one have taken {self._timeout_s:g} s")
        try:
            return self._ask(statement, values, end_s)
        except BaseException:
            self._hang_up()
            raise
        finally:
            self._turn.release()

    def _ask(self, statement: str, values: Mapping[str, object], end_s: float) -> Sequence[Sequence[Any]]:
        if self._connection is not None and not self._connection.is_sound():
            self._hang_up()
        for _ in range(CLASHES_MAX):
            if self._closed:
                raise ClusterUnavailable(f"{self._name}: this cluster backend was closed; open another")
            if self._connection is None:
                self._connection = self._connect(max(0.0, end_s - time.monotonic()))
                end_s = time.monotonic() + self._timeout_s  # else, on a slow network, all would go on connecting
            try:
                return self._connection.ask(statement, values, end_s)
            except Clashed:
                continue
        raise ClusterUnavailable(f"{self._name}: others were in the way {CLASHES_MAX} times")

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # it failed before; nothing is left to be saved
                connection.close()

    def close(self) -> None:
        """Hang up for good, after the act under way; harmless when repeated."""
        self._closed = True
        if self._turn.acquire(timeout=self._timeout_s):
            try:
                self._hang_up()
            finally:
                self._turn.release()

"""Turns and forks: what all of a process's connections to one SQLite file share.

SQLite keeps a process-wide record of the files that it has open, and its locks do not survive fork(): a child that
inherited an open file believes in locks that it does not have. So every connection of ours is closed before a fork, and
opened again when it is next needed, by the parent and the child alike.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet, WeakValueDictionary

from callboard.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Forkable(Protocol):
        """What is closed before a fork."""

        turn: Turn

        def close_for_fork(self, timeout_s: float) -> bool:
            """Close every connection, the turn being ours, and let none be opened; False when one is still in use."""
            ...

        def after_fork(self) -> None:
            """Let connections be opened again."""
            ...

        def abandon(self) -> Sequence[object]:
            """In a child: forget connections that could not be closed; returns them."""
            ...


FORK_WAIT_S: Final = 5.0


class Turn:
    """Whose turn it is to write to one file, among this process's threads: they queue here, not on SQLITE_BUSY."""

    def __init__(self, path: str) -> None:
        """The turn is free."""
        self.path = path
        self.lock = threading.Lock()
        self.unsafe = False  # in a forked child: the parent could not close a connection to the file

    def refuse_unsafe(self) -> None:
        """Raise StoreUnavailable where using the file could damage it."""
        if self.unsafe:
            raise StoreUnavailable(f"job store {self.path}: this process was forked while its parent was at work in "
                                   "the store; start it by exec, or fork before the store is used")


opening: Final = threading.Lock()
"""Held while a file is created or migrated, by connections that nobody else knows of."""
_guard: Final = threading.Lock()
_turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()
_open: WeakSet[Forkable] = WeakSet()
_unsafe: Final[list[Turn]] = []  # remembered for as long as this process lives


def turn_of(path: str) -> Turn:
    """The one turn of a file, named by its real path."""
    with _guard:
        turn = _turns.get(path)
        if turn is None:
            turn = _turns[path] = Turn(path)
        return turn


def watch_forks(database: Forkable) -> None:
    """Close it before each fork from now on."""
    with _guard:
        _open.add(database)


class _Fork:
    """One fork under way; forks of two threads follow each other."""

    def __init__(self) -> None:
        self.locks: list[Any] = []
        self.databases: list[Forkable] = []
        self.closed: list[Forkable] = []
        self.busy: list[Turn] = []
        self.immortalise: Any = None

    def prepare(self) -> None:
        """Close what can be closed; a thread that is at work for long is left alone."""
        _guard.acquire()
        self.locks = [_guard]
        if opening.acquire(timeout=FORK_WAIT_S):
            self.locks.append(opening)
        self.databases = list(_open)
        self.closed, self.busy = [], []
        for turn in {database.turn for database in self.databases}:
            if turn.lock.acquire(timeout=FORK_WAIT_S):
                self.locks.append(turn.lock)
            else:
                self.busy.append(turn)
        for database in self.databases:
            if database.turn not in self.busy and database.close_for_fork(FORK_WAIT_S):
                self.closed.append(database)
            else:
                self.busy.append(database.turn)
        if self.busy:
            import ctypes  # noqa: PLC0415 - almost never needed, and not to be imported in the child

            self.immortalise = lambda thing: ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))

    def end(self) -> None:
        """In the parent."""
        for database in self.closed:
            database.after_fork()
        for lock in reversed(self.locks):
            lock.release()

    def end_in_child(self) -> None:
        """Refuse the files that the parent has open.

        Their connections must never be closed here, not even at exit: that would undo the parent's transaction.
        """
        for database in self.databases:
            if database.turn in self.busy:
                for connection in database.abandon():
                    self.immortalise(connection)
        self.end()
        for turn in self.busy:
            turn.unsafe = True
            turn.lock = threading.Lock()
            _unsafe.append(turn)


_fork: Final = _Fork()
os.register_at_fork(before=_fork.prepare, after_in_parent=_fork.end, after_in_child=_fork.end_in_child)

"""Turns and forks: what all of a process's connections to one SQLite file share.

SQLite keeps a process-wide record of the files that it has open, and its locks do not survive fork(): a child that
inherited an open file believes in locks that it does not have. So every connection of ours is closed before a fork, and
opened again when it is next needed, by the parent and the child alike.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final
from weakref import WeakSet, WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Forkable(Protocol):
        """What is closed before a fork."""

        turn: Turn

        def close_for_fork(self, timeout_s: float) -> bool:
            """Close every connection, the turn being ours; False when one is still in use."""
            ...

        def connections(self) -> Sequence[object]:
            """Connections that could not be closed."""
            ...


FORK_WAIT_S: Final = 5.0


class Turn:
    """Whose turn it is to write to one file, among this process's threads: they queue here, not on SQLITE_BUSY."""

    def __init__(self, path: str) -> None:
        """The turn is free."""
        self.path = path
        self.lock = threading.Lock()
        self.unsafe = False  # in a forked child: the parent could not close a connection to the file


_guard = threading.Lock()
_turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()
_open: WeakSet[Forkable] = WeakSet()
_closing: list[Turn] = []  # turns that are ours for the length of a fork
_unsafe: list[Turn] = []
_inherited: list[object] = []  # a child's, never to be closed: that would undo the parent's transaction


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


def _before_fork() -> None:
    _guard.acquire()
    databases = list(_open)
    for turn in {database.turn for database in databases}:
        (_closing if turn.lock.acquire(timeout=FORK_WAIT_S) else _unsafe).append(turn)
    for database in databases:
        turn = database.turn
        if turn not in _unsafe and not database.close_for_fork(FORK_WAIT_S):
            _unsafe.append(turn)


def _after_in_parent() -> None:
    _unsafe.clear()
    _release()


def _after_in_child() -> None:
    for turn in _unsafe:
        turn.unsafe = True
        turn.lock = threading.Lock()
    for database in _open:
        if database.turn in _unsafe:
            _inherited.extend(database.connections())
    _unsafe.clear()
    _release()


def _release() -> None:
    for turn in _closing:
        turn.lock.release()
    _closing.clear()
    _guard.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)

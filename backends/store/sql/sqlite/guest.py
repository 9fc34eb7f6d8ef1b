"""A caller's own connection to the file of a SQLite store."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from callboard.backends.store.sql.guests import driver_connection
from callboard.core.errors import InvalidArgument

from .errors import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence


class GuestConnection:
    """It runs the dialect's statements, whatever the caller made of its rows; see the protocol."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        """Run on this one."""
        self._cursor = raw.cursor()
        self._cursor.row_factory = None

    def run(self, statement: str, values: Sequence[Any] = (), /) -> sqlite3.Cursor:
        """Run a statement."""
        return self._cursor.execute(statement, values)

    def do(self, statement: str, values: Sequence[Any] = (), /) -> None:
        """Run a statement whose answer nobody needs."""
        self._cursor.execute(statement, values)

    def many(self, statement: str, rows: Sequence[tuple[Any, ...]], /) -> int:
        """Run a statement for each row."""
        return self._cursor.executemany(statement, rows).rowcount

    def later(self, statement: str, values: Sequence[object], sink: Callable[[list[Any]], None], /) -> None:
        """Not here, as for our own connections."""
        raise NotImplementedError


@contextmanager
def visit(given: object, path: str) -> Generator[GuestConnection]:
    """The caller's transaction; what we did in it is undone where an error comes out.

    Raises:
        InvalidArgument: Raised when it is no connection to SQLite, or is in no transaction and begins none by itself.
    """
    raw: sqlite3.Connection = driver_connection(given, lambda one: isinstance(one, sqlite3.Connection))
    try:
        if not raw.in_transaction:
            if raw.isolation_level is None:
                raise InvalidArgument("the connection is in no transaction, and in autocommit mode: begin one first")
            raw.execute("BEGIN IMMEDIATE")
        guest = GuestConnection(raw)
        guest.run("SAVEPOINT callboard_push")
        try:
            yield guest
        except BaseException:
            guest.run("ROLLBACK TO callboard_push")
            guest.run("RELEASE callboard_push")
            raise
        guest.run("RELEASE callboard_push")
    except sqlite3.Error as error:
        raise translate(error, path) from error

"""A caller's own connection to the database of a PostgreSQL store."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.numeric import Int8BinaryDumper

from callboard.backends.store.sql.guests import driver_connection
from callboard.core.errors import InvalidArgument

from .arrays import DUMPERS, columns
from .connection import Rows
from .errors import translate
from .text import ours

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence


class GuestLink:
    """It runs the dialect's statements, whatever the caller made of its rows and types; see the protocol."""

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        """Run on this one."""
        self._cursor = psycopg.RawCursor(raw, row_factory=tuple_row)
        self._cursor.adapters.register_dumper(int, Int8BinaryDumper)
        for kind, dumper in DUMPERS:
            self._cursor.adapters.register_dumper(kind, dumper)

    def run(self, statement: str, values: Sequence[object] = (), /) -> Rows:
        """Run a statement."""
        self._cursor.execute(ours(statement), values, prepare=False, binary=True)
        return Rows(self._cursor.fetchall() if self._cursor.description else [], self._cursor.rowcount)

    def do(self, statement: str, values: Sequence[object] = (), /) -> None:
        """The same, for what nobody needs an answer of."""
        self.run(statement, values)

    def many(self, statement: str, rows: Sequence[tuple[object, ...]], /) -> int:
        """Run a statement over rows."""
        return self.run(statement, columns(statement, rows)).rowcount

    def later(self, statement: str, values: Sequence[object], sink: Callable[[list[Any]], None], /) -> None:
        """Not here: nobody tells us of the caller's commit."""


@contextmanager
def visit(given: object, name: str) -> Generator[GuestLink]:
    """The caller's transaction; what we did in it is undone where an error comes out.

    Raises:
        InvalidArgument: Raised when it is no connection to PostgreSQL through psycopg 3, or is in no transaction and
            begins none by itself.
    """
    raw: psycopg.Connection[Any] = driver_connection(given, lambda one: isinstance(one, psycopg.Connection))
    idle = raw.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE
    if idle and raw.autocommit:
        raise InvalidArgument("the connection is in no transaction, and in autocommit mode: begin one first")
    try:
        with raw.transaction() if not idle else _begun(raw):
            yield GuestLink(raw)
    except psycopg.Error as error:
        raise translate(error, name) from error


@contextmanager
def _begun(raw: psycopg.Connection[Any]) -> Generator[None]:
    """A savepoint within a transaction that stays open: `raw.transaction()` alone would commit its own."""
    raw.execute("SELECT 1")
    with raw.transaction():
        yield

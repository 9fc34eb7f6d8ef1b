"""A caller's own connection to the database of a MariaDB store."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.store.sql.guests import driver_connection
from callboard.backends.store.sql.mariadb.connection import MESSAGE_CHARS, Rows
from callboard.backends.store.sql.mariadb.errors import translate
from callboard.backends.store.sql.mariadb.literals import statement
from callboard.core.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

_DRIVERS: Final = {"pymysql": "pymysql.cursors", "MySQLdb": "MySQLdb.cursors"}


class GuestConnection:
    """It runs the dialect's statements one by one, whatever the caller made of its rows; see the protocol."""

    def __init__(self, raw: Any) -> None:
        """Run on this one: PyMySQL's or mysqlclient's."""
        self._raw = raw
        cursors: Any = import_module(_DRIVERS[_driver_of(raw)])
        self._cursor = raw.cursor(cursors.Cursor)

    def run(self, text: str, values: Sequence[object] = (), /) -> Rows:
        """Run a statement; what its last part gave. No value has a semicolon in it: see `literals`."""
        return [self.send(part) for part in statement(text).filled(values).split(";")][-1]

    def do(self, text: str, values: Sequence[object] = (), /) -> None:
        """The same, for what nobody needs an answer of."""
        self.run(text, values)

    def many(self, text: str, rows: Sequence[tuple[object, ...]], /) -> int:
        """Run a statement over rows."""
        return sum(self.send(part).rowcount for part in statement(text).for_rows(rows, MESSAGE_CHARS)) if rows else 0

    def later(self, text: str, values: Sequence[object], sink: Callable[[list[Any]], None], /) -> None:
        """Not here: nobody tells us of the caller's commit."""

    def begin(self, *, allowed: bool) -> None:
        """Begin a transaction, where the driver would with the next statement."""
        if not allowed:
            raise InvalidArgument("the connection is in no transaction, and in autocommit mode: begin one first")
        self.send("START TRANSACTION")

    def send(self, text: str) -> Rows:
        """Run a text without places."""
        self._cursor.execute(text)
        rows = list(self._cursor.fetchall()) if self._cursor.description else []
        return Rows(len(rows) if self._cursor.description else self._cursor.rowcount, rows)


def _driver_of(one: object) -> str:
    """PyMySQL or mysqlclient; "" where it is none of their connections."""
    for kind in type(one).__mro__:
        driver = kind.__module__.partition(".")[0]
        if driver in _DRIVERS and kind.__name__ == "Connection":
            return driver
    return ""


@contextmanager
def visit(given: object, name: str) -> Generator[GuestConnection]:
    """The caller's transaction; what we did in it is undone where an error comes out.

    Raises:
        InvalidArgument: Raised when it is no connection of PyMySQL's or mysqlclient's, or is in no transaction and
            begins none by itself.
    """
    guest = GuestConnection(driver_connection(given, lambda one: bool(_driver_of(one))))
    try:
        ((begins, within),) = guest.send("SELECT @@autocommit = 0, @@in_transaction").fetchall()
        if not within:
            guest.begin(allowed=bool(begins))
        guest.send("SAVEPOINT callboard_push")
        try:
            yield guest
        except BaseException:
            with suppress(Exception):  # a deadlock has undone all of it
                guest.send("ROLLBACK TO SAVEPOINT callboard_push")
            raise
        guest.send("RELEASE SAVEPOINT callboard_push")
    except Exception as error:
        if any(kind.__name__ == "MySQLError" for kind in type(error).__mro__):
            raise translate(error, name) from error
        raise

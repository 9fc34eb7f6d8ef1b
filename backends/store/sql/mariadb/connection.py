"""One connection to MariaDB: how it is set up, and how it runs statements."""

from __future__ import annotations

import logging
import ssl
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pymysql
from pymysql.constants import CLIENT, FIELD_TYPE
from pymysql.converters import conversions
from pymysql.err import MySQLError

from callboard.backends.store.sql.errors import CommitUncertain
from callboard.backends.store.sql.mariadb.errors import is_gone
from callboard.backends.store.sql.mariadb.literals import joined, statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from callboard.backends.store.sql.mariadb.address import Address

_LOG: Final = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 6
WRITE_TIMEOUT_S: Final = 6
STATEMENT_TIMEOUT_S: Final = 5
LOCK_WAIT_S: Final = 1
IDLE_TRANSACTION_S: Final = 3
"""All below a session's time to live: a process that was stopped inside a transaction blocks nobody for long."""
MESSAGE_CHARS: Final = 1 << 20
"""Statements that go together are cut into messages of about this size."""
_SETTINGS: Final = {
    "autocommit": "1",
    "sql_mode": "'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES,ANSI_QUOTES,NO_ENGINE_SUBSTITUTION,"
                "ERROR_FOR_DIVISION_BY_ZERO,SIMULTANEOUS_ASSIGNMENT'",
    "time_zone": "'+00:00'",
    "max_statement_time": str(STATEMENT_TIMEOUT_S),
    "innodb_lock_wait_timeout": str(LOCK_WAIT_S),
    "lock_wait_timeout": str(LOCK_WAIT_S),
    "idle_transaction_timeout": str(IDLE_TRANSACTION_S),
    "idle_write_transaction_timeout": str(IDLE_TRANSACTION_S),
    "idle_readonly_transaction_timeout": str(IDLE_TRANSACTION_S),
    "in_predicate_conversion_threshold": "0",  # else long lists of keys become temporary tables
}
_SETUP: Final = (
    f"SET {', '.join(f'SESSION {name} = {value}' for name, value in _SETTINGS.items())};"
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
)


def _whole(text: str) -> int | float:
    """A sum: an exact decimal in SQL."""
    return float(text) if "." in text else int(text)


_DECODERS: Final[dict[Any, Any]] = {**conversions, FIELD_TYPE.NEWDECIMAL: _whole, FIELD_TYPE.DECIMAL: _whole}

if TYPE_CHECKING:
    Raw = pymysql.Connection[Any]
    """A connection of the driver's."""


class Driver(pymysql.connections.Connection):
    """PyMySQL's connection, with one TLS context for all.

    It makes one for each, with all authorities of the machine in it, even where it then verifies nothing: that grew a
    node by 20 MiB while it tried to reach a server that was away.
    """

    def _create_ssl_ctx(self, sslp: object) -> ssl.SSLContext:
        return sslp if isinstance(sslp, ssl.SSLContext) else _unverified()


@cache
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(address: Address, read_timeout_s: float = READ_TIMEOUT_S) -> Raw:
    """Open and set up. Raises what the driver raises, and StoreUnavailable for unreadable certificates."""
    raw: Raw = Driver(
        **address.arguments(), charset="utf8mb4", collation="utf8mb4_nopad_bin", autocommit=None, conv=_DECODERS,
        connect_timeout=CONNECT_TIMEOUT_S, read_timeout=read_timeout_s, write_timeout=WRITE_TIMEOUT_S,
        client_flag=CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS, program_name="callboard",
    )
    try:
        with raw.cursor() as cursor:
            cursor.execute(_SETUP)
    except BaseException:
        raw.close()
        raise
    return raw


class Rows:
    """What a statement gave."""

    __slots__ = ("_left", "_rows", "last_id", "rowcount")

    def __init__(self, rowcount: int, rows: Sequence[tuple[Any, ...]], last_id: int = 0) -> None:
        """Rows that were read whole.

        Args:
            rowcount: rows that were changed (matched, for an UPDATE that changes nothing).
            rows: of a SELECT or RETURNING.
            last_id: LAST_INSERT_ID of an INSERT or UPDATE that set it.
        """
        self.rowcount = rowcount
        self.last_id = last_id
        self._rows = rows
        self._left = iter(rows)

    def fetchone(self) -> Any:
        """The next row, or None."""
        return next(self._left, None)

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        return list(self._left)

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left."""
        return self._left


class MariadbConnection:
    """A transaction's connection; `callboard.backends.store.sql.dialect.Connection`.

    What needs no answer is sent with the next that does, or with the commit.
    """

    def __init__(self, raw: Raw, message_chars: int = MESSAGE_CHARS) -> None:
        """Run on this one; messages are no longer than this, unless one statement is."""
        self.raw = raw
        self._message_chars = message_chars
        self._queued: list[str] = []
        self._later: list[tuple[str, Callable[[list[Any]], None]]] = []
        self._open = True

    def run(self, text: str, values: Sequence[object] = (), /) -> Rows:
        """Run a statement of the dialect's."""
        return self.send([statement(text).filled(values)])[-1]

    def run_each(self, calls: Sequence[tuple[str, Sequence[object]]], /) -> Sequence[Rows]:
        """Run statements of one part each in as few messages as they fit into; what each gave."""
        texts = [statement(text).filled(values) for text, values in calls]
        return self.send(texts)[-len(texts) :] if texts else []

    def do(self, text: str, values: Sequence[object] = (), /) -> None:
        """Run a statement whose answer nobody needs, with the next that has one or with the commit."""
        self._queued.append(statement(text).filled(values))

    def many(self, text: str, rows: Sequence[tuple[object, ...]], /) -> int:
        """Run a statement for each row, in as few statements as the database can, as `do`; -1."""
        if rows:
            self._queued += statement(text).for_rows(rows, self._message_chars)
        return -1

    def later(self, text: str, values: Sequence[object], sink: Callable[[list[Any]], None], /) -> None:
        """Run it after the commit; see the protocol."""
        self._later.append((statement(text).filled(values), sink))

    def send(self, texts: Sequence[str]) -> list[Rows]:
        """Run what is queued and texts without places, in order; what each part gave."""
        return [rows for message in self._messages(texts) for rows in self._ask(message)]

    def commit(self) -> None:
        """Send what is queued and commit; then do what comes later.

        Raises:
            CommitUncertain: Raised when no answer came.
        """
        *before, last = self._messages(["COMMIT"])
        for message in before:
            list(self._ask(message))
        later, self._later = self._later, []
        answers = self._ask(";".join([last, *(text for text, _ in later[:1])]))
        committing = last.count(";") + 1
        try:
            done = [next(answers) for _ in range(committing)]
        except (MySQLError, OSError) as error:
            if is_gone(error):
                # Nobody knows whether the server has heard it: only a later look can tell.
                raise CommitUncertain("the connection was lost at the commit", cause=error) from error
            raise
        del done
        self._open = False
        try:
            for place, (text, sink) in enumerate(later):
                _pour(answers if place == 0 else self._ask(text), sink)
        except (MySQLError, OSError) as error:
            _LOG.debug("a leader that waits was not looked for: %s", error)
            self.raw.close()

    def roll_back(self) -> bool:
        """Undo the transaction; whether the connection can be used again."""
        self._queued.clear()
        self._later.clear()
        if not self.raw.open:
            return False
        try:
            list(self._ask("ROLLBACK"))
        except (MySQLError, OSError):
            return False
        self._open = False
        return True

    def tidied(self) -> bool:
        """End what is left of the transaction; whether the connection can be used again."""
        return self.roll_back() if self._open else self.raw.open

    def _messages(self, texts: Sequence[str]) -> list[str]:
        queued, self._queued = self._queued, []
        return joined([*queued, *texts], self._message_chars)

    def _ask(self, message: str) -> Iterator[Rows]:
        """Run statements; the answer of each as it is read."""
        with self.raw.cursor() as cursor:
            cursor.execute(message)
            yield _rows(cursor)
            while cursor.nextset():
                yield _rows(cursor)


def _pour(answers: Iterable[Rows], sink: Callable[[list[Any]], None]) -> None:
    """What a statement gave, or how many rows it changed if there were any."""
    found: list[Any] = []
    for rows in answers:
        found += rows.fetchall() or [(rows.rowcount,)] * (rows.rowcount > 0)
    sink(found)


def _rows(cursor: Any) -> Rows:
    rows = cursor.fetchall() if cursor.description else ()
    return Rows(cursor.rowcount, rows, cursor.lastrowid or 0)

"""One PostgreSQL database: a small pool of connections, and transactions on them."""

from __future__ import annotations

import math
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from callboard.backends.store.sql.dialect import Fence
from callboard.core.errors import InvalidArgument, StoreUnavailable

from .connection import Link
from .errors import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from callboard.backends.store.sql.tx import Greeter

CONNECTIONS_MAX: Final = 8
"""Of one store object, besides the one that listens."""
_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

_open: WeakSet[Database] = WeakSet()


class Address:
    """Where a database is, with its password kept out of sight."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """Read the address.

        Raises:
            InvalidArgument: Raised when it is none.
        """
        try:
            parts: dict[str, Any] = dict(conninfo_to_dict(url))
        except psycopg.ProgrammingError:
            raise InvalidArgument("the store's address can't be read: use postgresql://USER@HOST:PORT/DATABASE, with "
                                  "special characters as %XX") from None
        timeout_ms = round(timeout_s * 1000)
        defaults: dict[str, Any] = {
            "connect_timeout": max(2, math.ceil(timeout_s)), "tcp_user_timeout": timeout_ms,
            "keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
            "application_name": "callboard",
        }
        self.conninfo = make_conninfo("", **(defaults | parts))
        user, host, port = parts.get("user", ""), parts.get("host", ""), parts.get("port", "")
        self.name = (f"postgresql://{user}{'@' if user else ''}{host}{f':{port}' if port else ''}"
                     f"/{parts.get('dbname', user)}")

    def __repr__(self) -> str:
        """Without the password."""
        return f"<Address {self.name}>"


class Database:
    """Connections to one database; `callboard.backends.store.sql.dialect.Database`.

    A transaction is never left to itself: the server ends one that stands still for three seconds, so that a process
    that was stopped inside keeps nobody from leading.
    """

    def __init__(self, address: Address, busy_s: float, greeter: Greeter) -> None:
        """Open nothing yet.

        Args:
            address: of the database, which has its tables.
            busy_s: how long a statement may take, and how long a transaction may wait for a connection.
            greeter: what is read first in each transaction.
        """
        self.name = address.name
        self._address = address
        self._busy_s = busy_s
        self._greeter = greeter
        self._idle: list[Link] = []
        self._used = 0
        self._free = threading.Condition(threading.Lock())
        self._closed = False
        self.upkeep: Callable[[], None] = lambda: None
        _open.add(self)

    @contextmanager
    def write(self, *, durable: bool = False, fence: Fence = Fence.LOOK) -> Generator[tuple[Link, Any]]:
        """A write transaction at READ COMMITTED; every one is durable when it returns."""
        del durable
        with self._transaction("BEGIN", fence) as (link, row):
            yield link, row
            link.commit()

    @contextmanager
    def read(self) -> Generator[tuple[Link, Any]]:
        """A read transaction: one snapshot, in nobody's way."""
        with self._transaction(_READ, Fence.LOOK) as (link, row):
            yield link, row

    def tidy(self) -> None:
        """Autovacuum does it, with the tables' own settings; see whether it can."""
        self.upkeep()

    def close(self) -> None:
        """Close every connection that is not in use; the others as they come back."""
        with self._free:
            self._closed = True
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()

    def abandon(self) -> None:
        """In a forked child: forget the parent's connections (psycopg closes none that another process opened)."""
        self._idle, self._used = [], 0
        self._free = threading.Condition(threading.Lock())

    @contextmanager
    def _transaction(self, begin: str, fence: Fence) -> Generator[tuple[Link, Any]]:
        link: Link | None = None
        try:
            link, found = self._begin(begin, self._greeter.statement(fence))
            yield link, self._greeter.row(found)
        except psycopg.Error as error:
            raise translate(error, self.name) from error
        except UnicodeEncodeError as error:
            raise InvalidArgument(f"job store {self.name}: a text can't be stored: {error.reason}",
                                  cause=error) from error
        finally:
            if link is not None:
                link.roll_back()
                self._give_back(link)

    def _begin(self, begin: str, greeting: str) -> tuple[Link, Any]:
        """A connection in a transaction, and the row it found; a connection that died while idle is replaced once."""
        link, fresh = self._borrow()
        try:
            return link, link.begin(begin, greeting)
        except BaseException as error:
            died = isinstance(error, psycopg.OperationalError) and link.raw.closed and not fresh
            link.close()
            self._give_back(link)
            if not died:
                raise
        with self._free:
            idle, self._idle = self._idle, []
        for other in idle:
            other.close()  # what ended one has most likely ended all
        link, _ = self._borrow()
        try:
            return link, link.begin(begin, greeting)
        except BaseException:
            link.close()
            self._give_back(link)
            raise

    def _borrow(self) -> tuple[Link, bool]:
        """A connection, and whether it is new."""
        with self._free:
            if self._closed:
                raise StoreUnavailable(f"job store {self.name}: it was closed")
            if not self._free.wait_for(lambda: self._used < CONNECTIONS_MAX, self._busy_s):
                raise StoreUnavailable(f"job store {self.name}: {CONNECTIONS_MAX} transactions have taken "
                                       f"{self._busy_s:g} s")
            self._used += 1
            if self._idle:
                return self._idle.pop(), False
        try:
            return Link(self._address.conninfo, self._busy_s), True
        except BaseException as error:
            with self._free:
                self._used -= 1
                self._free.notify()
            if isinstance(error, psycopg.Error):
                raise translate(error, self.name) from error
            raise

    def _give_back(self, link: Link) -> None:
        with self._free:
            self._used = max(0, self._used - 1)
            keep = link.sound and not self._closed
            if keep:
                self._idle.append(link)
            self._free.notify()
        if not keep:
            link.close()


def _forget_all() -> None:
    for database in list(_open):
        database.abandon()


os.register_at_fork(after_in_child=_forget_all)

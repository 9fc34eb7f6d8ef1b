"""Transactions on MariaDB."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pymysql.err import MySQLError

from callboard.backends.store.sql.dialect import Fence
from callboard.backends.store.sql.errors import CommitUncertain
from callboard.backends.store.sql.mariadb.connection import MESSAGE_CHARS, MariadbConnection, connect
from callboard.backends.store.sql.mariadb.errors import is_gone, translate
from callboard.backends.store.sql.mariadb.pool import Pool
from callboard.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from callboard.backends.store.sql.mariadb.address import Address
    from callboard.backends.store.sql.mariadb.connection import Raw
    from callboard.backends.store.sql.tx import Greeter

_LOG: Final = logging.getLogger(__name__)
_SOON_S: Final = 1.0
"""A connection that is lost fails sooner."""
_WRITE: Final = ("START TRANSACTION",)
_READ: Final = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION READ ONLY")


class Database:
    """One database of one server; `callboard.backends.store.sql.dialect.Database`.

    A transaction is never left to itself: the server ends one that stands still for a few seconds, so that a process
    that was stopped inside keeps nobody from leading.
    """

    def __init__(self, address: Address, wait_s: float, greeter: Greeter, packet_max_bytes: int) -> None:
        """Open nothing yet.

        Args:
            address: where it is; it has its tables.
            wait_s: how long a transaction may wait for a connection of the pool.
            greeter: what is read first in each transaction.
            packet_max_bytes: what the server takes as one message.
        """
        self.name = address.name
        self.pool = Pool(address.name, lambda: connect(address), wait_s)
        self._greeter = greeter
        self._message_chars = min(MESSAGE_CHARS, packet_max_bytes // 4)

    @contextmanager
    def write(
        self, *, durable: bool = False, fence: Fence = Fence.LOOK
    ) -> Generator[tuple[MariadbConnection, Any]]:
        """A write transaction at READ COMMITTED: committed at the end, rolled back on any exception.

        Args:
            durable: makes no difference: how durable commits are is a setting of the server's.
            fence: how to hold the store's row.
        """
        del durable
        with self._transaction(_WRITE, fence) as (connection, row):
            yield connection, row
            connection.commit()

    @contextmanager
    def read(self) -> Generator[tuple[MariadbConnection, Any]]:
        """A read transaction: one snapshot, in nobody's way."""
        with self._transaction(_READ, Fence.LOOK) as (connection, row):
            yield connection, row
            connection.roll_back()

    def hint(self, texts: Sequence[str]) -> None:
        """Run statements without values, each a transaction of its own; nothing is raised if they fail."""
        try:
            raw, _ = self.pool.borrow()
        except (MySQLError, OSError, StoreUnavailable) as error:
            _LOG.debug("job store %s was not told that its leader is awake: %s", self.name, error)
            return
        sound = False
        try:
            MariadbConnection(raw, self._message_chars).send(texts)
            sound = True
        except (MySQLError, OSError) as error:
            sound = not is_gone(error)
            _LOG.debug("job store %s was not told that its leader is awake: %s", self.name, error)
        finally:
            self.pool.give_back(raw, sound=sound)

    def tidy(self) -> None:
        """Nothing to do: the server purges what is over by itself."""

    def close(self) -> None:
        """Close every connection; harmless when repeated."""
        self.pool.close()

    @contextmanager
    def _transaction(self, begin: tuple[str, ...], fence: Fence) -> Generator[tuple[MariadbConnection, Any]]:
        texts = (*begin, self._greeter.statement(fence))
        connection: MariadbConnection | None = None
        sound = False
        try:
            connection, found = self._begin(texts)
            yield connection, self._greeter.row(found)
            sound = connection.raw.open
        except CommitUncertain as error:
            raise CommitUncertain(f"job store {self.name}: {error.message}", cause=error.cause) from error
        except (MySQLError, OSError) as error:
            sound = not is_gone(error)
            raise translate(error, self.name) from error
        except Exception:
            sound = True
            raise
        finally:  # a BaseException came anywhere, perhaps in the middle of an answer: not sound
            if connection is not None:
                self.pool.give_back(connection.raw, sound=sound and connection.tidied())

    def _begin(self, texts: tuple[str, ...]) -> tuple[MariadbConnection, Any]:
        """Begin, and the row found; where a connection of the pool turns out to be lost, on a new one."""
        raw, fresh = self.pool.borrow()
        begun_s = time.monotonic()
        try:
            return self._greeted(raw, texts)
        except (MySQLError, OSError) as error:
            silent = time.monotonic() - begun_s > _SOON_S  # it may live, and would keep a new one waiting too
            if fresh or silent or not is_gone(error):
                raise
        raw, _ = self.pool.borrow(fresh=True)
        return self._greeted(raw, texts)

    def _greeted(self, raw: Raw, texts: tuple[str, ...]) -> tuple[MariadbConnection, Any]:
        connection = MariadbConnection(raw, self._message_chars)
        try:
            return connection, connection.send(texts)[-1].fetchone()
        except BaseException as error:
            sound = isinstance(error, MySQLError) and not is_gone(error)
            self.pool.give_back(raw, sound=sound and connection.roll_back())
            raise

"""One SQLite file: connections, transactions, and our own short retry."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.store.sql.dialect import Fence
from callboard.backends.store.sql.errors import CommitUncertain
from callboard.core.errors import StoreReset, StoreUnavailable, Unavailable

from .errors import is_busy, primary_code, translate
from .locks import turn_of, watch_forks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from callboard.backends.store.sql.dialect import Connection

_PAUSE_MIN_S: Final = 0.000_05
_PAUSE_MAX_S: Final = 0.000_5  # two waiters cost a few percent of a core, and the file is seldom free and unused
_STUCK_S: Final = 0.5
_PAUSE_STUCK_S: Final = 0.005  # whoever holds the lock for so long was stopped, or its disk is slow
_READERS_MAX: Final = 4
WAL_MAX_BYTES: Final = 64 << 20
"""Above this a sweep tries to empty SQLite's log."""
_SETUP: Final = (
    "PRAGMA synchronous = NORMAL",
    "PRAGMA cache_size = -16384",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA secure_delete = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA trusted_schema = OFF",
)


class SqliteConnection(sqlite3.Connection):
    """A connection that runs the dialect's statements; `callboard.backends.store.sql.dialect.Connection`."""

    run = sqlite3.Connection.execute

    def do(self, statement: str, values: Sequence[object] = (), /) -> None:
        """Run a statement whose answer nobody needs."""
        self.execute(statement, values)

    def many(self, statement: str, rows: Sequence[tuple[object, ...]], /) -> int:
        """Run a statement for each row."""
        return self.executemany(statement, rows).rowcount

    def later(self, statement: str, values: Sequence[object], sink: Callable[[list[Any]], None], /) -> None:
        """Not here: nothing is under way beside a transaction."""
        raise NotImplementedError


class Database:
    """Connections to one file: one that writes, guarded by the file's turn, and a few that read.

    A write transaction is `BEGIN IMMEDIATE`, so it never has to upgrade a lock; SQLite's own busy timeout is off, for
    it starves a waiter for seconds.
    """

    def __init__(self, path: str, busy_s: float, greet: Callable[[Connection, Fence], Any]) -> None:
        """Open nothing yet.

        Args:
            path: the file, which exists.
            busy_s: how long a transaction may wait for its turn.
            greet: run as the first thing in each transaction; what it returns goes to the transaction.
        """
        self.path = path
        self.turn = turn_of(os.path.realpath(path))
        self._uri = Path(path).absolute().as_uri() + "?mode=rw"
        self._busy_s = busy_s
        self._greet = greet
        self._writer: SqliteConnection | None = None
        self._durable = False
        self._readers: list[SqliteConnection] = []
        self._reading = 0
        self._readers_free = threading.Condition(threading.Lock())
        self._closed = False
        self._identity = self._identify()
        watch_forks(self)

    @contextmanager
    def write(
        self, *, durable: bool = False, fence: Fence = Fence.LOOK
    ) -> Generator[tuple[SqliteConnection, Any]]:
        """A write transaction: committed at the end, rolled back on any exception.

        Args:
            durable: it survives a power loss when this returns; otherwise it survives the death of the process.
            fence: makes no difference: one transaction writes at a time.
        """
        if not self.turn.lock.acquire(timeout=self._busy_s):
            raise StoreUnavailable(f"job store {self.path}: other threads of this process have been writing for "
                                   f"{self._busy_s:g} s")
        try:
            self.turn.refuse_unsafe()
            connection = self._writer or self._open_writer()
            if durable is not self._durable:
                connection.execute("PRAGMA synchronous = FULL" if durable else "PRAGMA synchronous = NORMAL")
                self._durable = durable
            greeting = self._begin(connection, "BEGIN IMMEDIATE", fence)
            try:
                yield connection, greeting
                self._commit(connection)
            except BaseException as error:
                self._abort(connection, error)
                raise
        finally:
            self.turn.lock.release()

    @contextmanager
    def read(self) -> Generator[tuple[SqliteConnection, Any]]:
        """A read transaction: one snapshot, in nobody's way."""
        self.turn.refuse_unsafe()
        connection = self._borrow()
        sound = True
        try:
            greeting = self._begin(connection, "BEGIN", Fence.LOOK)
            try:
                yield connection, greeting
            finally:
                self._roll_back(connection)
        except sqlite3.Error as error:
            sound = False
            raise translate(error, self.path) from error
        except Unavailable:
            sound = False
            raise
        finally:
            self._give_back(connection, sound=sound)

    def close(self) -> None:
        """Close every connection; harmless when repeated."""
        self._closed = True
        with self.turn.lock:
            self._close_writer()
        with self._readers_free:
            while self._readers:
                self._readers.pop().close()

    @property
    def name(self) -> str:
        """The file."""
        return self.path

    def tidy(self) -> None:
        """Where the log beside the file has grown too far, for readers never let it start again: try to empty it."""
        with suppress(OSError, sqlite3.Error):  # no log, or others are at work: the next call finds out
            if os.stat(self.path + "-wal").st_size > WAL_MAX_BYTES:  # noqa: PTH116 - a string is what we have
                with self.turn.lock:
                    (self._writer or self._open_writer()).execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def abandon(self) -> list[SqliteConnection]:
        """In a forked child: forget the parent's connections, without closing them; returns them."""
        left = [*self._readers, *([] if self._writer is None else [self._writer])]
        self._readers, self._writer, self._reading = [], None, 0
        self._readers_free = threading.Condition(threading.Lock())
        return left

    def close_for_fork(self, timeout_s: float) -> bool:
        """Close every connection, the turn being the caller's, and let none be opened until `after_fork`.

        False, and nothing is held, when a reader is still at work.
        """
        self._close_writer()
        self._readers_free.acquire()
        if not self._readers_free.wait_for(lambda: self._reading == 0, timeout_s):
            self._readers_free.release()
            return False
        while self._readers:
            self._readers.pop().close()
        return True

    def after_fork(self) -> None:
        """Let connections be opened again, in the parent and in the child."""
        self._readers_free.release()

    def _connect(self) -> SqliteConnection:
        if self._closed:
            raise StoreUnavailable(f"job store {self.path}: it was closed")
        self.turn.refuse_unsafe()
        self._check_identity()
        try:
            connection = sqlite3.connect(
                self._uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256,
                factory=SqliteConnection,
            )
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

        def set_up() -> None:  # the first connection to a log recovers it, the last one removes it: others wait
            for statement in _SETUP:
                connection.execute(statement)

        try:
            self._patiently(set_up, lambda: None)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_writer(self) -> SqliteConnection:
        self._writer = self._connect()
        self._durable = False
        return self._writer

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _borrow(self) -> SqliteConnection:
        with self._readers_free:
            if not self._readers_free.wait_for(lambda: self._reading < _READERS_MAX, self._busy_s):
                raise StoreUnavailable(f"job store {self.path}: {_READERS_MAX} reads have taken {self._busy_s:.0f} s")
            self._reading += 1
            if self._readers:
                return self._readers.pop()
        try:
            return self._connect()
        except BaseException:
            with self._readers_free:
                self._reading -= 1
                self._readers_free.notify()
            raise

    def _give_back(self, connection: SqliteConnection, *, sound: bool) -> None:
        with self._readers_free:
            self._reading -= 1
            if sound and not self._closed:
                self._readers.append(connection)
            else:
                connection.close()
            self._readers_free.notify_all()

    def _begin(self, connection: SqliteConnection, begin: str, fence: Fence) -> Any:
        """Begin and greet, again and again while another process is in the way."""
        self._check_identity()

        def act() -> Any:
            connection.execute(begin)
            return self._greet(connection, fence)

        return self._patiently(act, lambda: self._roll_back(connection))

    def _patiently(self, act: Callable[[], Any], undo: Callable[[], None]) -> Any:
        """Again and again while another process is in the way; what failed is undone. Raises what `translate` says."""
        start_s = time.monotonic()
        pause_s = _PAUSE_MIN_S
        while True:
            try:
                return act()
            except sqlite3.Error as error:
                undo()
                waited_s = time.monotonic() - start_s
                if not is_busy(error) or waited_s >= self._busy_s:
                    raise translate(error, self.path) from error
            except BaseException:
                undo()
                raise
            time.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - jitter, no secret
            pause_s = min(pause_s * 1.5, _PAUSE_MAX_S if waited_s < _STUCK_S else _PAUSE_STUCK_S)

    def _commit(self, connection: SqliteConnection) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if primary_code(error) == sqlite3.SQLITE_IOERR:
                # The disk may have the commit or not: only a later look can tell.
                raise CommitUncertain(f"job store {self.path}: {error} at the commit", cause=error) from error
            raise

    def _abort(self, connection: SqliteConnection, error: BaseException) -> None:
        self._roll_back(connection)
        if isinstance(error, sqlite3.Error):
            if connection is self._writer:
                self._close_writer()  # a fresh one finds out whether the trouble lasts
            raise translate(error, self.path) from error

    @staticmethod
    def _roll_back(connection: SqliteConnection) -> None:
        if connection.in_transaction:
            with suppress(sqlite3.Error):  # the connection is closed next, which rolls back too
                connection.execute("ROLLBACK")

    def _identify(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - once a transaction: half the time of Path.stat
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _check_identity(self) -> None:
        if self._identify() != self._identity or self._identity is None:
            raise StoreReset(f"job store {self.path}: the file was moved, deleted or replaced; start the node again")

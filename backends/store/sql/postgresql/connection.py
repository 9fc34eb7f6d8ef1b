"""One connection to PostgreSQL: its settings, its deadline, and how few round trips a transaction takes."""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.types.numeric import Int8BinaryDumper

from callboard.backends.store.sql.errors import CommitUncertain

from .arrays import DUMPERS, columns
from .text import ours

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

_STATEMENTS_MAX: Final = 400  # prepared on one connection: all that we have
_GRACE_S: Final = 1.0  # the server is given a little longer than the time that it was told
_SETTINGS: Final = {
    # A table that was analysed when it was small is read as a whole until the next time: an index does whatever we ask.
    # Plans are made once, and compiling one takes longer than it. To sort is allowed: what a session holds would be
    # looked for in all jobs, to have it in order.
    **dict.fromkeys(("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "jit"), "off"),
    "plan_cache_mode": "force_generic_plan",
    "default_transaction_isolation": "read committed",
    "client_min_messages": "error",
}


_TIMED: Final = "timeout" in inspect.signature(psycopg.Connection.wait).parameters  # since psycopg 3.3
_TimeUp: Final[type[Exception]] = getattr(psycopg.errors, "_WaitTimeout", TimeoutError)


class Rows:
    """What a statement gave; `callboard.backends.store.sql.dialect.Result`."""

    __slots__ = ("_next", "_rows", "rowcount")

    def __init__(self, rows: list[Any], rowcount: int) -> None:
        """All of it."""
        self._rows = rows
        self._next = 0
        self.rowcount = rowcount

    def fetchone(self) -> Any:
        """The next row, or None."""
        self._next += 1
        return self._rows[self._next - 1] if self._next <= len(self._rows) else None

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        rows, self._next = self._rows[self._next :], len(self._rows)
        return rows

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left."""
        return iter(self.fetchall())


class Waiting(psycopg.Connection[Any]):
    """A connection that gives up waiting for the server at a deadline, also where the network keeps silent."""

    deadline_s: float | None = None

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
        """As psycopg's, until the deadline."""
        if self.deadline_s is None:
            return super().wait(gen, *args, **kwargs)
        if not _TIMED:
            return super().wait(self._until(gen), *args, **kwargs)
        kwargs["timeout"] = max(0.001, self.deadline_s - time.monotonic())
        try:
            return super().wait(gen, *args, **kwargs)
        except _TimeUp:
            self.pgconn.finish()
            raise psycopg.OperationalError("no answer from the server in time") from None

    def _until(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and self.deadline_s is not None and time.monotonic() > self.deadline_s:
                    self.pgconn.finish()
                    raise psycopg.OperationalError("no answer from the server in time")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


class Link:
    """A connection that runs the dialect's statements; `callboard.backends.store.sql.dialect.Connection`.

    What needs no answer is sent with the next that does, or with the commit.
    """

    def __init__(self, conninfo: str, busy_s: float) -> None:
        """Connect. Raises psycopg.Error."""
        self._busy_s = busy_s
        self._raw = Waiting.connect(conninfo, autocommit=True, cursor_factory=psycopg.RawCursor)
        try:
            self._raw.prepare_threshold = 0
            self._raw.prepared_max = _STATEMENTS_MAX
            self._raw.adapters.register_dumper(int, Int8BinaryDumper)
            for kind, dumper in DUMPERS:
                self._raw.adapters.register_dumper(kind, dumper)
            self._cursor = self._raw.cursor(binary=True)
            self._queued: list[tuple[str, Sequence[object]]] = []
            self._later: list[tuple[str, Sequence[object], Callable[[list[Any]], None]]] = []
            self._raw.deadline_s = time.monotonic() + busy_s + _GRACE_S
            self._set_up()
        except BaseException:
            self._raw.close()
            raise

    @property
    def raw(self) -> psycopg.Connection[Any]:
        """The driver's connection."""
        return self._raw

    @property
    def sound(self) -> bool:
        """It is open, and in no transaction."""
        return not self._raw.closed and self._raw.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE

    def close(self) -> None:
        """Close it."""
        self._raw.close()

    def run(self, statement: str, values: Sequence[object] = (), /) -> Rows:
        """Run a statement, and fetch what it gives."""
        if self._queued:
            return self.run_each([(statement, values)])[0]
        self._raw.deadline_s = time.monotonic() + self._busy_s + _GRACE_S
        self._cursor.execute(ours(statement), values)
        return Rows(self._cursor.fetchall() if self._cursor.description else [], self._cursor.rowcount)

    def run_each(self, calls: Sequence[tuple[str, Sequence[object]]], /) -> list[Rows]:
        """Run what is queued and these, in one round trip; what these gave."""
        queued, self._queued = self._queued, []
        self._raw.deadline_s = time.monotonic() + self._busy_s + _GRACE_S
        with self._raw.pipeline():
            for statement, values in queued:
                self._raw.cursor().execute(ours(statement), values)
            cursors = [self._raw.cursor(binary=True).execute(ours(statement), values) for statement, values in calls]
        return [Rows(cursor.fetchall() if cursor.description else [], cursor.rowcount) for cursor in cursors]

    def do(self, statement: str, values: Sequence[object] = (), /) -> None:
        """Run a statement whose answer nobody needs, some time before the commit."""
        self._queued.append((statement, values))

    def many(self, statement: str, rows: Sequence[tuple[object, ...]], /) -> int:
        """Run a statement over rows, given as one array for each column, as `do`; -1."""
        self._queued.append((statement, columns(statement, rows)))
        return -1

    def later(self, statement: str, values: Sequence[object], sink: Callable[[list[Any]], None], /) -> None:
        """Run it after the commit; see the protocol."""
        self._later.append((statement, values, sink))

    def begin(self, begin: str, greeting: str) -> Any:
        """Begin a transaction and read one row, in one round trip."""
        self._queued.clear()
        self._later.clear()
        self._raw.deadline_s = time.monotonic() + self._busy_s + _GRACE_S
        with self._raw.cursor() as cursor:
            cursor.execute(ours(f"{begin}; {greeting}"), prepare=False)
            cursor.nextset()
            return cursor.fetchone()

    def commit(self) -> None:
        """Send what is queued, commit, and do what comes later, in one round trip.

        Raises:
            CommitUncertain: Raised when no answer came.
        """
        self._raw.deadline_s = time.monotonic() + self._busy_s + _GRACE_S
        commit: psycopg.Cursor[Any] | None = None
        answers: list[tuple[psycopg.Cursor[Any], Callable[[list[Any]], None]]] = []
        try:
            with self._raw.pipeline():
                for statement, values in self._queued:
                    self._raw.cursor().execute(ours(statement), values)
                commit = self._raw.execute("COMMIT")
                for statement, values, sink in self._later:
                    answers.append((self._raw.cursor(binary=True).execute(ours(statement), values), sink))
        except psycopg.Error as error:
            done = commit is not None and commit.statusmessage == "COMMIT"
            if not done and commit is not None and error.sqlstate is None:
                raise CommitUncertain(f"no answer to a commit: {error}", cause=error) from error
            if not done:
                raise
        finally:
            self._queued.clear()
            self._later.clear()
        for cursor, sink in answers:
            if cursor.pgresult is not None and cursor.description:
                sink(cursor.fetchall())

    def roll_back(self) -> None:
        """Undo the transaction, where there is one; the connection is closed if that fails."""
        self._queued.clear()
        self._later.clear()
        if self._raw.closed or self._raw.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            return
        try:
            self._raw.execute("ROLLBACK")
        except psycopg.Error:
            self._raw.close()

    def _set_up(self) -> None:
        busy_ms = round(self._busy_s * 1000)
        settings = _SETTINGS | {
            "statement_timeout": str(busy_ms),
            "lock_timeout": str(max(1, busy_ms * 4 // 5)),
            "idle_in_transaction_session_timeout": str(min(3_000, busy_ms)),
        }
        self._raw.execute(
            "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS t (name, value) "
            "UNION ALL SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') = 'off'",
            (list(settings), list(settings.values())))

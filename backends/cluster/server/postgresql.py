"""The `store` cluster on PostgreSQL: its connections, and the thread that hears what others change."""

from __future__ import annotations

import hashlib
import logging
import select
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import conninfo, errors
from psycopg.waiting import Ready, Wait

from callboard.backends.cluster.follow import POLL_S
from callboard.backends.store.sql.statements import PREFIX
from callboard.core.errors import ClusterUnavailable, InvalidArgument

from .cluster import TIMEOUT_S, ServerCluster
from .link import Clashed
from .statements import load

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

_LOG: Final = logging.getLogger(__name__)
_AGAIN_S: Final = 1.0
_QUIET_S: Final = 10.0
_JOIN_S: Final = 5.0
_SETUP: Final = """
SET default_transaction_isolation = 'read committed';
SET lock_timeout = {lock_ms};
SET statement_timeout = {act_ms};
SET idle_in_transaction_session_timeout = {act_ms};
SET client_encoding = 'UTF8';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
"""
"""All of it below a term's ttl; and a term is on the disk when it is granted."""


class _Driver(psycopg.Connection[tuple[Any, ...]]):
    """The driver's connection, which gives up waiting at `end_s`: the driver alone would wait for ever."""

    end_s = 0.0

    def wait(self, gen: Generator[Any, Ready, Any], *_: Any, **__: Any) -> Any:
        """Run what talks to the server, until it is done or time is up."""
        try:
            wanted = next(gen)
            while True:
                left_s = self.end_s - time.monotonic()
                ready = _ready(self.pgconn.socket, wanted, left_s) if left_s > 0 else Ready.NONE
                if ready is Ready.NONE:
                    self.pgconn.finish()
                    raise errors.OperationalError("the server did not answer in time")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value


def _ready(fd: int, wanted: Wait, timeout_s: float) -> Ready:
    """Wait until the connection can be read or written."""
    poll = select.poll()
    poll.register(fd, (select.POLLIN if wanted & Wait.R else 0) | (select.POLLOUT if wanted & Wait.W else 0))
    found = poll.poll(timeout_s * 1000)
    events = found[0][1] if found else 0
    ready = 0
    if events & ~select.POLLOUT:
        ready |= Ready.R if wanted & Wait.R else Ready.W  # an error, too, is found out by doing it
    if events & select.POLLOUT:
        ready |= Ready.W
    return Ready(ready)


class PostgresqlLink:
    """`link.Connection` of PostgreSQL."""

    def __init__(self, address: str, name: str, statements: Mapping[str, str], timeout_s: float, wait_s: float) -> None:
        """Connect.

        Args:
            address: as libpq takes it.
            name: for messages.
            statements: by name.
            timeout_s: how long an act may take.
            wait_s: how long connecting may take (the driver waits for 2 s at least).

        Raises:
            ClusterUnavailable: Raised when it can't be reached.
        """
        self._name = name
        self._statements = statements
        try:
            self.driver = _Driver.connect(
                address, autocommit=True, connect_timeout=max(2, round(wait_s)), fallback_application_name="callboard"
            )
            self.driver.end_s = time.monotonic() + timeout_s
            act_ms = max(1, round(timeout_s * 1000))
            self.driver.execute(_SETUP.format(lock_ms=max(1, act_ms // 2), act_ms=act_ms).encode())
        except psycopg.Error as error:
            raise _unavailable(name, error) from error

    def ask(self, statement: str, values: Mapping[str, object], end_s: float) -> Sequence[Sequence[Any]]:
        """Run a statement; its rows."""
        self.driver.end_s = end_s
        try:
            return self.driver.execute(self._statements[statement].encode(), values).fetchall()
        except (errors.DeadlockDetected, errors.SerializationFailure) as error:
            raise Clashed(str(error)) from error
        except psycopg.Error as error:
            raise _unavailable(self._name, error) from error

    def is_sound(self) -> bool:
        """Whether nothing waits to be read: between acts, a server sends its farewell alone."""
        return not self.driver.closed and not select.select([self.driver.pgconn.socket], [], [], 0)[0]

    def close(self) -> None:
        """Hang up."""
        self.driver.close()


def _unavailable(name: str, error: psycopg.Error) -> ClusterUnavailable:
    said = " ".join(str(error).split())
    if isinstance(error, errors.UndefinedTable):
        said += "; open the job store first: it makes the tables"
    return ClusterUnavailable(f"the cluster in {name}: {said}", cause=error)


class Listener:
    """A thread with a connection that hears the server ring; it rings, too, whenever it may have missed something."""

    def __init__(self, connect: Callable[[], PostgresqlLink], bell: str, ring: Callable[[], None]) -> None:
        """Begin to listen."""
        self._connect = connect
        self._bell = bell
        self._ring = ring
        self._awake, self._waker = socket.socketpair()
        self._closed = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="callboard-cluster-listener", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                link = self._connect()
                try:
                    self._hear(link.driver)
                finally:
                    link.close()
            except (ClusterUnavailable, psycopg.Error, OSError) as error:
                if not self._failing:
                    _LOG.warning("the cluster's bells can't be heard, changes are seen by polling: %s", error)
                self._failing = True
                self._closed.wait(_AGAIN_S)
        self._awake.close()

    def _hear(self, driver: _Driver) -> None:
        driver.add_notify_handler(lambda _: self._ring())
        self._say(driver, f'LISTEN "{self._bell}"')
        if self._failing:
            _LOG.info("the cluster's bells can be heard again")
        self._failing = False
        self._ring()
        while not self._closed.is_set():
            heard, _, _ = select.select([driver.pgconn.socket, self._awake.fileno()], [], [], _QUIET_S)
            if not heard:
                self._say(driver, "SELECT 1")  # finds out whether the server is still there
            elif driver.pgconn.socket in heard:
                driver.pgconn.consume_input()
                while driver.pgconn.notifies():
                    self._ring()

    @staticmethod
    def _say(driver: _Driver, statement: str) -> None:
        driver.end_s = time.monotonic() + TIMEOUT_S
        driver.execute(statement.encode())

    def close(self) -> None:
        """End the thread, and wait for it up to 5 s."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._waker.close()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=_JOIN_S)


class PostgresqlCluster(ServerCluster):
    """The cluster in a PostgreSQL database."""

    _ring_others = True

    def __init__(
        self, address: str, *, prefix: str = PREFIX, timeout_s: float = TIMEOUT_S, poll_s: float = POLL_S
    ) -> None:
        """Connect; the job store has made the tables.

        Args:
            address: postgresql://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE, as libpq takes it.
            prefix: what the tables' names begin with.
            timeout_s: how long a call may take; well below the terms' ttl.
            poll_s: how late a change is seen whose bell was lost.

        Raises:
            InvalidArgument: Raised when the address can't be read.
            ClusterUnavailable: Raised when the server can't be reached, or has no cluster's tables.
        """
        name = _name_of(address)
        self._connect = partial(PostgresqlLink, address, name, load("postgresql", prefix), timeout_s)
        self._listener: Listener | None = None
        self._starting = threading.Lock()
        super().__init__(name, self._connect, timeout_s=timeout_s, poll_s=poll_s)

    @property
    def _bell(self) -> str:
        return "callboard_" + hashlib.sha256(self._cluster_id.encode()).hexdigest()[:32]

    def _listen(self) -> None:
        with self._starting:
            if self._listener is None:
                self._listener = Listener(partial(self._connect, TIMEOUT_S), self._bell, self._follower.ring)

    def close(self) -> None:
        """Close connections and end the threads; harmless when repeated."""
        with self._starting:
            if self._listener is not None:
                self._listener.close()
        super().close()


def _name_of(address: str) -> str:
    """The address without its password."""
    try:
        parts = conninfo.conninfo_to_dict(address)
    except psycopg.Error:  # its text may show the password
        raise InvalidArgument("the address of a PostgreSQL cluster can't be read: it is postgresql://USER:PASSWORD@HOST:"
                              "PORT/DATABASE, with %-codes for what is not a letter or digit in user and password"
                              ) from None
    user, host, port, database = (parts.get(part) or "" for part in ("user", "host", "port", "dbname"))
    return f"postgresql://{user}@{host}:{port}/{database}"

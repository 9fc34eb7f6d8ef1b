"""Connections to one server: a bounded pool, explicit timeouts, no hidden retries, nothing shared with a fork."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from weakref import WeakSet

import redis
from redis import exceptions as errors
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry

from callboard.core.errors import StoreError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .address import Address

_KINDS: Final[dict[str, Callable[..., object]]] = {
    "redis": Connection, "rediss": SSLConnection, "redis+unix": UnixDomainSocketConnection,
}
_CODES: Final = {
    "LOADING": "it is still loading its data",
    "BUSY": "a script has kept it busy for too long",
    "OOM": "its memory is full (maxmemory), nothing was written; give it more",
    "MISCONF": "it can't write to its disk, nothing was written; make room",
    "READONLY": "it is a replica and takes no writes; name the primary",
    "NOREPLICAS": "it has too few replicas to take writes",
    "MASTERDOWN": "its primary is away",
    "CLUSTERDOWN": "its cluster is down",
    "MOVED": "another server of its cluster has the data; name that one",
    "NOAUTH": "it wants a password; put it into the address",
    "WRONGPASS": "it does not know this user and password",
    "NOPERM": "this user may not do that; see the guide for the rights that are needed",
}


class Wire(Protocol):
    """What is used of redis-py's connection, which is not typed."""

    def connect(self) -> None:
        """Connect, and greet the server."""

    def disconnect(self) -> None:
        """Close the socket; in a forked child without a word to the server."""

    def can_read(self, timeout: float) -> bool:
        """Whether something came, or the end."""
        ...

    def send_packed_command(self, command: Sequence[bytes], *, check_health: bool) -> None:
        """Send bytes as they are."""

    def read_response(self, *, timeout: float = ...) -> Any:
        """The next answer; raises what the server answers with as an error."""
        ...


class Sent(StoreUnavailable):
    """Raised when a command was sent and no answer came: whether it was carried out is unknown."""


class Refused(Exception):
    """Raised when the server answered with an error that is not one of its states; `code` is its first word."""

    def __init__(self, code: str, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.code = code


class Link:
    """A few connections to one server. Any thread may call; in a forked child the pool begins anew."""

    def __init__(self, address: Address, *, connect_s: float, answer_s: float, most: int) -> None:
        """Connect to nothing yet.

        Args:
            address: where to.
            connect_s: how long connecting may take.
            answer_s: how long an answer may take.
            most: connections at most; who finds all in use waits up to answer_s.
        """
        self.address = address
        self._connect_s = connect_s
        self._answer_s = answer_s
        self._most = most
        self._closed = False
        self._idle: list[Wire] = []
        self._begin()
        _everyone.add(self)

    def call(self, packed: bytes, answer_s: float | None = None) -> Any:
        """Send one packed command and wait for its answer.

        Raises:
            StoreUnavailable: Raised when the server can't be reached or refuses in its present state; nothing was sent.
            Sent: Raised when it was sent, or may have been, and no answer came.
            Refused: Raised when the server answers with another error.
        """
        connection = self._borrow()
        sound = False
        try:
            answer = self._exchange(connection, packed, answer_s)
            sound = True
        except Refused:
            sound = True
            raise
        finally:
            self._give_back(connection, sound=sound)
        return answer

    def connect(self) -> Wire:
        """A connection of the caller's own, not counted: it must disconnect it.

        Raises:
            StoreUnavailable: Raised when the server can't be reached.
        """
        connection = self._make()
        self._open(connection)
        return connection

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back. Harmless when repeated."""
        self._closed = True
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.disconnect()

    def after_fork(self) -> None:
        """In a child: the parent's connections are none of ours. They are dropped without a word to the server."""
        for connection in self._idle:
            connection.disconnect()  # closes this process's copy only: redis-py compares the process id
        self._begin()

    def error(self, what: str, cause: BaseException) -> StoreUnavailable:
        """The server can't be used, and why."""
        return StoreUnavailable(f"job store {self.address.shown}: {what}", cause=cause)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._free = threading.Semaphore(self._most)
        self._idle = []

    def _make(self) -> Wire:
        if self._closed:
            raise StoreUnavailable(f"job store {self.address.shown}: it was closed")
        return cast("Wire", _KINDS[self.address.scheme](
            socket_connect_timeout=self._connect_s, socket_timeout=self._answer_s, protocol=2,
            retry=Retry(NoBackoff(), 0), retry_on_timeout=False, health_check_interval=0, **self.address.arguments))

    def _borrow(self) -> Wire:
        if not self._free.acquire(timeout=self._answer_s):
            raise StoreUnavailable(f"job store {self.address.shown}: all {self._most} connections have been in use for "
                                   f"{self._answer_s:g} s")
        try:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is not None and self._stale(connection):
                connection.disconnect()
                connection = None
            if connection is None:
                connection = self._make()
                self._open(connection)
        except BaseException:
            self._free.release()
            raise
        return connection

    @staticmethod
    def _stale(connection: Wire) -> bool:
        """The server has closed an idle connection, or said something that nobody asked for."""
        try:
            return bool(connection.can_read(timeout=0))
        except (redis.RedisError, OSError):
            return True

    def _give_back(self, connection: Wire, *, sound: bool) -> None:
        if sound and not self._closed:
            with self._lock:
                self._idle.append(connection)
        else:
            connection.disconnect()
        self._free.release()

    def _open(self, connection: Wire) -> None:
        try:
            connection.connect()
        except redis.ResponseError as error:
            connection.disconnect()
            raise self._translate(error) from error
        except (redis.RedisError, OSError) as error:
            connection.disconnect()
            raise self.error(f"can't be reached: {_plain(error)}", error) from error

    def _exchange(self, connection: Wire, packed: bytes, answer_s: float | None) -> Any:
        try:
            connection.send_packed_command([packed], check_health=False)
            if answer_s is None:
                return connection.read_response()
            return connection.read_response(timeout=answer_s)
        except redis.ResponseError as error:
            raise self._translate(error) from error
        except errors.BusyLoadingError as error:
            raise self.error(_CODES["LOADING"], error) from error
        except (redis.AuthenticationError, errors.AuthorizationError) as error:
            raise self.error(_plain(error), error) from error
        except errors.InvalidResponse as error:
            raise StoreError(f"job store {self.address.shown}: does not speak Redis's protocol", cause=error) from error
        except (redis.RedisError, OSError) as error:
            raise Sent(f"job store {self.address.shown}: no answer came: {_plain(error)}", cause=error) from error

    def _translate(self, error: redis.ResponseError) -> Exception:
        """redis-py takes some codes off the message, and makes classes of them."""
        code, message = _code_of(error), str(error)
        if code in _CODES:
            return self.error(_CODES[code], error)
        return Refused(code, message)


_CLASSES: Final = (
    (errors.NoScriptError, "NOSCRIPT"),
    (errors.OutOfMemoryError, "OOM"),
    (errors.ReadOnlyError, "READONLY"),
    (errors.NoPermissionError, "NOPERM"),
    (errors.MovedError, "MOVED"),
    (errors.MasterDownError, "MASTERDOWN"),
    (errors.ClusterDownError, "CLUSTERDOWN"),
)
_IN_SCRIPT: Final = (("OOM ", "OOM"), ("MISCONF ", "MISCONF"), ("READONLY ", "READONLY"), ("NOREPLICAS ", "NOREPLICAS"),
                     ("NOPERM ", "NOPERM"))


def _code_of(error: redis.ResponseError) -> str:
    for kind, code in _CLASSES:
        if isinstance(error, kind):
            return code
    message = str(error)
    for start, code in _IN_SCRIPT:  # "Error running script ...: -OOM command not allowed"
        if message.startswith(start) or f"-{start}" in message:
            return code
    return message.partition(" ")[0]


def _plain(error: BaseException) -> str:
    """The message on one line, bounded."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


_everyone: Final[WeakSet[Link]] = WeakSet()


def _after_fork() -> None:
    for link in tuple(_everyone):
        with suppress(OSError):
            link.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def pack(*parts: bytes) -> bytes:
    """A command in Redis's protocol."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def info_of(link: Link, sections: Sequence[bytes]) -> dict[str, str]:
    """Lines of INFO by name."""
    found: dict[str, str] = {}
    for section in sections:
        text = link.call(pack(b"INFO", section))
        for line in bytes(text).decode("utf-8", "replace").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                found[name] = value.strip()
    return found

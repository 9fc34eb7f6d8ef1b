"""One ZooKeeper session: kazoo's client, with a deadline for each call and what kazoo does not tell.

A session has one timeout, which the server grants and kazoo does not say; and kazoo sends what was asked while it was
disconnected once it is connected again, however late. So nothing is asked of a session that is not connected.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from kazoo.client import KazooClient  # type: ignore[import-untyped]  # kazoo has no types
from kazoo.exceptions import (  # type: ignore[import-untyped]  # as above
    AuthFailedError,
    InvalidACLError,
    KazooException,
    NoAuthError,
    SessionExpiredError,
)
from kazoo.handlers.threading import SequentialThreadingHandler  # type: ignore[import-untyped]  # as above
from kazoo.protocol.connection import ConnectionHandler  # type: ignore[import-untyped]  # as above
from kazoo.protocol.states import KazooState  # type: ignore[import-untyped]  # as above
from kazoo.security import CREATOR_ALL_ACL  # type: ignore[import-untyped]  # as above

from callboard.backends.clock import SystemClock
from callboard.core.errors import ClusterUnavailable

from .requests import ANSWERS, sync

if TYPE_CHECKING:
    from collections.abc import Callable

    from .address import Address
    from .requests import Request

SESSION_MIN_S: Final = 1.0
"""kazoo pings up to 0.4 s late: a shorter session would end while its holder lives."""
_RETRY: Final = {"max_tries": -1, "delay": 0.05, "backoff": 2, "max_jitter": 0.4, "max_delay": 1.0}
_WATCH_XID: Final = -1
_LOG: Final = logging.getLogger(__name__)
_clock = SystemClock()


class SessionOver(ClusterUnavailable):
    """Raised when the session is over, and with it what it held."""


class Refused(ClusterUnavailable):
    """Raised when the server may be reached and not used: no rights."""


class _Reasons(logging.Logger):
    """Keeps kazoo's last warning for our messages, and writes none: it would tell passwords at DEBUG, and flood."""

    def __init__(self) -> None:
        super().__init__("kazoo of callboard", logging.WARNING)
        self.last = "no answer"

    def handle(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        self.last = record.getMessage()[:200]


class _Connection(ConnectionHandler):  # type: ignore[misc]  # kazoo has no types
    """Tells the session's timeout, and when the server was last heard to answer something that was sent."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.granted_s = 0.0
        self.contact_s = 0.0
        self._sent: deque[float] = deque()

    @property
    def alive(self) -> bool:
        """Whether its thread runs: kazoo's ends for good at what it does not understand, and at a refused login."""
        return self._connection_routine is not None and self._connection_routine.is_alive()

    def _connect(self, host: str, hostip: str, port: int) -> tuple[float, float]:
        self._sent.clear()
        read_ms, connect_ms = super()._connect(host, hostip, port)
        self.granted_s = read_ms * 1.5 / 1000  # kazoo keeps two thirds of it only
        self._sent.clear()
        return read_ms, connect_ms

    def _submit(self, request: Any, timeout: float, xid: int | None = None) -> None:
        self._sent.append(_clock.boot_s())
        super()._submit(request, timeout, xid)

    def _read_header(self, timeout: float) -> Any:
        found = super()._read_header(timeout)
        if found[0].xid != _WATCH_XID and self._sent:
            self.contact_s = self._sent.popleft()  # when it was sent: an answer may have lain here for long
        return found


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """Gives a server that does not answer up soon enough to try the next."""

    def __init__(self, connect_s: float) -> None:
        super().__init__()
        self._connect_s = connect_s

    def create_connection(self, *arguments: Any, **options: Any) -> Any:
        """Connect, within our own time instead of the session's."""
        options["timeout"] = min(options.get("timeout") or self._connect_s, self._connect_s)
        return super().create_connection(*arguments, **options)


class Session:
    """A session with one ensemble; after its end kazoo begins another with the same client, with another id."""

    def __init__(self, address: Address, asked_s: float, timeout_s: float,
                 changed: Callable[[], None] | None = None) -> None:
        """Connect to nothing yet.

        Args:
            address: where.
            asked_s: how long the server shall keep it unheard; it grants what it likes, see `granted_s`.
            timeout_s: how long connecting, and each call, may take.
            changed: called when the connection comes or goes; must not block.
        """
        self._address = address
        self._asked_s = max(asked_s, SESSION_MIN_S)
        self._timeout_s = timeout_s
        self._changed = changed or (lambda: None)
        self._connected = threading.Event()
        self._starting = threading.Lock()
        self._pid = os.getpid()
        self._closed = False
        self.over = False
        """Whether a session of this client has ended."""
        self._client: Any = None
        self._reasons = _Reasons()

    @property
    def id(self) -> int:
        """The session's number; 0 while it is not connected."""
        found = self._client.client_id if self._client is not None else None
        return (found[0] or 0) if found else 0

    @property
    def granted_s(self) -> float:
        """The session's timeout, as the server granted it; known after the first answer."""
        return float(self._client._connection.granted_s)  # noqa: SLF001 - our own handler's

    @property
    def contact_s(self) -> float:
        """The boot clock when that was sent which the server answered last."""
        return float(self._client._connection.contact_s)  # noqa: SLF001 - our own handler's

    def start(self) -> None:
        """Connect, and have something answered.

        Raises:
            ClusterUnavailable: Raised when that takes too long.
        """
        self.ask(sync("/"))

    def ask(self, *requests: Request) -> list[Any]:
        """Send all of them, in this order; their answers, where one may be an error that is about nodes.

        Raises:
            SessionOver: Raised when the session has ended.
            Refused: Raised when the server refuses what was asked.
            ClusterUnavailable: Raised when there is no answer in time: what was asked may have been done, or may be
                done soon.
        """
        ends_s = time.monotonic() + self._timeout_s
        client = self._ready(ends_s)
        try:
            sent = [request(client) for request in requests]
            return [_checked(self._answer(one, ends_s)) for one in sent]
        except SessionExpiredError as error:
            raise SessionOver(f"the session with {self._address.shown} is over", cause=error) from error
        except (NoAuthError, InvalidACLError, AuthFailedError) as error:
            raise Refused(f"{self._address.shown} refuses: check user, password and the rights of the nodes there "
                          f"({type(error).__name__})", cause=error) from error
        except (KazooException, client.handler.timeout_exception) as error:
            raise self._unreachable(type(error).__name__) from error

    def send(self, request: Request, done: Callable[[Any], None]) -> None:
        """Send, and do not wait: `done` is called with kazoo's result, from a thread of kazoo's; it must not block."""
        if self._client is not None:
            request(self._client).rawlink(done)

    def close(self) -> None:
        """End the session, and with it what it holds; harmless when repeated. Takes up to the session's timeout."""
        with self._starting:
            self._closed = True
            client = self._client
        self._connected.set()
        if client is not None:
            _end(client)

    def _answer(self, result: Any, ends_s: float) -> Any:
        try:
            return result.get(timeout=max(0.001, ends_s - time.monotonic()))
        except ANSWERS as error:
            return error

    def _ready(self, ends_s: float) -> Any:
        """Kazoo's client, once it is connected."""
        if self._pid != os.getpid():
            raise SessionOver("this cluster backend was opened before a fork, its threads stayed there; open another")
        with self._starting:
            if self._closed:
                raise SessionOver("this cluster backend was closed; open another")
            if self._client is None or not self._client._connection.alive:  # noqa: SLF001 - our own handler's
                self._begin()
            client = self._client
        if not self._connected.wait(max(0.0, ends_s - time.monotonic())):
            raise self._unreachable(self._reasons.last)
        if self._closed:
            raise SessionOver("this cluster backend was closed; open another")
        return client

    def _begin(self) -> None:
        if self._client is not None:  # its thread has died of what a server sent
            threading.Thread(target=_end, args=(self._client,), name="callboard-zookeeper-end", daemon=True).start()
        address = self._address
        handler = _Handler(self._timeout_s / (address.hosts.count(",") + 1))
        client: Any = KazooClient(
            address.hosts, timeout=self._asked_s, handler=handler, connection_retry=_RETRY, logger=self._reasons,
            default_acl=CREATOR_ALL_ACL if address.login else None,
            auth_data=[("digest", address.login)] if address.login else None,
            use_ssl=address.tls, ca=address.files.get("ca"), certfile=address.files.get("cert"),
            keyfile=address.files.get("key"), verify_certs=True, check_hostname=address.tls,
        )
        client._connection = _Connection(  # noqa: SLF001 - kazoo has no other way to learn what was granted
            client, client._connection.retry_sleeper, logger=self._reasons)  # noqa: SLF001 - as above
        client.add_listener(self._state_changed)
        client.start_async()
        self._client = client

    def _state_changed(self, state: str) -> None:
        """Called by kazoo's own thread: must not block."""
        if state == KazooState.CONNECTED:
            self._connected.set()
        else:
            self.over = self.over or state == KazooState.LOST
            if not self._closed:
                self._connected.clear()
        self._changed()

    def _unreachable(self, reason: str) -> ClusterUnavailable:
        return ClusterUnavailable(f"the cluster on {self._address.shown} can't be reached: {reason}")


def _checked(answer: Any) -> Any:
    """A transaction's answers hold errors that are about rights, too."""
    if isinstance(answer, list):
        for one in answer:
            if isinstance(one, KazooException) and not isinstance(one, ANSWERS):
                raise one
    return answer


def _end(client: Any) -> None:
    try:
        client.stop()
        client.close()
    except Exception as error:  # noqa: BLE001 - kazoo raises of many kinds when its thread hangs; the server ends it then
        _LOG.debug("a session did not end cleanly: %s", error)

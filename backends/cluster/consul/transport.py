"""How requests reach an agent: answers within a limit, no redirects, and connections that can be cut from outside."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as NotConnected
from requests.exceptions import RequestException
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

ANSWER_MAX_BYTES: Final = 16 << 20
_CHUNK_BYTES: Final = 1 << 16


class Transport(HTTPAdapter):
    """Of one agent's session. Tries nothing twice: who asked knows whether it may."""

    def __init__(self, connections: int) -> None:
        """Connect to nothing yet.

        Args:
            connections: how many are kept.
        """
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()
        self._closed = False
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)

    def mount(self, session: Session) -> None:
        """Become how this session reaches its agent; what the environment says of proxies does not count."""
        session.trust_env = False
        session.max_redirects = 0  # a redirect would carry the token to wherever it says
        session.mount("http://", self)
        session.mount("https://", self)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """As HTTPAdapter's, with connections that note their sockets."""
        super().init_poolmanager(*arguments, **options)
        noted = self._noted

        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                noted(self.sock)

        class Tls(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                noted(self.sock)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain  # pyright: ignore[reportAssignmentType] # a nested class to it, mypy agrees

        class TlsPool(HTTPSConnectionPool):
            ConnectionCls = Tls  # pyright: ignore[reportAssignmentType] # as above

        pools: Any = self.poolmanager  # typed by the two classes that it has at first
        pools.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}

    def _noted(self, sock: socket.socket | None) -> None:
        with self._lock:
            if sock is not None:
                self._sockets.add(sock)
            if not self._closed:
                return
        self.cut()

    def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:
        """Send, and read an answer within the limit.

        Raises:
            requests.RequestException: Raised when there is none, or it is too long.
        """
        if self._closed:
            raise NotConnected("closed", request=request)
        response = super().send(request, *arguments, **{**options, "stream": True})
        body = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            body += chunk
            if len(body) > ANSWER_MAX_BYTES:
                response.close()
                raise RequestException(f"an answer of more than {ANSWER_MAX_BYTES:,} bytes", request=request)
        vars(response)["_content"] = bytes(body)  # what Response.content would have read without a limit
        return response

    def cut(self) -> None:
        """End every connection, also those that someone waits on; it gets an error at once. None is opened again."""
        with self._lock:
            self._closed = True
            sockets = list(self._sockets)
        for sock in sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

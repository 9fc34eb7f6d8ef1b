"""What the tests of the MariaDB store share."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

import pymysql
from servers import shared

from callboard.backends.store.sql import open_mariadb
from callboard.core.records import NewJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BODY = b"\x81\xa1a\x80"


def prepare(url: str) -> None:
    """Make the tables."""
    open_mariadb(url).close()


def prepare_nothing(_url: str) -> None:
    """Leave it empty."""


def database(how: Callable[[str], None] = prepare):
    """A database of the test's own on the shared server: its address."""
    return shared.database("mariadb", how)


def job(job_id: str, queue: str = "q", **options: Any) -> NewJob:
    """A job."""
    return NewJob(job_id, "app.work", queue, options.pop("body", BODY), **options)


def connect(url: str) -> Any:
    """A plain connection of the driver's, each statement a transaction."""
    at = urlsplit(url)
    return pymysql.connect(host=at.hostname, port=at.port, user=at.username, password=unquote(at.password or ""),
                           database=at.path[1:], autocommit=True)


def asked(url: str, text: str) -> list[Any]:
    """Rows."""
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall())
    finally:
        connection.close()


def at(url: str, host: str, port: int) -> str:
    """The same address at another place."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{host}:{port}"))


class Line:
    """A proxy between clients and the server, which a test may cut.

    Attributes:
        lose: cut when a client sends bytes that contain this: before they are handed on, or, with `after`, once the
            server's answer has come.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = at(url, "127.0.0.1", self._listener.getsockname()[1])
        self.lose: bytes | None = None
        self.after = False
        self.times = 1
        self.lost = 0
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Let nobody in any more."""
        self._open = False
        self._listener.close()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._server) as server:
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for one, other in ((client, server), (server, client)):
                    if one not in ready:
                        continue
                    data = one.recv(1 << 16)
                    if not data or (one is client and self._cuts(data, server)):
                        return
                    other.sendall(data)

    def _cuts(self, data: bytes, server: socket.socket) -> bool:
        if self.lose is None or self.lose not in data or self.lost >= self.times:
            return False
        self.lost += 1
        if self.after:
            server.sendall(data)
            server.recv(1 << 16)
        return True


@contextmanager
def line(url: str) -> Iterator[Line]:
    """A proxy to the server of an address."""
    found = Line(url)
    try:
        yield found
    finally:
        found.close()

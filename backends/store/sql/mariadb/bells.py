"""Bells between nodes: a table of topics that is read every few milliseconds; on one machine also sockets."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from pymysql.err import MySQLError

from callboard.backends.bells import BellHandle, Bells
from callboard.backends.socket_bells import SocketBells
from callboard.backends.store.sql.mariadb.connection import MariadbConnection
from callboard.backends.store.sql.mariadb.literals import Listed, Many
from callboard.core.errors import QueueError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from callboard.backends.store.sql.mariadb.connection import Raw
    from callboard.core.ports import Bell

_LOG: Final = logging.getLogger(__name__)
POLL_MIN_S: Final = 0.005
"""Between two looks while bells ring: a ring from another machine is heard after 2 to 3 ms."""
POLL_MAX_S: Final = 0.05
"""Between two looks after a while without rings."""
_LIVELY_S: Final = 1.0
_SLOWER: Final = 1.2
_PAUSE_MIN_S: Final = 0.1
_PAUSE_MAX_S: Final = 5.0
_KEEP_S: Final = 600
_TIDY_S: Final = 60.0
_TOPIC_CHARS: Final = 64  # as wide as the column


class MariadbBells:
    """Who listens here is rung by every client of the same store; nobody but a slow poll makes up for a lost ring."""

    def __init__(self, connect: Callable[[], Raw], statements: Mapping[str, str], subject: str, wait_s: float) -> None:
        """Connect nothing yet: that is done with the first listener or ring.

        Args:
            connect: opens a connection.
            statements: the dialect's.
            subject: the same for all clients of the store.
            wait_s: how long `listen` waits for the server; without an answer it hears as soon as there is one.
        """
        self._connect = connect
        self._statements = statements
        self._wait_s = wait_s
        self._sender = secrets.token_hex(8)
        self._here = Bells("callboard-bells")
        self._near = SocketBells(subject)
        self._changed = threading.Condition()
        self._listeners: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._to_ring: set[str] = set()
        self._deaf = False
        self._lively_s = 0.0
        self._tidy_s = 0.0
        self._closed = False
        self._pid = 0
        self._thread: threading.Thread | None = None

    def listen(self, topic: str, callback: Callable[[], None]) -> Bell:
        """Call back at each ring of topic, until the handle is closed."""
        here = self._here.listen(topic, callback)
        near: Bell | None = None
        with suppress(StoreUnavailable):  # no safe directory for sockets: the table does it alone
            near = self._near.listen(topic, callback)
        with self._changed:
            self._listeners[topic] = self._listeners.get(topic, 0) + 1
            self._start()
            self._changed.notify_all()
            self._changed.wait_for(lambda: topic in self._seen or self._deaf or self._closed, self._wait_s)
        return _Handle(self, topic, here, near)

    def ring(self, topic: str) -> None:
        """Wake who listens, here and on this machine at once and elsewhere soon. Never blocks, never raises."""
        self._near.ring(topic)
        self._here.ring(topic)
        with self._changed:
            if self._closed:
                return
            self._to_ring.add(topic)
            self._lively_s = time.monotonic()
            self._start()
            self._changed.notify_all()

    def forget(self, topic: str) -> None:
        """One listener less."""
        with self._changed:
            left = self._listeners.get(topic, 0) - 1
            if left > 0:
                self._listeners[topic] = left
            else:
                self._listeners.pop(topic, None)
                self._seen.pop(topic, None)

    def close(self) -> None:
        """Ring and listen no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread if self._pid == os.getpid() else None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)
        self._near.close()
        self._here.close()

    def _start(self) -> None:
        if self._closed or self._pid == os.getpid():
            return
        self._pid = os.getpid()  # a forked child has no thread yet
        self._seen.clear()
        self._deaf = False
        self._thread = threading.Thread(target=self._run, name="callboard-listen", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause_s = _PAUSE_MIN_S
        while not self._closed or self._to_ring:
            begun_s = time.monotonic()
            try:
                self._serve()
            except (MySQLError, OSError, QueueError) as error:
                if not self._closed:
                    _LOG.warning("bells between nodes are silent until the store can be reached again, polling goes "
                                 "on: %s", error)
            except Exception:  # noqa: BLE001 - the thread lives as long as the store; a bug is logged
                _LOG.exception("the thread that listens for bells had a bug; it begins anew")
            pause_s = _PAUSE_MIN_S if time.monotonic() - begun_s > _PAUSE_MAX_S else min(pause_s * 2, _PAUSE_MAX_S)
            with self._changed:
                self._deaf = True  # whoever waits for it polls
                self._changed.notify_all()
                if self._changed.wait_for(lambda: self._closed, pause_s):
                    return

    def _serve(self) -> None:
        raw = self._connect()
        try:
            connection = MariadbConnection(raw)
            poll_s = POLL_MIN_S
            while True:
                topics, to_ring = self._next(poll_s)
                if to_ring:
                    # what was rung just before the end, too: a leader that resigned
                    self._send_or_keep(connection, to_ring)
                if self._closed:
                    return
                if topics:
                    keys = Many(_key(topic) for topic in topics)
                    self._hear(topics, connection.run(self._statements["bells.rung"], (keys,)).fetchall())
                lively = time.monotonic() - self._lively_s < _LIVELY_S
                poll_s = POLL_MIN_S if lively else min(poll_s * _SLOWER, POLL_MAX_S)
        finally:
            if raw.open:
                raw.close()

    def _next(self, poll_s: float) -> tuple[list[str], list[str]]:
        """Wait for the next look: what is listened to, and what is to be rung."""
        with self._changed:
            def due() -> bool:
                return self._closed or bool(self._to_ring) or any(topic not in self._seen for topic in self._listeners)

            self._changed.wait_for(due, poll_s if self._listeners else None)
            to_ring, self._to_ring = sorted(self._to_ring), set()
            return list(self._listeners), to_ring

    def _send_or_keep(self, connection: MariadbConnection, topics: Sequence[str]) -> None:
        """A connection that nobody used may have died meanwhile: what was to be rung then waits for the next one."""
        try:
            self._send(connection, topics)
        except (MySQLError, OSError):
            with self._changed:
                self._to_ring.update(topics)
            raise

    def _send(self, connection: MariadbConnection, topics: Sequence[str]) -> None:
        now_s = round(time.time())
        rows = [Many((_key(topic), secrets.randbits(63), self._sender, now_s)) for topic in topics]
        connection.run(self._statements["bells.ring"], (Listed(rows),))
        if time.monotonic() - self._tidy_s > _TIDY_S:
            self._tidy_s = time.monotonic()
            connection.run(self._statements["bells.drop_old"], (_KEEP_S,))

    def _hear(self, topics: Sequence[str], rows: Sequence[Any]) -> None:
        found = {key: (rung, sender) for key, rung, sender in rows}
        heard: list[str] = []
        with self._changed:
            missed, self._deaf = self._deaf, False
            for topic in topics:
                rung, sender = found.get(_key(topic), (0, ""))
                before = self._seen.get(topic)
                if topic in self._listeners:
                    self._seen[topic] = rung
                if (before is None and missed) or (before not in (None, rung) and rung and sender != self._sender):
                    heard.append(topic)
            if missed:
                heard = list(topics)  # it may have been rung while nobody listened
            if heard:
                self._lively_s = time.monotonic()
            self._changed.notify_all()
        for topic in heard:
            self._here.ring(topic)


def _key(topic: str) -> str:
    """The topic's name in the table: of a long one, a digest."""
    if len(topic) <= _TOPIC_CHARS:
        return topic
    return f"#{sha256(topic.encode()).hexdigest()[: _TOPIC_CHARS - 1]}"


class _Handle:
    """One listener; `callboard.core.ports.Bell`."""

    def __init__(self, bells: MariadbBells, topic: str, here: BellHandle, near: Bell | None) -> None:
        """Remember what to close."""
        self._bells: MariadbBells | None = bells
        self._topic = topic
        self._here = here
        self._near = near

    def close(self) -> None:
        """Stop calling back. Harmless when repeated."""
        bells, self._bells = self._bells, None
        if bells is not None:
            self._here.close()
            if self._near is not None:
                self._near.close()
            bells.forget(self._topic)

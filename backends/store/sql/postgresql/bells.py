"""Bells through LISTEN and NOTIFY: one connection and one thread of its own, for all topics of an installation."""

from __future__ import annotations

import logging
import os
import secrets
import selectors
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import psycopg

from callboard.backends.bells import BellHandle, Bells

from .errors import said
from .text import ours

if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Link

_LOG: Final = logging.getLogger(__name__)
_PAUSE_MIN_S: Final = 0.1
_PAUSE_MAX_S: Final = 5.0
_LOOK_S: Final = 10.0  # a connection that was silent for so long is asked whether it lives
_RING: Final = "SELECT pg_notify($1::text, t.topic) FROM unnest($2::text[]) AS t (topic)"


class PostgresqlBells:
    """Who listens here is rung by every client of the same store; nobody but a slow poll makes up for a lost ring."""

    def __init__(self, connect: Callable[[], Link], channel: str, wait_s: float) -> None:
        """Connect nothing yet: that is done with the first listener or ring.

        Args:
            connect: opens a connection.
            channel: of this installation.
            wait_s: how long the first `listen` waits for the server; without an answer it listens as soon as there is.
        """
        self._connect = connect
        self.channel = channel
        self._wait_s = wait_s
        self._sender = secrets.token_hex(4)
        self._here = Bells("callboard-bells")
        self._lock = threading.Lock()
        self._to_ring: set[str] = set()
        self._listens = threading.Event()
        self._topics: set[str] = set()
        self._closed = False
        self._deaf = False
        self._pid = 0
        self._wake_fd = -1
        self._thread: threading.Thread | None = None

    def listen(self, topic: str, callback: Callable[[], None]) -> BellHandle:
        """Call back at each ring of topic, until the handle is closed."""
        handle = self._here.listen(topic, callback)
        with self._lock:
            self._topics.add(topic)
        self._start()
        self._listens.wait(self._wait_s)
        return handle

    def ring(self, topic: str) -> None:
        """Wake who listens, here at once and elsewhere soon. Never blocks, never raises."""
        self.ring_here(topic)
        with self._lock:
            if self._closed:
                return
            self._to_ring.add(topic)
        self._start()
        self._nudge()

    def ring_here(self, topic: str) -> None:
        """Wake who listens in this process."""
        self._here.ring(topic)

    def payload(self, topic: str) -> str:
        """What a notification says; our own are not heard twice."""
        return f"{self._sender}:{topic}"

    def close(self) -> None:
        """Ring and listen no more."""
        with self._lock:
            self._closed = True
        self._nudge()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and self._pid == os.getpid():
            thread.join(timeout=5.0)
        self._here.close()

    def _nudge(self) -> None:
        with self._lock, suppress(OSError):
            if self._wake_fd >= 0:
                os.write(self._wake_fd, b"\0")

    def _start(self) -> None:
        with self._lock:
            if self._closed or self._pid == os.getpid():
                return
            self._pid = os.getpid()  # a forked child has no thread yet
            self._listens.clear()
            self._deaf = False
            read_fd, self._wake_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self._thread = threading.Thread(target=self._run, args=(read_fd,), name="callboard-listen", daemon=True)
            self._thread.start()

    def _run(self, wake_fd: int) -> None:
        pause_s = _PAUSE_MIN_S
        while not self._closed:
            begun_s = time.monotonic()
            try:
                self._serve(wake_fd)
            except (psycopg.Error, OSError) as error:
                text = said(error) if isinstance(error, psycopg.Error) else str(error)
                _LOG.warning("bells between nodes are silent until the store can be reached again, polling goes on: %s",
                             text)
            except Exception:  # noqa: BLE001 - the thread lives as long as the store; a bug is logged
                _LOG.exception("the thread that listens for bells had a bug; it begins anew")
            self._listens.set()  # whoever waits for it polls
            pause_s = _PAUSE_MIN_S if time.monotonic() - begun_s > _PAUSE_MAX_S else min(pause_s * 2, _PAUSE_MAX_S)
            if not self._closed:
                time.sleep(pause_s)
        with self._lock:
            os.close(self._wake_fd)
            self._wake_fd = -1
        os.close(wake_fd)

    def _serve(self, wake_fd: int) -> None:
        link = self._connect()
        try:
            raw = link.raw
            raw.add_notify_handler(self._hear)
            raw.execute(ours(f'LISTEN "{self.channel}"'))
            with self._lock:
                missed = sorted(self._topics) if self._deaf else []
                self._deaf = True
            for topic in missed:  # it may have been rung while nobody listened
                self.ring_here(topic)
            self._listens.set()
            with selectors.DefaultSelector() as selector:
                selector.register(raw.pgconn.socket, selectors.EVENT_READ)
                selector.register(wake_fd, selectors.EVENT_READ)
                while not self._closed:
                    ready = {key.fd for key, _ in selector.select(_LOOK_S)}
                    if wake_fd in ready:
                        os.read(wake_fd, 4096)
                    self._send(link, alive=not ready)
                    raw.pgconn.consume_input()
                    while (heard := raw.pgconn.notifies()) is not None:
                        self._hear_payload(heard.extra.decode())
        finally:
            link.close()

    def _send(self, link: Link, *, alive: bool) -> None:
        with self._lock:
            topics, self._to_ring = sorted(self._to_ring), set()
        if topics or alive:
            link.run(_RING, (self.channel, [self.payload(topic) for topic in topics]))

    def _hear(self, notify: Any) -> None:
        self._hear_payload(notify.payload)

    def _hear_payload(self, payload: str) -> None:
        sender, _, topic = payload.partition(":")
        if sender != self._sender:
            self.ring_here(topic)

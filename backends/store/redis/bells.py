"""Bells through the server's publish and subscribe: a hint, which may be late, doubled or lost.

One connection hears; its thread alone uses it. Who listens to a new topic wakes that thread by publishing to it. One
thread sends: a ring never waits for the server, and rings of one topic that gather meanwhile are one.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import threading
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import redis

from callboard.backends.bells import Bells
from callboard.core.errors import QueueError

from .link import pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.backends.bells import BellHandle

    from .link import Link, Wire

_LOG: Final = logging.getLogger(__name__)
_SUBSCRIBED_S: Final = 2.0
"""How long listen() waits until the server knows of it; then it goes on without."""
_QUIET_S: Final = 15.0
"""After so long without a word the connection is asked whether it lives."""
_PAUSE_MAX_S: Final = 2.0


class RedisBells:
    """Topics of one store; threads start with the first listener and the first ring."""

    def __init__(self, link: Link, prefix: bytes) -> None:
        """Start nothing yet.

        Args:
            link: the server.
            prefix: of the channels: a topic's name follows.
        """
        self._link = link
        self._prefix = prefix
        self._closed = False
        self._hearing: threading.Thread | None = None
        self._ringing: threading.Thread | None = None
        self._asked_for: tuple[Wire | None, set[str]] = (None, set())
        self._begin()
        _everyone.add(self)

    def listen(self, topic: str, callback: Callable[[], None]) -> BellHandle:
        """Call back, from the bells' thread, when topic is rung; the callback must not block."""
        handle = self._bells.listen(topic, callback)
        with self._wake:
            known = topic in self._topics
            self._topics.add(topic)
            if self._hearing is None and not self._closed:
                self._hearing = threading.Thread(target=self._hear, name="callboard-redis-ears", daemon=True)
                self._hearing.start()
        if not known:
            self.ring(self._own)
        with self._wake:
            self._wake.wait_for(lambda: topic in self._heard or self._closed, _SUBSCRIBED_S)
        return handle

    def ring(self, topic: str) -> None:
        """Wake who listens. Never blocks, never raises."""
        with self._wake:
            if self._closed or topic in self._to_ring:
                return
            self._to_ring[topic] = None
            if self._ringing is None:
                self._ringing = threading.Thread(target=self._ring, name="callboard-redis-bells", daemon=True)
                self._ringing.start()
            self._wake.notify_all()

    def close(self) -> None:
        """End the threads; harmless when repeated."""
        with self._wake:
            self._closed = True
            connection = self._connection
            self._wake.notify_all()
        if connection is not None:
            connection.disconnect()  # ends the read that the hearing thread waits in
        for thread in (self._hearing, self._ringing):
            if thread is not None and thread is not threading.current_thread():
                thread.join(timeout=5.0)
        self._bells.close()

    def after_fork(self) -> None:
        """In a child: the parent's threads are not here. Listeners of the parent are not the child's."""
        self._begin()

    def _begin(self) -> None:
        self._bells = Bells("callboard-redis-calls")
        self._own = f"own-{secrets.token_hex(8)}"
        self._wake = threading.Condition()
        self._topics: set[str] = {self._own}
        self._heard: set[str] = set()
        self._before: set[str] = set()  # topics of a connection that has ended
        self._to_ring: dict[str, None] = {}
        self._hearing = self._ringing = None
        self._connection: Wire | None = None

    # The thread that rings --------------------------------------------------------------------------------------------

    def _ring(self) -> None:
        while True:
            with self._wake:
                while not self._to_ring and not self._closed:
                    self._wake.wait()
                if self._closed:
                    return
                topics = list(self._to_ring)
                self._to_ring.clear()
            for topic in topics:
                try:
                    self._link.call(pack(b"PUBLISH", self._prefix + topic.encode(), b""))
                except Exception as error:  # noqa: BLE001 - a hint: who does not hear it polls
                    _LOG.debug("the bell %s was not rung: %s", topic, error)

    # The thread that hears --------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        pause_s = 0.05
        while not self._closed:
            try:
                connection = self._link.connect()
            except (QueueError, redis.RedisError, OSError) as error:
                _LOG.debug("bells of %s can't be heard: %s", self._link.address.shown, error)
                with self._wake:
                    self._wake.wait_for(lambda: self._closed, pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause_s = min(2 * pause_s, _PAUSE_MAX_S)
                continue
            pause_s = 0.05
            with self._wake:
                self._connection = connection
                again = set(self._before)
            try:
                self._attend(connection, again)
            except (QueueError, redis.RedisError, OSError, ValueError) as error:
                if not self._closed:
                    _LOG.debug("bells of %s are not heard any more: %s", self._link.address.shown, error)
            finally:
                with self._wake:
                    self._connection = None
                    self._before |= self._heard - {self._own}
                    self._heard.clear()
                connection.disconnect()

    def _attend(self, connection: Wire, missed: set[str]) -> None:
        """Hear until the connection ends. What was rung since the one before it ended was missed: it counts as rung."""
        asked = False
        while not self._closed:
            self._subscribe(connection)
            if not connection.can_read(timeout=_QUIET_S):
                if asked:
                    raise OSError("the server is silent")
                connection.send_packed_command([pack(b"PING")], check_health=False)
                asked = True
                continue
            asked = False
            self._note(connection.read_response())
            if missed and missed <= self._heard:
                for topic in missed:
                    self._bells.ring(topic)
                missed = set()
                self._before.clear()

    def _subscribe(self, connection: Wire) -> None:
        with self._wake:
            new = self._topics - self._heard - self._subscribing(connection)
        if new:
            channels = [self._prefix + topic.encode() for topic in sorted(new)]
            connection.send_packed_command([pack(b"SUBSCRIBE", *channels)], check_health=False)
            self._asked_for = (connection, self._subscribing(connection) | new)

    def _subscribing(self, connection: Wire) -> set[str]:
        """Topics that this connection has been told to hear."""
        return self._asked_for[1] if self._asked_for[0] is connection else set()

    def _note(self, said: Any) -> None:
        if not isinstance(said, list) or len(said) != 3 or not isinstance(said[1], bytes):  # noqa: PLR2004 - as Redis says
            return
        kind, channel, _ = said
        topic = channel.removeprefix(self._prefix).decode("utf-8", "replace")
        if kind == b"message":
            self._bells.ring(topic)
        elif kind == b"subscribe":
            with self._wake:
                self._heard.add(topic)
                self._wake.notify_all()


_everyone: Final[WeakSet[RedisBells]] = WeakSet()


def _after_fork() -> None:
    for bells in tuple(_everyone):
        bells.after_fork()


os.register_at_fork(after_in_child=_after_fork)

"""Bells within one process: whoever listens to a topic is called back from one thread, never from the ringer's."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG: Final = logging.getLogger(__name__)


class Bells:
    """Topics and who listens to them.

    Rings of one topic that come while the thread is busy are one call. The thread starts with the first listener, and
    is a daemon: a program that forgets to close a store still ends.
    """

    def __init__(self, name: str) -> None:
        """Name the thread."""
        self._name = name
        self._wake = threading.Condition()
        self._listeners: dict[str, dict[int, Callable[[], None]]] = {}
        self._rung: dict[str, None] = {}  # an ordered set
        self._next_key = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def listen(self, topic: str, callback: Callable[[], None]) -> BellHandle:
        """Call back at each ring of topic, until the handle is closed; the callback must not block."""
        with self._wake:
            self._next_key += 1
            self._listeners.setdefault(topic, {})[self._next_key] = callback
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            return BellHandle(self, topic, self._next_key)

    def ring(self, topic: str) -> None:
        """Wake who listens to topic. Never blocks on a callback, never raises."""
        with self._wake:
            if topic in self._listeners and topic not in self._rung and not self._closed:
                self._rung[topic] = None
                self._wake.notify()

    def close(self) -> None:
        """End the thread, and wait for it up to 5 s; called from a callback, it does not wait."""
        with self._wake:
            self._closed = True
            self._listeners.clear()
            self._wake.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)

    def forget(self, topic: str, key: int) -> None:
        """Stop calling one listener."""
        with self._wake:
            listeners = self._listeners.get(topic, {})
            listeners.pop(key, None)
            if not listeners:
                self._listeners.pop(topic, None)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._rung and not self._closed:
                    self._wake.wait()
                if self._closed:
                    return
                callbacks = [call for topic in self._rung for call in self._listeners.get(topic, {}).values()]
                self._rung.clear()
            for callback in callbacks:
                try:
                    callback()
                except Exception:  # noqa: BLE001 - one listener's bug must not silence the others; it is logged
                    _LOG.exception("a bell's callback failed; the others are still called")


class BellHandle:
    """One listener; `callboard.core.ports.Bell`."""

    def __init__(self, bells: Bells, topic: str, key: int) -> None:
        """Remember what to forget."""
        self._bells = bells
        self._topic = topic
        self._key = key

    def close(self) -> None:
        """Stop calling back. Harmless when repeated."""
        self._bells.forget(self._topic, self._key)

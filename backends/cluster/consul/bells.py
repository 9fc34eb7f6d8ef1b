"""Threads that wait in blocking queries and ring when something has changed."""

from __future__ import annotations

import logging
import random
import threading
from typing import TYPE_CHECKING, Final

from callboard.core.errors import ClusterUnavailable

from .link import NOT_FOUND, OK

if TYPE_CHECKING:
    from collections.abc import Callable

    from .link import Link

HOLD_S: Final = 10.0
"""How long an agent keeps a query without an answer; up to a sixteenth longer."""
_AGAIN_S: Final = (0.1, 0.5)
_JOIN_S: Final = 5.0
_LOG: Final = logging.getLogger(__name__)


class Bells:
    """Rings; the link is for nothing else. Nothing listens until it is asked to."""

    def __init__(self, link: Link, ring: Callable[[], None]) -> None:
        """Listen to nothing yet."""
        self._link = link
        self._ring = ring
        self._closed = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def listen(self, path: str, *params: tuple[str, str | int]) -> None:
        """Ring when what this reads has changed; harmless when repeated."""
        with self._lock:
            if path in self._threads or self._closed.is_set():
                return
            thread = threading.Thread(target=self._run, args=(path, params), name="callboard-consul-bells", daemon=True)
            self._threads[path] = thread
            thread.start()

    def _run(self, path: str, params: tuple[tuple[str, str | int], ...]) -> None:
        index = 0
        while not self._closed.is_set():
            seen = self._wait(path, params, index)
            if self._closed.is_set():
                return
            if seen is None:
                index = 0
                # jitter: all nodes come back to a server that has restarted
                self._closed.wait(random.uniform(*_AGAIN_S))  # noqa: S311 - no secret
                continue
            if seen != index:
                self._ring()
            index = seen if seen >= index else 0  # an index that went back is another log's: begin anew

    def _wait(self, path: str, params: tuple[tuple[str, str | int], ...], index: int) -> int | None:
        try:
            answer = self._link.get(path, *params, ("index", index), ("wait", f"{round(HOLD_S)}s"))
        except ClusterUnavailable as error:
            if not self._closed.is_set():
                _LOG.debug("bells of the cluster on Consul are silent for now: %s", error)
            return None
        if answer.status not in {OK, NOT_FOUND}:
            return None
        return max(answer.cursor, 1)  # 0 would not wait

    def close(self) -> None:
        """End the threads."""
        with self._lock:
            self._closed.set()
            threads = list(self._threads.values())
        self._link.close()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(_JOIN_S)

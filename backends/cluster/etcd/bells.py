"""A thread that hears from etcd when keys change."""

from __future__ import annotations

import logging
import queue
import random
import threading
from typing import TYPE_CHECKING, Any, Final

import grpc  # type: ignore[import-untyped]  # the package has no types

from callboard.core.errors import ClusterUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .link import Link

STREAM_S: Final = 60.0
"""How long a stream may be deaf at most: it is begun anew after that, whatever it says of itself."""
_PAUSE_S: Final = 0.5
_JOIN_S: Final = 5.0
_LOG: Final = logging.getLogger(__name__)


class EtcdBells:
    """Rings when a watched key changes, and when a watch begins: what changed before is not missed.

    No watch is resumed: who is rung reads what there is, by revision, so a compaction can take nothing away.
    """

    def __init__(self, link: Link, requests: Sequence[Any], ring: Callable[[], None]) -> None:
        """Watch nothing yet.

        Args:
            link: a link of the bells' own.
            requests: what to watch.
            ring: called from this thread.
        """
        self._link = link
        self._requests = requests
        self._ring = ring
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._stream: Any = None
        self._thread: threading.Thread | None = None

    def listen(self) -> None:
        """Begin; harmless when repeated."""
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="callboard-etcd-bells", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread, and wait for it up to 5 s, unless it is this one. Harmless when repeated."""
        with self._lock:
            self._closing.set()
            if self._stream is not None:
                self._stream.cancel()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=_JOIN_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._hear()
            except grpc.RpcError as error:
                if not self._closing.is_set() and getattr(error, "code", None):
                    self._heard_no_more(error)
            except (ClusterUnavailable, ValueError) as error:  # ValueError: the channel was closed
                _LOG.debug("no bells from etcd, trying again: %s", error)
            self._closing.wait(_PAUSE_S * (0.5 + random.random()))  # noqa: S311 - spreads reconnects, no secret

    def _heard_no_more(self, error: Any) -> None:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return  # its time was over
        _LOG.debug("no bells from etcd, trying again: %s", self._link.failed(error))

    def _hear(self) -> None:
        """Ring for what one stream tells, until it ends."""
        asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for request in self._requests:
            asked.put(request)
        stream = self._link.watch(_each(asked), STREAM_S * (0.5 + random.random() / 2))  # noqa: S311 - as above
        with self._lock:
            self._stream = stream
            if self._closing.is_set():
                stream.cancel()
        try:
            for answer in stream:
                if answer.canceled:
                    return
                self._ring()
        finally:
            asked.put(None)
            stream.cancel()


def _each(asked: queue.SimpleQueue[Any]) -> Iterator[Any]:
    """What is put into the queue, until None: a stream whose requests end is half closed."""
    while (request := asked.get()) is not None:
        yield request

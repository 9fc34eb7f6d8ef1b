"""The one thread of a node's executors: it waits for sockets, pipes and instants, and calls back."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import selectors
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.ports import Clock

_log = logging.getLogger("callboard.executors")
_IDLE_S: Final = 60.0


class Timer:
    """Something to be called at an instant; `cancel` makes it forget."""

    __slots__ = ("call", "due_s")

    def __init__(self, due_s: float, call: Callable[[], None]) -> None:
        """Made by Pump.later."""
        self.due_s = due_s
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Do not call. Harmless when repeated."""
        self.call = None


class Pump:
    """A thread with a selector. Only `call` and `stop` may be used from other threads."""

    def __init__(self, name: str, clock: Clock) -> None:
        """Nothing runs before `start`."""
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._wake_r, self._wake_w = os.pipe()
        self._closing = threading.Lock()
        self._stopped = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        for fd in (self._wake_r, self._wake_w):
            os.set_blocking(fd, False)

    def start(self) -> None:
        """Start the thread."""
        self._selector.register(self._wake_r, selectors.EVENT_READ, (self._drain, None))
        self._thread.start()

    @property
    def here(self) -> bool:
        """Whether the caller is the pump's own thread."""
        return threading.current_thread() is self._thread

    def call(self, function: Callable[[], None]) -> None:
        """Have it called soon by the pump's thread; from any thread."""
        self._calls.append(function)
        with self._closing, contextlib.suppress(BlockingIOError):  # full: it will wake anyway
            if self._wake_w >= 0:
                os.write(self._wake_w, b"\0")

    def later(self, due_s: float, function: Callable[[], None]) -> Timer:
        """Have it called at this instant of the clock's boot_s."""
        timer = Timer(due_s, function)
        heapq.heappush(self._timers, (due_s, next(self._order), timer))
        return timer

    def watch(self, fd: int, reader: Callable[[], None] | None, writer: Callable[[], None] | None = None) -> None:
        """Call these when fd is readable or writable; replaces what was watched; both None: no more."""
        if self._closed:
            return  # what is closed after it asks for nothing any more
        mask = (selectors.EVENT_READ if reader else 0) | (selectors.EVENT_WRITE if writer else 0)
        known = fd in self._selector.get_map()
        if not mask:
            if known:
                self._selector.unregister(fd)
        elif known:
            self._selector.modify(fd, mask, (reader, writer))
        else:
            self._selector.register(fd, mask, (reader, writer))

    def stop(self) -> None:
        """End the thread and wait for it. Harmless when repeated, and from the thread itself it does not wait."""
        self._stopped = True
        self.call(_nothing)
        if not self.here and self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            for key, mask in self._selector.select(self._timeout_s()):
                reader, writer = key.data
                if mask & selectors.EVENT_READ and reader is not None:
                    _guard(reader)
                if mask & selectors.EVENT_WRITE and writer is not None:
                    _guard(writer)
            self._run_due()
        self._run_calls()
        self._closed = True
        self._selector.close()
        with self._closing:
            os.close(self._wake_r)
            os.close(self._wake_w)
            self._wake_w = -1

    def _timeout_s(self) -> float:
        if self._calls:
            return 0.0
        if not self._timers:
            return _IDLE_S
        return min(max(self._timers[0][0] - self._clock.boot_s(), 0.0), _IDLE_S)

    def _run_due(self) -> None:
        self._run_calls()
        if not self._timers:
            return
        now_s = self._clock.boot_s()
        while self._timers and self._timers[0][0] <= now_s:
            _, _, timer = heapq.heappop(self._timers)
            if timer.call is not None:
                _guard(timer.call)

    def _run_calls(self) -> None:
        for _ in range(len(self._calls)):
            _guard(self._calls.popleft())

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_r, 4096)


def _guard(function: Callable[[], None]) -> None:
    """One child's trouble must not end the thread that serves them all."""
    try:
        function()
    except Exception:  # noqa: BLE001 - it is logged, and the other children go on
        _log.exception("an executor's callback failed")


def _nothing() -> None:
    """What wakes the thread up without work."""

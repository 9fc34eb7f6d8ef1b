"""One thread that tells actors messages at given times; waiting is for the next one due, never in steps."""

from __future__ import annotations

import heapq
import itertools
import threading
from typing import TYPE_CHECKING

from callboard.core.errors import QueueFull

if TYPE_CHECKING:
    from callboard.actors.base import Directory
    from callboard.core.messages import Message
    from callboard.core.ports import Clock


class Timers:
    """Pending messages by (actor, message class): a new one replaces the one that waits."""

    def __init__(self, clock: Clock, directory: Directory) -> None:
        """Begin with nothing due; `start` runs the thread."""
        self._clock = clock
        self._directory = directory
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, tuple[str, type[Message]]]] = []
        self._pending: dict[tuple[str, type[Message]], tuple[int, Message]] = {}
        self._numbers = itertools.count()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="callboard-timers", daemon=True)

    def start(self) -> None:
        """Run the thread."""
        self._thread.start()

    def after(self, delay_s: float, name: str, message: Message) -> None:
        """Tell `name` the message in delay_s seconds."""
        key = (name, type(message))
        at_s = self._clock.boot_s() + delay_s
        with self._changed:
            number = next(self._numbers)
            self._pending[key] = (number, message)
            heapq.heappush(self._heap, (at_s, number, key))
            if self._heap[0][1] == number:
                self._changed.notify()

    def cancel_all(self, name: str) -> None:
        """Forget what waits for an actor that ended."""
        with self._changed:
            for key in [key for key in self._pending if key[0] == name]:
                del self._pending[key]

    def stop(self) -> None:
        """End the thread; what waits is forgotten. Harmless when repeated."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                wait_s = self._heap[0][0] - self._clock.boot_s() if self._heap else None
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                _, number, key = heapq.heappop(self._heap)
                waiting = self._pending.get(key)
                if waiting is None or waiting[0] != number:
                    continue  # replaced or cancelled
                del self._pending[key]
            self._tell(key[0], waiting[1])

    def _tell(self, name: str, message: Message) -> None:
        try:
            self._directory.tell(name, message)
        except QueueFull:
            self.after(0.1, name, message)  # a full mailbox is busy enough; the tick comes again

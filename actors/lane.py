"""A thread of an actor's own for blocking I/O: calls in order, answers as messages to the actor."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Lane:
    """Runs calls one after another; a call answers by telling its actor itself.

    A call must not raise: it turns its errors into an answer. One that raises all the same ends the lane, and
    `on_death` is called with the error, so that the actor dies with it and is restarted.
    """

    def __init__(self, name: str, on_death: Callable[[BaseException], None]) -> None:
        """Start the thread."""
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._on_death = on_death
        self._thread = threading.Thread(target=self._run, name=f"callboard-{name}", daemon=True)
        self._thread.start()

    def run(self, call: Callable[[], None]) -> None:
        """Run a call behind those that wait. Never blocks."""
        self._calls.put(call)

    def close(self, timeout_s: float | None = 0.0) -> None:
        """End the thread behind what waits; wait for it at most timeout_s (None: as long as it takes)."""
        self._calls.put(None)
        if timeout_s != 0.0 and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - whatever it is, the actor has to know
                self._on_death(error)
                return

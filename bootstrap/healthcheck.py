"""The HealthChecker: looks at queues now and then, and tells the program when one is not well."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Self, cast

from callboard.core.errors import InvalidArgument, QueueError
from callboard.core.health import DEFAULT_THRESHOLDS, Alert, Thresholds, alerts
from callboard.core.options import seconds
from callboard.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta
    from types import TracebackType

_LOG: Final = logging.getLogger("callboard.healthcheck")
_STOP_TIMEOUT_S: Final = 10.0


class HealthChecker:
    """Checks queues at an interval, on a thread of its own: failed jobs, backlog, jobs in processing.

    A queue that stays over a threshold is told of at each check. A queue whose store can't be reached is logged
    (logger `callboard.healthcheck`) and checked again the next time.

    Args:
        queues: one Queue, several (each by its own name), or a dict of names to queues.
        on_alert: called with the queue's name and an Alert (`kind`, `count`, `threshold`, `status`), on the checker's
            thread, or on the one that calls `check_now`. What it raises is logged.
        interval: seconds (or timedelta) from one check to the next.
        thresholds: more than these many jobs is too many.

    Raises:
        InvalidArgument: Raised when there is no queue, two have one name, or the interval is 0.
    """

    def __init__(self, queues: Queue | Iterable[Queue] | Mapping[str, Queue], *,
                 on_alert: Callable[[str, Alert], object], interval: float | timedelta = 300,
                 thresholds: Thresholds = DEFAULT_THRESHOLDS) -> None:
        """Check the arguments; nothing runs yet."""
        self._queues = _by_name(queues)
        self._on_alert = on_alert
        self._interval_s = seconds(interval, "interval", above_zero=True)
        self._thresholds = thresholds
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Check now, and then at each interval. Harmless when repeated."""
        with self._lock:
            if self._thread is not None:
                return
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._stop,), daemon=True,
                                            name="callboard-healthcheck")
            self._thread.start()

    def stop(self) -> None:
        """Check no more; waits up to 10 s for a check that is under way. Harmless when repeated."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_STOP_TIMEOUT_S)

    def check_now(self) -> list[tuple[str, Alert]]:
        """Check all queues here and now, and call `on_alert`; what was found."""
        found: list[tuple[str, Alert]] = []
        for name, queue in self._queues.items():
            try:
                found += [(name, alert) for alert in alerts(queue.stats(), self._thresholds)]
            except QueueError as error:
                _LOG.warning("queue %s can't be checked: %s", name, error)
        for name, alert in found:
            try:
                self._on_alert(name, alert)
            except Exception:  # noqa: BLE001 - a callback's error must not end the checks; it is logged
                _LOG.exception("on_alert raised for queue %s; checks go on", name)
        return found

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        """Stop."""
        self.stop()

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.check_now()
            stop.wait(self._interval_s)


def _by_name(queues: Queue | Iterable[Queue] | Mapping[str, Queue]) -> dict[str, Queue]:
    if isinstance(queues, Mapping):
        named = dict(cast("Mapping[str, Queue]", queues))
    else:
        several = [queues] if isinstance(queues, Queue) else list(queues)
        named = {queue.name: queue for queue in several}
        if len(named) < len(several):
            raise InvalidArgument("two queues have one name: give a dict of names to queues")
    if not named:
        raise InvalidArgument("no queue to check")
    return named

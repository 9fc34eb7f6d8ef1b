"""The store that lives in one process's memory: bounded, gone with the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.backends.clock import SystemClock
from callboard.core.rank import AGING_STRICT_S
from callboard.core.records import Characteristics
from callboard.core.retention import Retention

from .leader import LeaderActs
from .nodes import NodeActs
from .operators import OperatorActs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.ports import Bell, Clock
    from callboard.core.records import NewJob, PushReceipt

_KEEP: Final = Retention()


class MemoryStore(LeaderActs, NodeActs, OperatorActs):
    """`callboard.core.ports.JobStore` in memory, for one process: tests, and work that may be lost with it."""

    def __init__(
        self,
        max_jobs: int = 1_000,
        clock: Clock | None = None,
        aging_s: float = AGING_STRICT_S,
        retention: Retention = _KEEP,
    ) -> None:
        """An empty store.

        Args:
            max_jobs: jobs that may wait or run at once; a push beyond it raises QueueFull.
            clock: None is the machine's.
            aging_s: seconds of waiting that make up for one step of priority.
            retention: how much is kept of jobs that are over. Without a leader, and so without sweeps, at most twice
                its numbers; and at most 100,000 ids.
        """
        super().__init__(max_jobs, clock or SystemClock(), aging_s, retention)

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        return Characteristics(
            name="memory",
            durable="no: jobs are lost when the process ends",
            shared="no: one process only",
            limits=(f"{self._max_jobs:,} jobs that wait or run; a push beyond that raises QueueFull",
                    "the memory cluster goes with it"),
        )

    def push(self, jobs: Sequence[NewJob]) -> PushReceipt:
        """Write the jobs, all or none; known ids and held unique keys are left as they are."""
        with self._lock:
            return self._write(self._open(), jobs, self._now_ms())

    def store_now_ms(self) -> int:
        """The store's clock."""
        with self._lock:
            self._open()
            return self._now_ms()

    def listen(self, topic: str, callback: Callable[[], None]) -> Bell:
        """Call back from the store's own thread when topic is rung."""
        return self._bells.listen(topic, callback)

    def ring(self, topic: str) -> None:
        """Wake who listens."""
        self._bells.ring(topic)

    def close(self) -> None:
        """End the bells' thread; every later act raises StoreUnavailable."""
        with self._lock:
            self._closed = True
        self._bells.close()

"""Settings of a Redis store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from callboard.core.rank import AGING_STRICT_S
from callboard.core.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Callable

RETENTION = Retention(
    finished_max=100_000, finished_age_s=86_400.0, failed_max=100_000, failed_age_s=366 * 86_400.0, ids_age_s=600.0
)


@dataclass(frozen=True, slots=True)
class RedisStoreOptions:
    """Settings of a Redis store; every process on the same data should give the same.

    Attributes:
        connect_s: how long opening a connection may take.
        act_s: how long the server may take to answer an act; then StoreUnavailable is raised.
        beat_s: the same for a heartbeat, which has a connection of its own.
        connections_max: connections for acts; two more are used, for heartbeats and for bells.
        retention: how long what is over is kept. Ids are remembered at least `ids_age_s` after their job's end, which
            is longer than a push is retried.
        queue_max_jobs: jobs of one queue that may wait or run; a push that would exceed it raises QueueFull.
        aging_s: seconds of waiting that make up for one step of priority, for queues without a setting of their own.
        clock_ms: the store's time instead of the server's clock, for tests only.
    """

    connect_s: float = 3.0
    act_s: float = 10.0
    beat_s: float = 3.0
    connections_max: int = 8
    retention: Retention = field(default=RETENTION)
    queue_max_jobs: int = 10_000_000
    aging_s: float = AGING_STRICT_S
    clock_ms: Callable[[], int] | None = None

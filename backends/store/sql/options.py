"""Settings of a SQL store."""

from __future__ import annotations

from dataclasses import dataclass, field

from callboard.core.rank import AGING_STRICT_S
from callboard.core.retention import Retention

from .statements import PREFIX

RETENTION = Retention(
    finished_max=100_000, finished_age_s=86_400.0, failed_max=1_000_000, failed_age_s=366 * 86_400.0, ids_age_s=600.0
)


@dataclass(frozen=True, slots=True)
class SqlStoreOptions:
    """Settings of a SQL store; every process on the same database should give the same.

    Attributes:
        busy_s: how long an act waits for its turn before it raises StoreUnavailable.
        retention: how long what is over is kept. Ids are remembered at least `ids_age_s` after their job's end, which
            is longer than a push is retried.
        queue_max_jobs: jobs of one queue that may wait or run; a push that would exceed it raises QueueFull.
        aging_s: seconds of waiting that make up for one step of priority, for queues without a setting of their own.
        machine_boot_id: tells boots of the machine apart; None reads it from the kernel.
        table_prefix: what the names of all tables begin with; up to 31 of a-z, 0-9 and _, the last one _.
    """

    busy_s: float = 5.0
    retention: Retention = field(default=RETENTION)
    queue_max_jobs: int = 10_000_000
    aging_s: float = AGING_STRICT_S
    machine_boot_id: str | None = None
    table_prefix: str = PREFIX

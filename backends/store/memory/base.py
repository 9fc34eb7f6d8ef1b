"""What the memory store's acts share: the table, its lock, its clock and its bells."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from callboard.backends.bells import Bells
from callboard.core.errorrecord import node_lost
from callboard.core.errors import QueueFull, StoreUnavailable
from callboard.core.records import PushReceipt, Released, SessionView
from callboard.core.storeclock import drop_anchor, now_s

from .table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.ports import Clock
    from callboard.core.records import NewJob, SessionId
    from callboard.core.retention import Retention


class MemoryBase:
    """Every public act takes the lock once; bells are rung under it, and heard on their own thread."""

    def __init__(self, max_jobs: int, clock: Clock, aging_s: float, retention: Retention) -> None:
        """An empty store."""
        self._lock = threading.Lock()
        self._clock = clock
        self._anchor = drop_anchor("", clock.boot_s(), clock.wall_s())
        self._max_jobs = max_jobs
        self._bells = bells = Bells("callboard-memory-bells")
        self._table = Table(aging_s, retention, lambda job_id: bells.ring(f"job-{job_id}"))
        self._closed = False

    def _now_ms(self) -> int:
        return round(now_s(self._anchor, "", self._clock.boot_s(), self._clock.wall_s()) * 1000)

    def _open(self) -> Table:
        if self._closed:
            raise StoreUnavailable("this memory store was closed; open another")
        return self._table

    def _write(self, table: Table, jobs: Sequence[NewJob], now_ms: int) -> PushReceipt:
        ids: list[str] = []
        new: dict[str, NewJob] = {}
        holders: dict[str, str] = {}
        for job in jobs:
            if table.is_known(job.id) or job.id in new:
                ids.append(job.id)
                continue
            if job.unique is not None:
                holder = table.unique.holder(job.unique, now_ms) or holders.get(job.unique)
                if holder is not None:
                    ids.append(holder)
                    continue
                holders[job.unique] = job.id
            new[job.id] = job
            ids.append(job.id)
        if table.live + len(new) > self._max_jobs:
            raise QueueFull(f"the memory store holds {table.live:,} of at most {self._max_jobs:,} jobs, and "
                            f"{len(new):,} more don't fit; push again later, or raise its bound")
        for name, count in Counter(job.queue for job in new.values()).items():
            if (queue := table.queues.get(name)) is not None and queue.refuses(count):
                raise QueueFull(f"queue {name} may have {queue.limits.max_depth:,} jobs waiting, and {count:,} more "
                                "don't fit; push again later, or raise its max_depth")
        for job in new.values():
            table.insert(job, now_ms)
        return PushReceipt(tuple(ids), len(new), self._wake_leader(table))

    def _wake_leader(self, table: Table, *, room: bool = False) -> bool:
        """Ring the leader, if it waits, for a ready job in a queue that it saw empty.

        Args:
            table: what the act has changed.
            room: the act made room on a node, or opened a queue: any ready job is a reason.
        """
        made_ready, table.made_ready = table.made_ready, set()
        if not table.waiting:
            return False
        fresh = any(queue.idle and not queue.paused for queue in map(table.queue, made_ready))
        if not fresh and not (room and any(queue.has_waiting() for queue in table.queues.values())):
            return False
        table.waiting = False
        self._bells.ring("leader")
        return True

    def _end(self, table: Table, session: SessionId, reason: str) -> Released:
        row = table.sessions.get(session)
        if row is None:
            return Released(0, 0)
        released = table.end(row, self._now_ms(), node_lost(row.info.node, reason))
        self._wake_leader(table, room=True)
        self._bells.ring(f"session-{session}")
        return released


def views(table: Table) -> tuple[SessionView, ...]:
    """Live sessions as the leader sees them."""
    return tuple(row.view(draining=row.info.node in table.draining) for row in table.sessions.values())

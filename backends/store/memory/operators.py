"""What operators read and order of the memory store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from callboard.core.errors import Conflict, InvalidArgument, NotFound
from callboard.core.lifecycle import LIVE, Event
from callboard.core.records import CancelResult, JobState, QueueCounts, TermClaim, UniqueUntil

from .base import MemoryBase, views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import Desired, JobRecord, QueueLimits, ScheduleRow, SessionView, Token

    from .rows import QueueRow

PAGE_MAX: Final = 1_000
"""Limit of jobs in one page."""
_PURGED: Final = frozenset({JobState.DELAYED, JobState.READY, JobState.ASSIGNED})


class OperatorActs(MemoryBase):
    """`callboard.core.ports.OperatorStore`; the fence is read in `LeaderActs`."""

    def counts(self, queues: Sequence[str] | None = None) -> tuple[QueueCounts, ...]:
        """Jobs by queue and state; None: every queue that is known, by name."""
        with self._lock:
            table = self._open()
            names = sorted(table.queues) if queues is None else queues
            return tuple(_counts(name, table.queues.get(name)) for name in names)

    def sessions(self) -> tuple[SessionView, ...]:
        """Live sessions."""
        with self._lock:
            return views(self._open())

    def job(self, job_id: str) -> JobRecord | None:
        """One job, or None."""
        with self._lock:
            table = self._open()
            row = table.by_id.get(job_id)
            return None if row is None else row.record(self._now_ms())

    def jobs(
        self, state: JobState, queue: str | None, limit: int, before_id: str | None = None
    ) -> tuple[JobRecord, ...]:
        """Jobs of one state, newest first."""
        if not 1 <= limit <= PAGE_MAX:
            raise InvalidArgument(f"limit must be 1 to {PAGE_MAX:,}, not {limit!r}")
        with self._lock:
            table = self._open()
            before = None if before_id is None else table.ref_of(before_id)
            if before_id is not None and before is None:
                raise NotFound(f"no job {before_id!r} to page on from", job=before_id)
            now_ms = self._now_ms()
            page: list[JobRecord] = []
            for ref, row in reversed(table.rows.items()):  # refs grow
                if row.state is state and queue in {None, row.job.queue} and (before is None or ref < before):
                    page.append(row.record(now_ms))
                    if len(page) == limit:
                        break
            return tuple(page)

    def retry_failed(self, job_id: str, token: Token | None) -> None:
        """Ready again, counts from zero, if the row's last token is the one named."""
        with self._lock:
            table = self._open()
            row = table.by_id.get(job_id)
            if row is None or row.state is not JobState.FAILED:
                raise NotFound(f"no failed job {job_id!r}", job=job_id)
            if token is not None and row.token != token:
                raise Conflict(f"job {job_id} has run again since (its token is {row.token}); look at it again",
                               job=job_id)
            now_ms = self._now_ms()
            key = row.job.unique if row.job.unique_until is UniqueUntil.DONE else None
            holder = None if key is None else table.unique.holder(key, now_ms)
            if holder is not None:
                raise Conflict(f"job {holder} holds the unique key {row.job.unique!r} now; "
                               "cancel it first, or forget this one", job=job_id)
            table.move(row, Event.OPERATOR_RETRY, now_ms)
            self._wake_leader(table)

    def forget_failed(self, job_ids: Sequence[str] | None, queue: str | None = None) -> int:
        """Take failed jobs off the list; ids stay remembered."""
        with self._lock:
            table = self._open()
            rows = list(table.failed.values()) if job_ids is None else [
                row for job_id in dict.fromkeys(job_ids) if (row := table.by_id.get(job_id)) is not None]
            gone = [row for row in rows if row.state is JobState.FAILED and queue in {None, row.job.queue}]
            for row in gone:
                table.move(row, Event.FORGET, self._now_ms())
            return len(gone)

    def cancel(self, job_id: str) -> CancelResult:
        """Cancel a job that waits; ask the node of one that runs."""
        with self._lock:
            table = self._open()
            row = table.by_id.get(job_id)
            if row is None:
                raise NotFound(f"no job {job_id!r}", job=job_id)
            if row.state not in LIVE:
                return CancelResult.TOO_LATE
            if row.state is JobState.RUNNING:
                row.cancel_asked = True
                self._bells.ring(f"session-{row.session}")
                return CancelResult.REQUESTED
            table.move(row, Event.CANCEL, self._now_ms())
            self._wake_leader(table, room=True)
            return CancelResult.CANCELLED

    def await_end(self, job_id: str) -> JobRecord | None:
        """The job now; while it has not ended, its end rings `job-<id>` from now on."""
        with self._lock:
            row = self._open().by_id.get(job_id)
            if row is None:
                return None
            row.awaited = row.state in LIVE
            return row.record(self._now_ms())

    def purge(self, queue: str) -> int:
        """Forget the queue's delayed, ready and assigned jobs; running ones are left alone."""
        with self._lock:
            table = self._open()
            gone = [row for row in table.rows.values() if row.job.queue == queue and row.state in _PURGED]
            for row in gone:
                table.move(row, Event.PURGE, self._now_ms())
            self._wake_leader(table, room=True)
            return len(gone)

    def set_paused(self, queue: str, *, paused: bool) -> None:
        """Pause or resume a queue; pausing withdraws what is assigned, uncharged."""
        with self._lock:
            table = self._open()
            table.queue(queue).paused = paused
            if paused:
                for session in table.sessions.values():
                    for row in list(session.rows(JobState.ASSIGNED, frozenset({queue}))):
                        table.move(row, Event.WITHDRAW, self._now_ms())
            self._bells.ring("nodes")
            self._wake_leader(table, room=True)

    def set_limits(self, queue: str, limits: QueueLimits) -> None:
        """Order a queue's limits; they replace the earlier ones."""
        with self._lock:
            self._open().queue(queue).limits = limits

    def adopt(self, cluster_id: str, backend: str) -> None:
        """Take this cluster and backend at the next begin_term, whatever its number."""
        with self._lock:
            self._open().claim = TermClaim(cluster_id, backend, -1, "")

    def set_desired(self, desired: Desired) -> None:
        """Order a number of slots for a queue, per node or for all: that replaces the orders for single nodes."""
        with self._lock:
            orders = self._open().desired
            if desired.node == "*":
                for key in [key for key in orders if key[0] == desired.queue]:
                    del orders[key]
            orders[desired.queue, desired.node] = desired
            self._bells.ring("nodes")

    def set_draining(self, node: str, *, draining: bool) -> None:
        """Order that a node gets nothing new; durable by node name."""
        with self._lock:
            table = self._open()
            (table.draining.add if draining else table.draining.discard)(node)
            self._bells.ring("nodes")
            self._wake_leader(table, room=True)

    def schedules(self) -> tuple[ScheduleRow, ...]:
        """All cron entries, by name."""
        with self._lock:
            return tuple(row for _, row in sorted(self._open().schedules.items()))

    def put_schedule(self, row: ScheduleRow) -> None:
        """Add or replace an entry by name; an unchanged one keeps its last_tick."""
        with self._lock:
            table = self._open()
            before = table.schedules.get(row.name)
            if before is None or replace(before, last_tick_ms=row.last_tick_ms) != row:
                table.schedules[row.name] = row

    def remove_schedule(self, name: str) -> bool:
        """Remove an entry; whether it was there."""
        with self._lock:
            return self._open().schedules.pop(name, None) is not None


def _counts(name: str, queue: QueueRow | None) -> QueueCounts:
    if queue is None:
        return QueueCounts(name, 0, 0, 0, 0, 0, 0, 0, paused=False)
    count = queue.counts
    return QueueCounts(
        name, count[JobState.DELAYED], count[JobState.READY], count[JobState.ASSIGNED], count[JobState.RUNNING],
        count[JobState.FAILED], queue.ever[JobState.COMPLETED], queue.ever[JobState.CANCELLED], queue.paused,
        *queue.limits,
    )

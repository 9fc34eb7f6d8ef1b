"""The contract of a job store: what operators read and order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import (
        CancelResult,
        Desired,
        FenceView,
        JobRecord,
        JobState,
        QueueCounts,
        ScheduleRow,
        SessionView,
        Token,
    )


class OperatorStore(Protocol):
    """What operators read and order. Each is one transaction."""

    def counts(self, queues: Sequence[str] | None = None) -> tuple[QueueCounts, ...]:
        """Jobs by queue and state; None: every queue that is known."""
        ...

    def fence(self) -> FenceView:
        """The epoch that counts, and whose it is; epoch 0 before the first term."""
        ...

    def sessions(self) -> tuple[SessionView, ...]:
        """Live sessions."""
        ...

    def job(self, job_id: str) -> JobRecord | None:
        """One job, or None."""
        ...

    def jobs(
        self, state: JobState, queue: str | None, limit: int, before_id: str | None = None
    ) -> tuple[JobRecord, ...]:
        """Jobs of one state, newest first, at most limit (1 to 1,000); before_id pages on."""
        ...

    def retry_failed(self, job_id: str, token: Token | None) -> None:
        """Compare-and-set on the failed row's last token (None: whatever it is): ready again, counts from zero.

        It does not expire any more. A unique key that is held until the job is done is taken again; others are not.

        Raises:
            NotFound: Raised when no failed job has that id.
            Conflict: Raised when the token is another, or the key that it takes again is another job's.
        """
        ...

    def forget_failed(self, job_ids: Sequence[str] | None, queue: str | None = None) -> int:
        """Take failed jobs off the list (None: all, of the queue if given); ids stay remembered. How many."""
        ...

    def cancel(self, job_id: str) -> CancelResult:
        """Cancel a job that waits; ask the node of one that runs. Raises NotFound."""
        ...

    def purge(self, queue: str) -> int:
        """Forget the queue's delayed, ready and assigned jobs; running ones are left alone. How many."""
        ...

    def set_paused(self, queue: str, *, paused: bool) -> None:
        """Pause or resume a queue: while paused nothing is assigned; pausing withdraws what is assigned, uncharged."""
        ...

    def set_desired(self, desired: Desired) -> None:
        """Order a number of slots for a queue, per node or for all ("*"): that replaces the orders for single nodes."""
        ...

    def set_draining(self, node: str, *, draining: bool) -> None:
        """Order that a node gets nothing new; durable by node name."""
        ...

    def schedules(self) -> tuple[ScheduleRow, ...]:
        """All cron entries."""
        ...

    def put_schedule(self, row: ScheduleRow) -> None:
        """Add or replace an entry by name; an unchanged one keeps its last_tick, a changed one starts from row's."""
        ...

    def remove_schedule(self, name: str) -> bool:
        """Remove an entry; whether it was there."""
        ...

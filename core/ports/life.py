"""The contract of a job store: start marks, progress, results, limits of queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import Held, JobRecord, Progress, QueueLimits, SessionId


class LifeStore(Protocol):
    """What a node tells of the runs under way, and what is made of it."""

    def mark_started(self, session: SessionId, jobs: Sequence[Held]) -> tuple[Held, ...]:
        """Note that these runs have begun, each once: the first instant stays.

        Returns those that were refused: their token is not the job's any more, it does not run, or not in this session,
        or the session has ended. A careful job starts only after it was marked. Never raises SessionEnded, and is no
        sign of life.
        """
        ...

    def report_progress(self, session: SessionId, reports: Sequence[Progress]) -> None:
        """Keep what running jobs say of their progress, the newest of each; of another token or state: drop it."""
        ...

    def await_end(self, job_id: str) -> JobRecord | None:
        """The job now, or None. While it has not ended, its end rings the topic `job-<id>` from now on.

        It ends as completed, failed, cancelled or forgotten; listen first, then call this.
        """
        ...

    def set_limits(self, queue: str, limits: QueueLimits) -> None:
        """Order a queue's limits; they replace the earlier ones, and hold for what is pushed from now on.

        A push, or a cron tick, that would leave more than max_depth jobs delayed and ready is refused whole; what comes
        back (retries, releases, an operator's retry) never is. The aging counts for ranks that are made from now on.
        Pushes within transactions of their callers don't wait for each other: together they may go beyond max_depth.
        """
        ...

    def adopt(self, cluster_id: str, backend: str) -> None:
        """Take this cluster and backend at the next begin_term, whatever its number; the epoch grows as ever.

        The old cluster's claims are refused from now on; its epoch goes on until that term begins. Also for the store's
        own cluster and backend, whose terms may then start from 1 again.
        """
        ...

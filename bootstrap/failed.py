"""The failed list, for programs: the jobs that failed for good, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from callboard.core.errorrecord import decode_error
from callboard.core.errors import CodecError
from callboard.core.options import whole
from callboard.core.records import ErrorRecord, JobRecord, JobState, Token
from callboard.core.registry import decode_body

if TYPE_CHECKING:
    from callboard.queue import Queue

PAGE_MAX: Final = 1_000
_FORGET_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job on the failed list.

    Attributes:
        arguments: as plain data; empty where they can't be read.
        attempts, losses: what ended it: its own attempts, or nodes that died under it.
        error_kind: the last exception's class name, or `Timeout`, `ChildDied`, `NodeLost`, `Interrupted`.
        token: of its last run.
    """

    id: str
    name: str
    queue: str
    arguments: dict[str, Any]
    attempts: int
    losses: int
    error_kind: str
    error: str
    traceback: str
    failed_at: datetime
    token: Token | None


class FailedList:
    """The failed list of a Queue: of the whole store, or after `named` of that queue alone."""

    def __init__(self, queue: Queue) -> None:
        """`queue.failed` makes it."""
        self._queue = queue

    def list(self, limit: int = 100, before: str | None = None) -> tuple[FailedJob, ...]:
        """Failed jobs, those that were pushed last first.

        Args:
            limit: 1 to 1,000.
            before: the id of a page's last job, for the next page.

        Raises:
            NotFound: Raised when `before` is no job's id.
            StoreUnavailable: Raised when the store can't be reached.
        """
        only = self._queue.only
        number = whole(limit, "limit", 1, PAGE_MAX)
        records = self._queue.store.jobs(JobState.FAILED, only[0] if only else None, number, before)
        return tuple(_failed(record) for record in records)

    def retry(self, job: FailedJob | str) -> None:
        """Make it ready again; attempts and losses count from zero.

        Args:
            job: from `list`, to retry it only if it has not run again meanwhile; or an id, to retry it in any case.

        Raises:
            NotFound: Raised when no failed job has that id.
            Conflict: Raised when it has run again meanwhile, or another job holds its unique key.
        """
        if isinstance(job, FailedJob):
            self._queue.store.retry_failed(job.id, job.token)
        else:
            self._queue.store.retry_failed(job, None)

    def forget(self, *jobs: FailedJob | str) -> int:
        """Take these off the list; how many were on it. Their ids stay known: pushed again, they make no new job."""
        ids = [job.id if isinstance(job, FailedJob) else job for job in jobs]
        return sum(self._queue.store.forget_failed(ids[start : start + _FORGET_BATCH])
                   for start in range(0, len(ids), _FORGET_BATCH))

    def flush(self) -> int:
        """Forget all of them; how many."""
        only = self._queue.only
        return self._queue.store.forget_failed(None, only[0] if only else None)


def _failed(record: JobRecord) -> FailedJob:
    """What the store says, which may have been written by another version, or not by us at all."""
    try:
        error = decode_error(record.error or b"")
    except CodecError:
        error = ErrorRecord("Unknown", "what it failed of can't be read")
    try:
        arguments = decode_body(record.body)[0]
    except CodecError:
        arguments = {}
    return FailedJob(
        record.id, record.name, record.queue, arguments, record.attempts, record.losses, error.kind, error.message,
        error.traceback, datetime.fromtimestamp((record.finished_ms or 0) / 1000, UTC), record.token,
    )

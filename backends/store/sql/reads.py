"""What operators read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from callboard.core.errors import CodecError, InvalidArgument, NotFound
from callboard.core.history import decode_history
from callboard.core.records import FenceView, JobRecord, JobState, ProgressView, QueueCounts, Token

from .again import again
from .leader import session_views
from .tx import Part, Tx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import SessionView

PAGE_MAX: Final = 1_000
"""Limit of jobs in one page."""
_SORTED_MAX: Final = 100_000  # so many rows of a state are sorted by an index; of more, the newest are soon found
_N_MAX: Final = (1 << 63) - 1
_PAGES: Final = {
    JobState.DELAYED: (0, "operator.page_delayed"),
    JobState.READY: (1, "operator.page_ready"),
    JobState.ASSIGNED: (2, "operator.page_held"),
    JobState.RUNNING: (3, "operator.page_held"),
    JobState.COMPLETED: (4, "operator.page_over"),
    JobState.CANCELLED: (4, "operator.page_over"),
    JobState.FAILED: (5, "operator.page_over"),
}


class ReadPart(Part):
    """`callboard.core.ports.OperatorStore`, the reads."""

    def counts(self, queues: Sequence[str] | None = None) -> tuple[QueueCounts, ...]:
        """See the port. From counters that every act keeps, so it costs the same whatever the store holds."""
        with self._look() as tx:
            if queues is None:
                return tuple(_counts(row) for row in tx.run("operator.counts"))
            found = [(queue, tx.run("operator.counts_of", queue).fetchone()) for queue in queues]
            return tuple(_counts(row or (queue, *[0] * 8, None, None)) for queue, row in found)

    def fence(self) -> FenceView:
        """See the port."""
        with self._look() as tx:
            row = tx.row
            return FenceView(row.epoch, row.owner, row.cluster_id, row.backend, row.term_number)

    def sessions(self) -> tuple[SessionView, ...]:
        """See the port."""
        with self._look() as tx:
            return session_views(tx)

    def job(self, job_id: str) -> JobRecord | None:
        """See the port."""
        with self._look() as tx:
            row = tx.run("operator.record", job_id).fetchone()
            return None if row is None else _record(row, tx.now_ms)

    @again
    def await_end(self, job_id: str) -> JobRecord | None:
        """See `LifeStore`."""
        with self._act() as tx:
            tx.run("operator.await_end", job_id)
            row = tx.run("operator.record", job_id).fetchone()
            return None if row is None else _record(row, tx.now_ms)

    def jobs(
        self, state: JobState, queue: str | None, limit: int, before_id: str | None = None
    ) -> tuple[JobRecord, ...]:
        """See the port."""
        if not 1 <= limit <= PAGE_MAX:
            raise InvalidArgument(f"limit must be 1 to {PAGE_MAX:,}, not {limit!r}")
        with self._look() as tx:
            before = _N_MAX
            if before_id is not None:
                found = tx.run("operator.n_of", before_id).fetchone()
                if found is None:
                    raise NotFound(f"no job {before_id!r} to page on from", job=before_id)
                before = found[0]
            if state is JobState.FORGOTTEN:
                return ()
            page = tx.run(_page(tx, state), int(state), queue, before, limit).fetchall()
            rows = tx.run("operator.page", tx.array([n for (n,) in page]))
            return tuple(_record(row, tx.now_ms) for row in rows)


def _page(tx: Tx, state: JobState) -> str:
    column, select = _PAGES[state]
    return select if tx.run("operator.in_state").fetchone()[column] <= _SORTED_MAX else "operator.scan_page"


def _counts(row: tuple[Any, ...]) -> QueueCounts:
    queue, delayed, ready, assigned, running, failed, completed, cancelled, paused, max_depth, aging_ms = row
    return QueueCounts(queue, delayed, ready, assigned, running, failed, completed, cancelled, paused=bool(paused),
                       max_depth=max_depth, aging_s=None if aging_ms is None else aging_ms / 1000)


def _record(row: tuple[Any, ...], now_ms: int) -> JobRecord:
    (job_id, name, queue, state, priority, attempts, losses, max_attempts, pushed_ms, due_ms, finished_ms, epoch, seq,
     node, body, error, unique, doubts, once, expires_ms, assigned_ms, taken_ms, started_ms, result, result_until_ms,
     fraction, message, progress_ms, history) = row
    try:
        runs = decode_history(history)
    except CodecError:  # of another program: the job itself can be read
        runs = ()
    return JobRecord(
        id=job_id, name=name, queue=queue, state=JobState(state), priority=priority, attempts=attempts, losses=losses,
        max_attempts=max_attempts, pushed_ms=pushed_ms, due_ms=due_ms, finished_ms=finished_ms,
        token=None if epoch is None else Token(epoch, seq), node=node, body=body, error=error, unique=unique,
        doubts=doubts, at_most_once=bool(once), expires_ms=expires_ms, assigned_ms=assigned_ms, taken_ms=taken_ms,
        started_ms=started_ms, result=result if result_until_ms is not None and now_ms < result_until_ms else None,
        result_until_ms=result_until_ms, history=runs,
        progress=None if progress_ms is None else ProgressView(fraction, message or "", progress_ms),
    )

"""Pruning and recounting."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from callboard.core.records import JobState

from .again import again
from .tx import Part, Tx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import Epoch


class _Old(NamedTuple):
    """A row that is over; sorts by when it ended."""

    finished_ms: int
    n: int
    queue: str
    state: JobState


class SweepPart(Part):
    """`LeaderStore.sweep`."""

    @again
    def sweep(self, epoch: Epoch, limit: int) -> int:
        """See the port. A pruned row's id is remembered in a row without a body, up to the retention's `ids_age_s`."""
        keep = self._options.retention
        with self._fenced(epoch) as tx:
            self._follow_time(tx)
            _recount_held(tx)
            self._tidy_up(tx)
            finished, failed = tx.run("sweep.totals").fetchone()
            ids_since_ms = tx.now_ms - round(keep.ids_age_s * 1000)
            over = _over(tx, (JobState.COMPLETED, JobState.CANCELLED), finished - keep.finished_max,
                         keep.finished_age_s, limit)
            over += _over(tx, (JobState.FAILED,), failed - keep.failed_max, keep.failed_age_s, limit - len(over))
            _prune(tx, over, ids_since_ms)
            tx.run("sweep.drop_results", tx.now_ms, limit)
            tx.run("sweep.drop_keys", tx.now_ms, limit)
            tx.run("sweep.delete_forgotten", ids_since_ms, limit)
            tx.run("sweep.delete_sessions", tx.now_ms - round(keep.finished_age_s * 1000), limit)
        self._database.tidy()
        return len(over)


def _over(tx: Tx, states: Sequence[JobState], excess: int, age_s: float, limit: int) -> list[_Old]:
    """The oldest rows of these states that are too many by `excess`, or older than age_s; at most limit."""
    limit, excess = max(0, limit), max(0, excess)
    oldest_ms = tx.now_ms - round(age_s * 1000)
    found: set[_Old] = set()
    for state in states:
        old = tx.run("sweep.older", int(state), oldest_ms, limit).fetchall()
        most = tx.run("sweep.oldest", int(state), min(excess, limit)).fetchall() if excess else []
        found.update(_Old(finished_ms, n, queue, state) for n, queue, finished_ms in (*old, *most))
    return [row for place, row in enumerate(sorted(found)[:limit]) if place < excess or row.finished_ms < oldest_ms]


def _prune(tx: Tx, rows: Sequence[_Old], ids_since_ms: int) -> None:
    """Delete rows; of those whose ids must be remembered, keep the id."""
    tx.many("sweep.delete", [(row.n,) for row in rows if row.finished_ms < ids_since_ms])
    tx.many("sweep.forget", [(row.n,) for row in rows if row.finished_ms >= ids_since_ms])
    for row in rows:
        tx.moved(row.queue, row.state, None)


def _recount_held(tx: Tx) -> None:
    """What sessions hold, counted from the rows: a counter that is off is put right by the difference."""
    for session, queue, off in tx.run("sweep.held_drift").fetchall():
        tx.hold(session, queue, off)
    tx.do("sweep.drop_zeros")

"""Pruning and recounting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from callboard.core.records import JobState
from callboard.core.storeclock import follow

from .statements import load
from .tx import Part, Tx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import Epoch

_SQL: Final = load("sweep.sql")
_ANCHOR: Final = load("store.sql")["set_anchor"]


WAL_MAX_BYTES: Final = 64 << 20
"""Above this a sweep tries to empty SQLite's log."""


class _Old(NamedTuple):
    """A row that is over; sorts by when it ended."""

    finished_ms: int
    n: int
    queue: str
    state: JobState


class SweepPart(Part):
    """`LeaderStore.sweep`."""

    def sweep(self, epoch: Epoch, limit: int) -> int:
        """See the port. A pruned row's id is remembered in a row without a body, up to the retention's `ids_age_s`."""
        keep = self._options.retention
        with self._fenced(epoch) as tx:
            anchor = follow(tx.row.anchor, self._boot_id, self._clock.boot_s(), self._clock.wall_s())
            if anchor != tx.row.anchor:
                tx.execute(_ANCHOR, anchor)
            _recount_held(tx)
            finished, failed = tx.execute(_SQL["totals"]).fetchone()
            ids_since_ms = tx.now_ms - round(keep.ids_age_s * 1000)
            over = _over(tx, (JobState.COMPLETED, JobState.CANCELLED), finished - keep.finished_max,
                         keep.finished_age_s, limit)
            over += _over(tx, (JobState.FAILED,), failed - keep.failed_max, keep.failed_age_s, limit - len(over))
            _prune(tx, over, ids_since_ms)
            tx.execute(_SQL["delete_forgotten"], (ids_since_ms, limit))
            tx.execute(_SQL["delete_sessions"], (tx.now_ms - round(keep.finished_age_s * 1000), limit))
        self._database.checkpoint(WAL_MAX_BYTES)
        return len(over)


def _over(tx: Tx, states: Sequence[JobState], excess: int, age_s: float, limit: int) -> list[_Old]:
    """The oldest rows of these states that are too many by `excess`, or older than age_s; at most limit."""
    limit, excess = max(0, limit), max(0, excess)
    oldest_ms = tx.now_ms - round(age_s * 1000)
    found: set[_Old] = set()
    for state in states:
        old = tx.execute(_SQL["older"], (int(state), oldest_ms, limit)).fetchall()
        most = tx.execute(_SQL["oldest"], (int(state), min(excess, limit))).fetchall() if excess else []
        found.update(_Old(finished_ms, n, queue, state) for n, queue, finished_ms in (*old, *most))
    return [row for place, row in enumerate(sorted(found)[:limit]) if place < excess or row.finished_ms < oldest_ms]


def _prune(tx: Tx, rows: Sequence[_Old], ids_since_ms: int) -> None:
    """Delete rows; of those whose ids must be remembered, keep the id."""
    tx.executemany(_SQL["delete"], [(row.n,) for row in rows if row.finished_ms < ids_since_ms])
    tx.executemany(_SQL["forget"], [(row.n,) for row in rows if row.finished_ms >= ids_since_ms])
    for row in rows:
        tx.moved(row.queue, row.state, None)


def _recount_held(tx: Tx) -> None:
    """What sessions hold, counted from the rows."""
    rows: dict[tuple[int, str], int] = {}
    alone = {session: 0 for (session,) in tx.execute(_SQL["live_sessions"])}
    for session, queue, held, isolated in tx.execute(_SQL["held_rows"]):
        rows[session, queue] = held
        alone[session] = alone.get(session, 0) + isolated
    counters = {(session, queue): held for session, queue, held in tx.execute(_SQL["held_counters"])}
    for session, queue in rows.keys() | counters.keys():
        held = rows.get((session, queue), 0)
        if counters.get((session, queue), 0) != held:
            tx.execute(_SQL["set_held"], (session, queue, held))
    tx.execute(_SQL["drop_zeros"])
    tx.executemany(_SQL["set_alone"], [(jobs, session) for session, jobs in alone.items()])

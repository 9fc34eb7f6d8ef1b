"""Pruning and recounting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.core.storeclock import follow

from .statements import load
from .tx import FAILED, FINISHED, Part, Tx

if TYPE_CHECKING:
    from callboard.core.records import Epoch

_SQL: Final = load("sweep.sql")
_ANCHOR: Final = load("store.sql")["set_anchor"]


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
            went = _prune(tx, "old_finished", FINISHED, (finished - keep.finished_max, keep.finished_age_s), limit,
                          ids_since_ms)
            went += _prune(tx, "old_failed", FAILED, (failed - keep.failed_max, keep.failed_age_s), limit - went,
                           ids_since_ms)
            tx.execute(_SQL["delete_forgotten"], (ids_since_ms, limit))
            tx.execute(_SQL["delete_sessions"], (tx.now_ms - round(keep.finished_age_s * 1000), limit))
            return went


def _prune(tx: Tx, select: str, column: int, bounds: tuple[int, float], limit: int, ids_since_ms: int) -> int:
    """Prune the oldest over a bound: too many by that number, or older than that many seconds."""
    excess, age_s = bounds
    oldest_ms = tx.now_ms - age_s * 1000
    over = [
        row for place, row in enumerate(tx.execute(_SQL[select], (max(0, limit),)).fetchall())
        if place < excess or row[2] < oldest_ms
    ]
    tx.executemany(_SQL["delete"], [(n,) for n, _, finished_ms in over if finished_ms < ids_since_ms])
    tx.executemany(_SQL["forget"], [(n,) for n, _, finished_ms in over if finished_ms >= ids_since_ms])
    for _, queue, _ in over:
        tx.count(queue, column, -1)
    return len(over)


def _recount_held(tx: Tx) -> None:
    """What sessions hold, counted from the rows."""
    rows = {(session, queue): held for session, queue, held in tx.execute(_SQL["held_rows"])}
    counters = {(session, queue): held for session, queue, held in tx.execute(_SQL["held_counters"])}
    for session, queue in rows.keys() | counters.keys():
        held = rows.get((session, queue), 0)
        if counters.get((session, queue), 0) != held:
            tx.execute(_SQL["set_held"], (session, queue, held))
    tx.execute(_SQL["drop_zeros"])

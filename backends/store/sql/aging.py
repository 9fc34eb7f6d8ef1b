"""How a queue weighs waiting against priority."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.core.options import seconds
from callboard.core.rank import AGING_STRICT_S, rank

from .tx import Part

if TYPE_CHECKING:
    from datetime import timedelta

_BATCH_ROWS: Final = 2_000


class AgingPart(Part):
    """Aging by queue: beyond the port, for stores that keep ranks."""

    def set_aging(self, queue: str, aging_s: float | timedelta | None) -> int:
        """Set how many seconds of waiting make up for one step of priority, and rank the waiting jobs anew.

        In transactions of 2,000 jobs each: for a moment some are ranked by the old setting, none is left out.

        Args:
            queue: the queue; it need not have jobs yet.
            aging_s: 0 is first come, first served; None is the store's own setting.

        Returns:
            How many jobs were ranked anew.

        Raises:
            InvalidArgument: Raised when aging_s is below 0 or above ten years.
        """
        aging_ms = None if aging_s is None else round(min(seconds(aging_s, "aging_s"), AGING_STRICT_S) * 1000)
        with self._act(durable=True) as tx:
            tx.many("node.know_queue", [(queue,)])
            tx.run("aging.set_aging", aging_ms, queue)
            last = tx.run("aging.last_n").fetchone()[0]
        ranked = place = 0
        while True:
            with self._act() as tx:
                rows = tx.run("aging.waiting_after", place, last, queue, _BATCH_ROWS).fetchall()
                ranks = [(rank(priority, due_ms, tx.aging_s(queue)), n) for n, priority, due_ms in rows]
                tx.many("aging.set_rank", ranks)
            ranked += len(rows)
            if len(rows) < _BATCH_ROWS:
                return ranked
            place = rows[-1][0]

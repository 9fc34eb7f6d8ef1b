"""What operators order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.core.errors import Conflict, NotFound
from callboard.core.lifecycle import LIVE, Event
from callboard.core.rank import AGING_STRICT_S
from callboard.core.records import CancelResult, JobState, UniqueUntil

from .again import again
from .changes import Changes, Row
from .dialect import Fence
from .producer import take_key
from .tx import Part, Tx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import Desired, QueueLimits, Token

BATCH_ROWS: Final = 2_000
"""Rows of one transaction where an order concerns any number: others get their turn in between."""
_ANY_TERM: Final = -1
"""Each term of an adopted cluster is newer."""
_PURGED: Final = (
    "operator.purge_ready", "operator.purge_isolated", "operator.purge_delayed", "operator.purge_assigned"
)


class OperatorPart(Part):
    """`callboard.core.ports.OperatorStore`, the orders."""

    @again
    def retry_failed(self, job_id: str, token: Token | None) -> None:
        """See the port."""
        with self._act() as tx:
            row = _row(tx, job_id)
            if row is None or row.state != JobState.FAILED:
                raise NotFound(f"no failed job {job_id!r}", job=job_id)
            if token is not None and row.token != token:
                raise Conflict(f"job {job_id} has run again since (its token is {row.token}); look at it again",
                               job=job_id)
            if row.unique_key is not None and row.unique_until == UniqueUntil.DONE:
                holder = take_key(tx, row.unique_key, job_id, None)
                if holder not in {None, job_id}:
                    raise Conflict(f"job {holder} holds the unique key now; cancel it first, or forget this one",
                                   job=job_id)
            changes = Changes(tx)
            changes.apply(row, Event.OPERATOR_RETRY)
            changes.flush()

    def forget_failed(self, job_ids: Sequence[str] | None, queue: str | None = None) -> int:
        """See the port. In transactions of 2,000 jobs each."""
        if job_ids is None:
            return self._in_batches(("operator.failed_rows",), queue, Event.FORGET)
        unique_ids = sorted(set(job_ids))
        return sum(self._forget(unique_ids[start : start + BATCH_ROWS], queue)
                   for start in range(0, len(unique_ids), BATCH_ROWS))

    @again
    def _forget(self, job_ids: Sequence[str], queue: str | None) -> int:
        gone = 0
        with self._act() as tx:
            changes = Changes(tx)
            for job_id in job_ids:
                row = _row(tx, job_id)
                if row is not None and row.state == JobState.FAILED and queue in {None, row.queue}:
                    changes.apply(row, Event.FORGET)
                    gone += 1
            changes.flush()
        return gone

    @again
    def cancel(self, job_id: str) -> CancelResult:
        """See the port."""
        with self._act() as tx:
            row = _row(tx, job_id)
            if row is None or row.state == JobState.FORGOTTEN:
                raise NotFound(f"no job {job_id!r}", job=job_id)
            if JobState(row.state) not in LIVE:
                return CancelResult.TOO_LATE
            if row.state == JobState.RUNNING:
                tx.run("operator.ask_cancel", row.n)
                tx.rings.update(("nodes", f"session-{row.session}"))
                return CancelResult.REQUESTED
            changes = Changes(tx)
            changes.apply(row, Event.CANCEL)
            changes.flush()
            return CancelResult.CANCELLED

    def purge(self, queue: str) -> int:
        """See the port. In transactions of 2,000 jobs each; what is pushed meanwhile stays."""
        return self._in_batches(_PURGED, queue, Event.PURGE)

    @again
    def set_paused(self, queue: str, *, paused: bool) -> None:
        """See the port."""
        with self._act() as tx:
            tx.many("node.know_queue", [(queue,)])
            tx.lock("operator.lock_queue", queue)
            tx.run("operator.set_paused", int(paused), queue)
            if paused:
                changes = Changes(tx)
                for row in _rows(tx, [n for (n,) in tx.run("operator.assigned_of_queue", queue)]):
                    changes.apply(row, Event.WITHDRAW)
                changes.flush()
            tx.freed()
            tx.rings.add("nodes")

    @again
    def set_desired(self, desired: Desired) -> None:
        """See the port."""
        with self._act() as tx:
            if desired.node == "*":
                tx.run("operator.forget_desired", desired.queue)
            tx.run("operator.put_desired", *desired)
            tx.rings.add("nodes")

    @again
    def set_draining(self, node: str, *, draining: bool) -> None:
        """See the port."""
        with self._act() as tx:
            tx.lock("operator.lock_node", node)
            tx.run("operator.drain" if draining else "operator.undrain", node)
            tx.freed()
            tx.rings.add("nodes")

    @again
    def set_limits(self, queue: str, limits: QueueLimits) -> None:
        """See `LifeStore`."""
        aging_ms = None if limits.aging_s is None else round(min(limits.aging_s, AGING_STRICT_S) * 1000)
        with self._act() as tx:
            tx.many("node.know_queue", [(queue,)])
            tx.run("operator.set_limits", limits.max_depth, aging_ms, queue)

    @again
    def adopt(self, cluster_id: str, backend: str) -> None:
        """See `LifeStore`."""
        with self._act(durable=True, fence=Fence.MOVE) as tx:
            tx.run("store.set_fence", tx.row.epoch, tx.row.owner, cluster_id, backend, _ANY_TERM)

    def _in_batches(self, selects: Sequence[str], queue: str | None, event: Event) -> int:
        with self._look() as tx:
            last = tx.run("operator.last_n").fetchone()[0] or 0
        gone = 0
        for select in selects:
            while moved := self._batch(select, queue, last, event):
                gone += moved
        return gone

    @again
    def _batch(self, select: str, queue: str | None, last: int, event: Event) -> int:
        with self._act() as tx:
            found = [n for (n,) in tx.run(select, queue, last, BATCH_ROWS)]
            changes = Changes(tx)
            for row in _rows(tx, found):
                changes.apply(row, event)
            changes.flush()
            return len(found)


def _row(tx: Tx, job_id: str) -> Row | None:
    found = tx.run("changes.row_by_id", job_id).fetchone()
    return None if found is None else Row(*found)


def _rows(tx: Tx, found: list[int]) -> list[Row]:
    return [Row(*row) for row in tx.run("changes.rows_by_n", tx.array(found)).fetchall()]

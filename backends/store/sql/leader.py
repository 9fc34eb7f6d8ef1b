"""The leader's acts, but for handing out jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.errors import TermRefused
from callboard.core.records import (
    Epoch,
    IsolatedJob,
    NodeInfo,
    PoolReport,
    PoolView,
    Promoted,
    Released,
    SessionId,
    SessionView,
    Survey,
)

from .again import again
from .dialect import Fence
from .release import expire, release
from .taken import unpack_queues
from .tx import DELAYED, READY, Part, StoreRow, Tx

if TYPE_CHECKING:
    from callboard.core.records import TermClaim



class LeaderPart(Part):
    """`callboard.core.ports.LeaderStore`, most of it."""

    @again
    def begin_term(self, claim: TermClaim) -> Epoch:
        """See the port. Synced to the disk before this returns, for an epoch must never go back."""
        with self._act(durable=True, fence=Fence.MOVE) as tx:
            number = _next_epoch(tx.row, claim)
            tx.run("store.set_fence", number, claim.owner, claim.cluster_id, claim.backend, claim.number)
            return Epoch(number, claim.owner)

    def survey(self, epoch: Epoch, ready_limit: int) -> Survey:
        """See the port."""
        with self._look() as tx:
            tx.fenced(epoch)
            ready = {queue: k for queue, k in tx.run("leader.ready", ready_limit) if k}
            isolated = tuple(IsolatedJob(*row) for row in tx.run("leader.isolated"))
            return Survey(session_views(tx), ready, isolated)

    @again
    def promote_due(self, epoch: Epoch, limit: int) -> Promoted:
        """See the port."""
        with self._fenced(epoch) as tx:
            expired = expire(tx, limit)
            due = tx.run("leader.due", tx.now_ms, limit).fetchall()
            tx.many("leader.promote", [(n,) for n, _ in due])
            for _, queue in due:
                tx.count(queue, DELAYED, -1)
                tx.count(queue, READY, 1)
                tx.became_ready(queue)
            (next_ms,) = tx.run("leader.next_due").fetchone()
            next_s = None if next_ms is None else max(0.0, (next_ms - tx.now_ms) / 1000)
            return Promoted(len(due), next_s, expired)

    @again
    def end_session(self, epoch: Epoch, session: SessionId, reason: str, counter: int | None = None) -> Released:
        """See the port."""
        with self._fenced(epoch) as tx:
            return release(tx, session, reason, reason, counter)


def _next_epoch(row: StoreRow, claim: TermClaim) -> int:
    """The epoch that the claim gets."""
    if not row.epoch and not row.cluster_id:
        return 1
    if claim.cluster_id != row.cluster_id or claim.backend != row.backend:
        raise TermRefused(f"the store belongs to cluster {row.cluster_id!r} of backend {row.backend!r}, not to "
                          f"{claim.cluster_id!r} of {claim.backend!r}; `callboard cluster adopt` hands it over")
    if claim.number < row.term_number or (claim.number == row.term_number and claim.owner != row.owner):
        raise TermRefused(f"term {claim.number} of {claim.owner} is not newer than the store's term {row.term_number} "
                          f"of {row.owner}")
    return row.epoch if claim.number == row.term_number else row.epoch + 1


def session_views(tx: Tx) -> tuple[SessionView, ...]:
    """Live sessions, and what they hold. Rows of a queue that no pool of the session serves any more count nowhere."""
    reports: dict[int, list[PoolReport]] = {}
    for session, pool, queues, slots, capacity in tx.run("leader.pools"):
        reports.setdefault(session, []).append(PoolReport(pool, unpack_queues(queues), slots, capacity))
    held: dict[int, dict[str, int]] = {}
    for session, queue, rows in tx.run("leader.held"):
        held.setdefault(session, {})[queue] = rows
    views: list[SessionView] = []
    for session, *info, counter, ttl_s, draining, isolating in tx.run("leader.sessions"):
        mine = held.get(session, {})
        pools: list[PoolView] = []
        for report in reports.get(session, []):
            by_queue = {share.queue: mine[share.queue] for share in report.queues if share.queue in mine}
            pools.append(PoolView(report, sum(by_queue.values()), by_queue))
        views.append(SessionView(SessionId(session), NodeInfo(*info), counter, ttl_s, tuple(pools), bool(draining),
                                 bool(isolating)))
    return tuple(views)

"""Handing out ready jobs: the store takes the first by rank, and issues their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.core.records import AssignReceipt, SessionId, TakenJob, Token

from .again import again
from .giving import Give
from .release import expire, expired
from .taken import free_started, taken, unpack_queues
from .tx import ASSIGNED, READY, RUNNING, Part, Tx

if TYPE_CHECKING:
    from callboard.core.records import Assignment, Epoch, IsolatedAssignment, IsolatedJob, Plan

    from .dialect import Dialect



EXPIRED_MAX: Final = 500
"""Expired jobs that one assign cancels; more of them are passed over."""


class _Room:
    """What a session may still take: kept in step while a plan is carried out."""

    def __init__(self, tx: Tx, session: int) -> None:
        found = tx.run("leader.session_for", session).fetchone()
        self.open = found is not None and not found[0] and not found[1]
        self.node = str(found[2]) if found is not None else ""
        self._pools: dict[str, tuple[frozenset[str], int]] = {}
        self._held: dict[str, int] = {}
        if self.open:
            for pool, queues, capacity in tx.run("leader.pools_of", session):
                self._pools[pool] = frozenset(share.queue for share in unpack_queues(queues)), capacity
            self._held = dict(tx.run("leader.held_of", session).fetchall())

    def free(self, pool: str, queue: str) -> int:
        """Rows of the queue that the pool may still take."""
        queues, capacity = self._pools.get(pool, (frozenset[str](), 0))
        if not self.open or queue not in queues:
            return 0
        return max(0, capacity - sum(self._held.get(name, 0) for name in queues))

    @property
    def empty(self) -> bool:
        """The session holds nothing."""
        return not any(self._held.values())

    def hold(self, queue: str, jobs: int) -> None:
        """The session got jobs of the queue."""
        self._held[queue] = self._held.get(queue, 0) + jobs


class _Handout:
    """One plan being carried out in one transaction."""

    def __init__(self, tx: Tx, dialect: Dialect, epoch: int, take_for: SessionId | None) -> None:
        self._tx = tx
        self._give = dialect.give
        self._epoch = epoch
        self._take_for = take_for
        self._rooms: dict[SessionId, _Room] = {}
        self._paused: dict[str, bool] = {}
        self.assigned: dict[SessionId, int] = {}
        self.taken: list[TakenJob] = []

    def give(self, order: Assignment) -> None:
        """Give up to so many ready jobs of a queue to a pool."""
        count = min(order.count, self._room(order.session).free(order.pool, order.queue))
        if count > 0 and not self._is_paused(order.queue):
            self._move(order.session, order.queue, count)

    def give_alone(self, order: IsolatedAssignment) -> None:
        """Give one isolated job to a session that holds nothing; it gets nothing else then."""
        room, job = self._room(order.session), order.job
        if not room.empty or room.free(order.pool, job.queue) < 1 or self._is_paused(job.queue):
            return
        if self._move(order.session, job.queue, 1, job):
            room.open = False

    def _move(self, session: SessionId, queue: str, count: int, alone: IsolatedJob | None = None) -> int:
        mine = session == self._take_for
        node = self._room(session).node
        rows = self._give(self._tx, Give(session, node, self._epoch, queue, count, mine, alone))
        if not rows:
            return 0
        self._tx.count(queue, READY, -len(rows))
        self._tx.count(queue, RUNNING if mine else ASSIGNED, len(rows))
        self._tx.hold(session, queue, len(rows))
        self._room(session).hold(queue, len(rows))
        self.assigned[session] = self.assigned.get(session, 0) + len(rows)
        if mine:
            self.taken += [taken(row[:-1], Token(self._epoch, row[-1])) for row in rows]
            free_started(self._tx, rows)
        else:
            self._tx.rings.add(f"session-{session}")
        return len(rows)

    def _room(self, session: SessionId) -> _Room:
        room = self._rooms.get(session)
        if room is None:
            room = self._rooms[session] = _Room(self._tx, session)
        return room

    def _is_paused(self, queue: str) -> bool:
        paused = self._paused.get(queue)
        if paused is None:
            found = self._tx.run("leader.paused", queue).fetchone()
            paused = self._paused[queue] = found is not None and bool(found[0])
        return paused


class AssignPart(Part):
    """`LeaderStore.assign`."""

    @again
    def assign(self, epoch: Epoch, plan: Plan, take_for: SessionId | None = None) -> AssignReceipt:
        """See the port. A power loss may undo it: its epoch is over then, so its tokens are never issued again."""
        with self._fenced(epoch) as tx:
            if not plan.empty:
                _hold(tx, plan)
                expire(tx, EXPIRED_MAX, only_ready=True)
            handout = _Handout(tx, self._dialect, epoch.number, take_for)
            for alone in plan.isolated:
                handout.give_alone(alone)
            for order in plan.assignments:
                handout.give(order)
            idle = False
            if handout.assigned:
                tx.set_waiting(0)
            else:
                idle = _wait(tx)
            return AssignReceipt(handout.assigned, tuple(handout.taken), idle)


def _hold(tx: Tx, plan: Plan) -> None:
    """No session of the plan can end, nothing else be assigned to it, and no queue be paused, until this is done."""
    queues = sorted({order.job.queue for order in plan.isolated} | {order.queue for order in plan.assignments})
    sessions = sorted({order.session for order in plan.isolated} | {order.session for order in plan.assignments})
    tx.lock("leader.lock_sessions", tx.array(sessions))
    tx.lock("leader.lock_queues", tx.array(queues))
    tx.ahead(
        expired(tx, EXPIRED_MAX, only_ready=True),
        *[(name, session) for session in sessions
          for name in ("leader.session_for", "leader.pools_of", "leader.held_of")],
        *[("leader.paused", queue) for queue in queues],
    )


def _wait(tx: Tx) -> bool:
    """The leader found nothing to do: note which queues it saw empty, so that a push into one of them rings.

    A queue that was noted as empty and is not so any more got its jobs since the leader looked: it is rung at once.
    """
    idle, missed = True, False
    tx.set_waiting(1)
    changed: list[tuple[int, str]] = []
    for queue, noted, has_ready in tx.run("leader.idle_queues").fetchall():
        idle = idle and not has_ready
        missed = missed or bool(noted and has_ready)
        if bool(noted) is bool(has_ready):
            changed.append((int(not has_ready), queue))
    tx.many("leader.set_idle", changed)
    if missed:
        tx.rings.add("leader")
    tx.look_again()
    return idle

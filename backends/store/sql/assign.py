"""Handing out ready jobs: the store takes the first by rank, and issues their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.core.records import AssignReceipt, JobState, SessionId, TakenJob, Token

from .statements import load
from .taken import taken, unpack_queues
from .tx import ASSIGNED, READY, RUNNING, Part, Tx

if TYPE_CHECKING:
    from callboard.core.records import Assignment, Epoch, IsolatedAssignment, Plan

_SQL: Final = load("leader.sql", "store.sql")


class _Room:
    """What a session may still take: kept in step while a plan is carried out."""

    def __init__(self, tx: Tx, session: int) -> None:
        found = tx.execute(_SQL["session_for"], (session,)).fetchone()
        self.open = found is not None and not found[0] and not found[1]
        self._pools: dict[str, tuple[frozenset[str], int]] = {}
        self._held: dict[str, int] = {}
        if self.open:
            for pool, queues, capacity in tx.execute(_SQL["pools_of"], (session,)):
                self._pools[pool] = frozenset(share.queue for share in unpack_queues(queues)), capacity
            self._held = dict(tx.execute(_SQL["held_of"], (session,)).fetchall())

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

    def __init__(self, tx: Tx, epoch: int, take_for: SessionId | None) -> None:
        self._tx = tx
        self._epoch = epoch
        self._seq = tx.row.seq
        self._take_for = take_for
        self._rooms: dict[SessionId, _Room] = {}
        self._paused: dict[str, bool] = {}
        self.assigned: dict[SessionId, int] = {}
        self.taken: list[TakenJob] = []

    def give(self, order: Assignment) -> None:
        """Give up to so many ready jobs of a queue to a pool."""
        count = min(order.count, self._room(order.session).free(order.pool, order.queue))
        if count <= 0 or self._is_paused(order.queue):
            return
        name = "next_jobs" if order.session == self._take_for else "next_n"
        self._move(order.session, order.queue, self._tx.execute(_SQL[name], (order.queue, count)).fetchall())

    def give_alone(self, order: IsolatedAssignment) -> None:
        """Give one isolated job to a session that holds nothing; it gets nothing else then."""
        room, job = self._room(order.session), order.job
        if not room.empty or room.free(order.pool, job.queue) < 1 or self._is_paused(job.queue):
            return
        rows = self._tx.execute(_SQL["isolated_job"], (job.ref, job.id, job.queue)).fetchall()
        if rows:
            self._move(order.session, job.queue, rows)
            self._tx.execute(_SQL["add_alone"], (1, order.session))
            room.open = False

    def finish(self) -> None:
        """Record which tokens were issued."""
        if self._seq != self._tx.row.seq:
            self._tx.execute(_SQL["set_seq"], (self._seq,))

    def _move(self, session: SessionId, queue: str, rows: list[tuple[int, ...]]) -> None:
        if not rows:
            return
        first = self._seq + 1
        self._seq += len(rows)
        mine = session == self._take_for
        state = int(JobState.RUNNING if mine else JobState.ASSIGNED)
        self._tx.executemany(
            _SQL["give"], [(state, session, self._epoch, seq, row[0]) for seq, row in enumerate(rows, first)]
        )
        self._tx.count(queue, READY, -len(rows))
        self._tx.count(queue, RUNNING if mine else ASSIGNED, len(rows))
        self._tx.hold(session, queue, len(rows))
        self._room(session).hold(queue, len(rows))
        self.assigned[session] = self.assigned.get(session, 0) + len(rows)
        if mine:
            self.taken += [taken(row, Token(self._epoch, seq)) for seq, row in enumerate(rows, first)]  # type: ignore[arg-type]
        else:
            self._tx.rings.add(f"session-{session}")

    def _room(self, session: SessionId) -> _Room:
        room = self._rooms.get(session)
        if room is None:
            room = self._rooms[session] = _Room(self._tx, session)
        return room

    def _is_paused(self, queue: str) -> bool:
        paused = self._paused.get(queue)
        if paused is None:
            found = self._tx.execute(_SQL["paused"], (queue,)).fetchone()
            paused = self._paused[queue] = found is not None and bool(found[0])
        return paused


class AssignPart(Part):
    """`LeaderStore.assign`."""

    def assign(self, epoch: Epoch, plan: Plan, take_for: SessionId | None = None) -> AssignReceipt:
        """See the port. A power loss may undo it: its epoch is over then, so its tokens are never issued again."""
        with self._fenced(epoch) as tx:
            handout = _Handout(tx, epoch.number, take_for)
            for alone in plan.isolated:
                handout.give_alone(alone)
            for order in plan.assignments:
                handout.give(order)
            handout.finish()
            idle = False
            if not handout.assigned:
                tx.settle()
                idle = _wait(tx)
            elif tx.row.waiting:
                tx.execute(_SQL["set_waiting"], (0,))
            return AssignReceipt(handout.assigned, tuple(handout.taken), idle)


def _wait(tx: Tx) -> bool:
    """The leader found nothing to do: note which queues it saw empty, so that a push into one of them rings.

    A queue that was noted as empty and is not so any more got its jobs since the leader looked: it is rung at once.
    """
    idle, missed = True, False
    if not tx.row.waiting:
        tx.execute(_SQL["set_waiting"], (1,))
    for queue, noted, has_ready in tx.execute(_SQL["idle_queues"]).fetchall():
        idle = idle and not has_ready
        missed = missed or (noted and has_ready)
        if bool(noted) is bool(has_ready):
            tx.execute(_SQL["set_idle"], (not has_ready, queue))
    if missed:
        tx.rings.add("leader")
    return idle

"""The leader's acts on the memory store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from callboard.core.errorrecord import EXPIRED
from callboard.core.errors import TermRefused
from callboard.core.lifecycle import Event, isolated
from callboard.core.records import (
    AssignReceipt,
    Epoch,
    FenceView,
    IsolatedJob,
    JobState,
    Promoted,
    Released,
    Survey,
)
from callboard.core.storeclock import follow

from .base import MemoryBase, views

if TYPE_CHECKING:
    from collections import OrderedDict
    from collections.abc import Sequence

    from callboard.core.records import (
        Assignment,
        IsolatedAssignment,
        NewJob,
        Plan,
        SessionId,
        TakenJob,
        TermClaim,
    )

    from .rows import JobRow, SessionRow
    from .table import Table

ISOLATED_SHOWN: Final = 16
"""Isolated jobs that one survey names."""


class LeaderActs(MemoryBase):
    """`callboard.core.ports.LeaderStore`."""

    def begin_term(self, claim: TermClaim) -> Epoch:
        """Raise the epoch and record the owner; the same claim again gets the same epoch."""
        with self._lock:
            table = self._open()
            last = table.claim
            if last is not None:
                if (claim.cluster_id, claim.backend) != (last.cluster_id, last.backend):
                    raise TermRefused(f"the store belongs to cluster {last.cluster_id} on {last.backend}, not to "
                                      f"{claim.cluster_id} on {claim.backend}; adopt it there first")
                if claim == last and table.epoch is not None:
                    return table.epoch
                if claim.number <= last.number:
                    raise TermRefused(f"term {claim.number} of {claim.owner} is not newer than the store's term "
                                      f"{last.number} of {last.owner}")
            table.waiting = False
            table.claim = claim
            table.epoch = Epoch(1 if table.epoch is None else table.epoch.number + 1, claim.owner)
            return table.epoch

    def fence(self) -> FenceView:
        """The epoch that counts, and whose it is."""
        with self._lock:
            table = self._open()
            number, owner = table.epoch or (0, "")
            if table.claim is None:
                return FenceView(number, owner, "", "", 0)
            return FenceView(number, owner, table.claim.cluster_id, table.claim.backend, max(0, table.claim.number))

    def survey(self, epoch: Epoch, ready_limit: int) -> Survey:
        """Read live sessions, what they hold, and how much is ready."""
        with self._lock:
            table = self._open()
            table.fenced(epoch)
            ready = {name: min(queue.ready.alive, ready_limit)
                     for name, queue in table.queues.items() if queue.has_ready()}
            alone = [IsolatedJob(row.ref, row.job.id, name) for name, queue in table.queues.items()
                     if not queue.paused for row in queue.isolated.values()]
            return Survey(views(table), ready, tuple(sorted(alone)[:ISOLATED_SHOWN]))

    def assign(self, epoch: Epoch, plan: Plan, take_for: SessionId | None = None) -> AssignReceipt:
        """Move the first ready jobs by rank to `assigned` with a new token each; `take_for`'s to running."""
        with self._lock:
            table = self._open()
            table.fenced(epoch)
            now_ms = self._now_ms()
            given: list[tuple[SessionRow, JobRow]] = []
            for alone in plan.isolated:
                given += _give_isolated(table, epoch, alone, now_ms)
            for assignment in plan.assignments:
                given += _give(table, epoch, assignment, now_ms)
            assigned: dict[SessionId, int] = {}
            taken: list[TakenJob] = []
            for session, row in given:
                assigned[session.session] = assigned.get(session.session, 0) + 1
                if session.session == take_for and row.token is not None:
                    table.take(row, now_ms)
                    taken.append(row.taken(row.token))
            for target in assigned:
                if target != take_for:
                    self._bells.ring(f"session-{target}")
            return AssignReceipt(assigned, tuple(taken), idle=self._wait(table, given=bool(given)))

    def _wait(self, table: Table, *, given: bool) -> bool:
        """Note which queues the leader saw empty, unless it found something; whether all of them are.

        A queue that was noted so before and has jobs by now got them since the leader looked: it is rung at once.
        """
        table.waiting = not given
        if given:
            return False
        missed, idle = False, True
        for queue in table.queues.values():
            missed = missed or (queue.idle and queue.has_ready())
            queue.idle = not queue.has_ready()
            idle = idle and queue.idle
        if missed:
            table.waiting = False
            self._bells.ring("leader")
        return idle

    def promote_due(self, epoch: Epoch, limit: int) -> Promoted:
        """Cancel up to `limit` jobs that expired, then move up to `limit` due ones to ready; earliest first."""
        with self._lock:
            table = self._open()
            table.fenced(epoch)
            now_ms = self._now_ms()
            expired = moved = 0
            while expired < limit and (row := table.expiring.first()) is not None and row.expired(now_ms):
                table.move(row, Event.EXPIRE, now_ms, error=EXPIRED)
                expired += 1
            while moved < limit and (row := table.delayed.first()) is not None and row.due_ms <= now_ms:
                table.delayed.pop()
                table.move(row, Event.PROMOTE, now_ms)
                moved += 1
            table.made_ready.clear()  # it is the leader that moved them
            following = table.delayed.first()
            next_s = None if following is None else max(0, following.due_ms - now_ms) / 1000
            return Promoted(moved, next_s, expired)

    def end_session(self, epoch: Epoch, session: SessionId, reason: str, counter: int | None = None) -> Released:
        """End a node's session and release its rows, in one act, unless it has beaten since."""
        with self._lock:
            table = self._open()
            table.fenced(epoch)
            row = table.sessions.get(session)
            if row is not None and counter not in {None, row.counter}:
                return Released(0, 0, ended=False)
            return self._end(table, session, reason)

    def sweep(self, epoch: Epoch, limit: int) -> int:
        """Prune up to `limit` finished rows over the bounds, oldest first, and ids that are old enough."""
        with self._lock:
            table = self._open()
            table.fenced(epoch)
            self._anchor = follow(self._anchor, "", self._clock.boot_s(), self._clock.wall_s())
            now_ms = self._now_ms()
            table.unique.sweep(now_ms)
            table.drop_results(now_ms)
            keep = table.retention
            went = _prune(table, table.finished, (keep.finished_max, keep.finished_age_s), now_ms, limit)
            went += _prune(table, table.failed, (keep.failed_max, keep.failed_age_s), now_ms, limit - went)
            while table.remembered:
                job_id, (_, since_ms) = next(iter(table.remembered.items()))
                if now_ms - since_ms <= keep.ids_age_s * 1000:
                    break
                del table.remembered[job_id]
            return went

    def fire_tick(self, epoch: Epoch, schedule: str, last_tick_ms: int, tick_ms: int, jobs: Sequence[NewJob]) -> bool:
        """Move the schedule's last_tick by compare-and-set and push the jobs, in one act."""
        with self._lock:
            table = self._open()
            table.fenced(epoch)
            row = table.schedules.get(schedule)
            if row is None or row.last_tick_ms != last_tick_ms:
                return False
            self._write(table, jobs, self._now_ms())  # first: when it is full, the tick is not spent
            table.schedules[schedule] = replace(row, last_tick_ms=tick_ms)
            return True


def _prune(table: Table, kept: OrderedDict[int, JobRow], bounds: tuple[int, float], now_ms: int, limit: int) -> int:
    most, age_s = bounds
    went = 0
    while went < limit and kept:
        row = next(iter(kept.values()))
        if len(kept) <= most and now_ms - (row.finished_ms or 0) <= age_s * 1000:
            break
        table.prune(row, now_ms)
        went += 1
    return went


def _open_to(table: Table, session: SessionId, queue: str) -> SessionRow | None:
    """The session, if it may get jobs of the queue at all."""
    row = table.sessions.get(session)
    if row is None or row.alone or row.info.node in table.draining or table.queue(queue).paused:
        return None
    return row


def _give(table: Table, epoch: Epoch, wish: Assignment, now_ms: int) -> list[tuple[SessionRow, JobRow]]:
    session = _open_to(table, wish.session, wish.queue)
    if session is None:
        return []
    given: list[tuple[SessionRow, JobRow]] = []
    ready = table.queue(wish.queue).ready
    count = min(wish.count, session.free(wish.pool, wish.queue))
    while len(given) < count and (row := ready.pop()) is not None:
        if row.expired(now_ms):
            table.move(row, Event.EXPIRE, now_ms, error=EXPIRED)
            continue
        table.give(row, session, table.next_token(epoch), now_ms)
        given.append((session, row))
    return given


def _give_isolated(
    table: Table, epoch: Epoch, wish: IsolatedAssignment, now_ms: int
) -> list[tuple[SessionRow, JobRow]]:
    session = _open_to(table, wish.session, wish.job.queue)
    row = table.rows.get(wish.job.ref)
    if session is None or session.held or session.free(wish.pool, wish.job.queue) < 1:
        return []
    if row is None or row.job.id != wish.job.id or row.state is not JobState.READY or not isolated(row.losses):
        return []
    if row.expired(now_ms):
        table.move(row, Event.EXPIRE, now_ms, error=EXPIRED)
        return []
    table.give(row, session, table.next_token(epoch), now_ms)
    return [(session, row)]

"""A node's acts on the memory store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.errorrecord import error_at_end
from callboard.core.errors import Conflict
from callboard.core.lifecycle import HELD, Event, event_of
from callboard.core.records import (
    BeatReply,
    CancelRequest,
    FinishReceipt,
    Held,
    JobState,
    OutcomeKind,
    ProgressView,
    Released,
    SessionId,
)

from .base import MemoryBase
from .rows import SessionRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import NodeInfo, Outcome, PoolReport, Progress, TakenJob

    from .rows import JobRow
    from .table import Table


class NodeActs(MemoryBase):
    """`callboard.core.ports.NodeStore`."""

    def open_session(self, info: NodeInfo, ttl_s: float, pools: Sequence[PoolReport]) -> SessionId:
        """Begin a life of a node; the same boot id again gets the session that it has."""
        with self._lock:
            table = self._open()
            live = table.session_of_node.get(info.node)
            if live is not None:
                if live.info.boot_id != info.boot_id:
                    raise Conflict(f"a node named {info.node} is alive already (pid {live.info.pid} on "
                                   f"{live.info.host or 'an unnamed host'}); give this one another name, or wait until "
                                   f"the leader has ended that session ({live.ttl_s:g} s after its last sign of life)")
                live.ttl_s = ttl_s
                live.counter += 1  # a sign of life: the node goes by the answer as by a beat's
                self._replace_pools(table, live, pools)
                return live.session
            row = SessionRow(SessionId(table.next_session()), info, ttl_s)
            table.sessions[row.session] = table.session_of_node[info.node] = row
            self._replace_pools(table, row, pools)
            return row.session

    def beat(self, session: SessionId, pools: Sequence[PoolReport]) -> BeatReply:
        """Move the session's counter and replace its pools' reports."""
        with self._lock:
            table = self._open()
            row = table.live_session(session)
            row.counter += 1
            self._replace_pools(table, row, pools)
            node = row.info.node
            queues = [share.queue for pool in row.pools.values() for share in pool.queues]
            desired = [order for queue in queues for name in (node, "*")
                       if (order := table.desired.get((queue, name))) is not None]
            cancels = [CancelRequest(job.job.id, job.token) for job in row.held.values()
                       if job.cancel_asked and job.token is not None]
            waiting = sum(1 for _ in row.rows(JobState.ASSIGNED))
            return BeatReply(tuple(desired), node in table.draining, tuple(cancels), waiting)

    def report(self, session: SessionId, pools: Sequence[PoolReport]) -> None:
        """Replace the pools' reports between two beats."""
        with self._lock:
            table = self._open()
            self._replace_pools(table, table.live_session(session), pools)

    def close_session(self, session: SessionId) -> Released:
        """End the node's own session, its children being dead."""
        with self._lock:
            return self._end(self._open(), session, "it closed its session with the job still running")

    def take(
        self, session: SessionId, queues: Sequence[str], holding: Sequence[Held] | None = None
    ) -> tuple[TakenJob, ...]:
        """Move the session's assigned rows to running and return them, with running ones that `holding` lacks."""
        with self._lock:
            table = self._open()
            row = table.live_session(session)
            wanted = frozenset(queues)
            now_ms = self._now_ms()
            found: list[JobRow] = []
            if holding is not None:
                held = {(one.ref, one.token) for one in holding}
                found += [job for job in row.rows(JobState.RUNNING, wanted) if (job.ref, job.token) not in held]
            for job in list(row.rows(JobState.ASSIGNED, wanted)):
                table.take(job, now_ms)
                found.append(job)
            return tuple(job.taken(job.token) for job in found if job.token is not None)

    def finish(self, session: SessionId, outcomes: Sequence[Outcome]) -> FinishReceipt:
        """Apply outcomes whose token matches, each at most once; the others are stale."""
        del session  # the token says enough: it was issued to one session
        with self._lock:
            table = self._open()
            now_ms = self._now_ms()
            stale: list[Held] = []
            quarantined: list[str] = []
            for outcome in outcomes:
                row = table.rows.get(outcome.held.ref)
                if row is not None and _may_end(row, outcome):
                    if _apply(table, row, outcome, now_ms) is Event.QUARANTINE:
                        quarantined.append(row.job.id)
                elif row is None or not _has_ended(row, outcome):
                    stale.append(outcome.held)
            self._wake_leader(table, room=True)
            return FinishReceipt(len(outcomes) - len(stale), tuple(stale), tuple(quarantined))

    def mark_started(self, session: SessionId, jobs: Sequence[Held]) -> tuple[Held, ...]:
        """Note that these runs have begun; returns those that were refused."""
        with self._lock:
            table = self._open()
            now_ms = self._now_ms()
            refused: list[Held] = []
            for held in jobs:
                row = table.rows.get(held.ref)
                if row is None or not _runs(row, session, held):
                    refused.append(held)
                elif row.started_ms is None:
                    row.started_ms = now_ms
            return tuple(refused)

    def report_progress(self, session: SessionId, reports: Sequence[Progress]) -> None:
        """Keep the newest of each running job; drop the others."""
        with self._lock:
            table = self._open()
            now_ms = self._now_ms()
            for held, fraction, message in reports:
                row = table.rows.get(held.ref)
                if row is not None and _runs(row, session, held):
                    row.progress = ProgressView(fraction, message, now_ms)

    def _replace_pools(self, table: Table, row: SessionRow, pools: Sequence[PoolReport]) -> None:
        for pool in pools:
            for share in pool.queues:
                table.queue(share.queue)  # known from now on, also while it is empty
        if row.report(pools):
            self._wake_leader(table, room=True)


def _runs(row: JobRow, session: SessionId, held: Held) -> bool:
    return (row.state is JobState.RUNNING and row.session == session and row.job.id == held.id
            and row.token == held.token)


def _may_end(row: JobRow, outcome: Outcome) -> bool:
    if row.job.id != outcome.held.id or row.token != outcome.held.token:
        return False
    if outcome.kind is OutcomeKind.HANDED_BACK:
        return row.state in HELD
    return row.state is JobState.RUNNING


def _has_ended(row: JobRow, outcome: Outcome) -> bool:
    """This very outcome was applied before: its reply was lost."""
    return row.job.id == outcome.held.id and row.token == outcome.held.token and row.done is outcome.kind


def _apply(table: Table, row: JobRow, outcome: Outcome, now_ms: int) -> Event:
    event = event_of(outcome.kind, row.step, row.losses, has_hook=row.job.has_failed_hook,
                     cancel_asked=row.cancel_asked, once=row.job.at_most_once)
    error = error_at_end(event, outcome.kind, outcome.error)
    table.move(row, event, now_ms, delay_s=outcome.delay_s, error=error, result=outcome.result)
    row.done = outcome.kind
    return event

"""A node's acts: its session, taking and finishing."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from callboard.core.errorrecord import error_at_end
from callboard.core.errors import Conflict
from callboard.core.lifecycle import HELD, Event, event_of, transition
from callboard.core.records import (
    BeatReply,
    CancelRequest,
    Desired,
    FinishReceipt,
    Held,
    JobState,
    OutcomeKind,
    PoolReport,
    Released,
    SessionId,
    Step,
    TakenJob,
    Token,
)

from .again import again
from .changes import Changes, Row
from .release import release
from .taken import TAKEN_WIDTH, free_started, pack_queues, taken, unpack_queues
from .tx import ASSIGNED, RUNNING, Part, Tx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import NodeInfo, Outcome, Progress

_COMPLETE: Final = Event.COMPLETE
_HANDLE: Final = int(Step.HANDLE)


class NodePart(Part):
    """`callboard.core.ports.NodeStore`."""

    @again
    def open_session(self, info: NodeInfo, ttl_s: float, pools: Sequence[PoolReport]) -> SessionId:
        """See the port."""
        about = (info.host, info.pid, info.version, info.socket, info.started_ms)
        with self._act() as tx:
            found = tx.run("node.live_of_node", info.node).fetchone()
            if found is None:
                row = (info.node, info.boot_id, *about, ttl_s, tx.now_ms)
                session = SessionId(tx.run("node.open_session", *row).fetchone()[0])
            elif found[1] == info.boot_id:
                session = SessionId(found[0])
                tx.run("node.reopen_session", *about, ttl_s, session)
            else:
                raise Conflict(f"a node named {info.node} is alive already (pid {found[3]} on "
                               f"{found[2] or 'an unnamed host'}); give this one another name, or wait until "
                               f"the leader has ended that session ({found[4]:g} s after its last sign of life)")
            _replace_pools(tx, session, pools)
            return session

    @again
    def beat(self, session: SessionId, pools: Sequence[PoolReport]) -> BeatReply:
        """See the port."""
        with self._act() as tx:
            found = tx.run("node.beat", session).fetchall()
            if not found:
                tx.live_session(session)  # raises
            node = found[0][0]
            _replace_pools(tx, session, pools)
            served = {share.queue for pool in pools for share in pool.queues}
            return BeatReply(
                tuple(Desired(*row) for row in tx.run("node.desired_of", node) if row[0] in served),
                tx.run("node.draining", node).fetchone() is not None,
                tuple(CancelRequest(job_id, Token(epoch, seq))
                      for job_id, epoch, seq in tx.run("node.cancels", session)),
                tx.run("node.waiting_rows", session).fetchone()[0],
            )

    @again
    def report(self, session: SessionId, pools: Sequence[PoolReport]) -> None:
        """See the port."""
        with self._act() as tx:
            tx.live_session(session)
            _replace_pools(tx, session, pools)

    @again
    def close_session(self, session: SessionId) -> Released:
        """See the port."""
        with self._act() as tx:
            return release(tx, session, "closed by its node", "it closed its session with the job still running")

    @again
    def take(
        self, session: SessionId, queues: Sequence[str], holding: Sequence[Held] | None = None
    ) -> tuple[TakenJob, ...]:
        """See the port. A power loss may undo it: the row is released with its session then."""
        with self._act() as tx:
            mine = tx.array(list(queues))
            tx.ahead(("store.live_session", session), ("node.assigned_jobs", session, mine))
            tx.live_session(session)
            rows = tx.run("node.assigned_jobs", session, mine).fetchall()
            found = _missing(tx, session, frozenset(queues), holding) if holding is not None else []
            tx.many("node.take", [(tx.now_ms, row[0]) for row in rows])
            free_started(tx, rows)
            for queue, k in Counter(row[3] for row in rows).items():
                tx.count(queue, ASSIGNED, -k)
                tx.count(queue, RUNNING, k)
            return tuple(taken(row[:TAKEN_WIDTH], Token(*row[TAKEN_WIDTH:])) for row in found + rows)

    @again
    def finish(self, session: SessionId, outcomes: Sequence[Outcome]) -> FinishReceipt:  # noqa: ARG002 - tokens fence it
        """See the port. A power loss may undo it: the job merely runs again."""
        with self._act() as tx:
            refs = tx.array([outcome.held.ref for outcome in outcomes])
            rows = {found[0]: Row(*found) for found in tx.run("changes.rows_by_n", refs)}
            changes = Changes(tx)
            ended: dict[int, Outcome] = {}
            stale: list[Held] = []
            quarantined: list[str] = []
            for outcome in outcomes:
                held, kind, delay_s, error, result = outcome
                row = rows.get(held.ref)
                if row is None or row.seq != held.token.seq or row.epoch != held.token.epoch or row.id != held.id:
                    stale.append(held)
                    continue
                event = None if row.n in ended else _event(
                    kind, row.state, row.step, row.losses, row.has_failed_hook, row.cancel, row.once)
                if event is None:
                    done = ended[row.n].kind if row.n in ended else row.outcome
                    if done != kind:
                        stale.append(held)
                    continue
                ended[row.n] = outcome
                if event is _COMPLETE and row.step == _HANDLE:
                    changes.complete(row, result)
                    continue
                if event is Event.QUARANTINE:
                    quarantined.append(row.id)
                changes.apply(row, event, delay_s=delay_s, error=error_at_end(event, kind, error), outcome=kind)
            changes.flush()
            return FinishReceipt(len(outcomes) - len(stale), tuple(stale), tuple(quarantined))

    @again
    def mark_started(self, session: SessionId, jobs: Sequence[Held]) -> tuple[Held, ...]:
        """See `LifeStore`. A power loss may undo it: what ran is a doubt then, and no loss."""
        with self._act() as tx:
            marks = [(tx.now_ms, held.ref, held.id, *held.token, session) for held in jobs]
            if tx.many("node.mark", marks) == len(marks):
                return ()
            refs = tx.array([held.ref for held in jobs])
            rows = {found[0]: Row(*found) for found in tx.run("changes.rows_by_n", refs)}
            return tuple(held for held in jobs if not _is_marked(rows.get(held.ref), held, session))

    @again
    def report_progress(self, session: SessionId, reports: Sequence[Progress]) -> None:
        """See `LifeStore`."""
        newest = {report.held: report for report in reports}.values()  # one statement changes a row once
        with self._act() as tx:
            tx.many("node.progress", [(report.fraction, report.message, tx.now_ms, report.held.ref, report.held.id,
                                       *report.held.token, session) for report in newest])


def _is_marked(row: Row | None, held: Held, session: int) -> bool:
    return (row is not None and row.id == held.id and row.token == held.token and row.session == session
            and row.state == JobState.RUNNING and row.started_ms is not None)


@lru_cache(maxsize=1024)
def _event(
    kind: OutcomeKind, state: int, step: int, losses: int, has_hook: int, cancel: int, once: int
) -> Event | None:
    """What an outcome whose token fits is to a row; None: it can't happen to it."""
    if state == JobState.ASSIGNED and kind is not OutcomeKind.HANDED_BACK:
        return None
    event = event_of(kind, Step(step), losses, has_hook=bool(has_hook), cancel_asked=bool(cancel), once=bool(once))
    return event if JobState(state) in HELD and transition(JobState(state), Step(step), event) is not None else None


def _missing(tx: Tx, session: int, queues: frozenset[str], holding: Sequence[Held]) -> list[Any]:
    """Rows that the session runs by the store, and the node does not know of."""
    known = {held.token for held in holding}
    found = [
        tx.run("node.running_job", n, epoch, seq).fetchone()
        for n, queue, epoch, seq in tx.run("node.running_tokens", session).fetchall()
        if queue in queues and (epoch, seq) not in known
    ]
    return [row for row in found if row is not None]  # one that ended meanwhile may be another's by now


def _replace_pools(tx: Tx, session: SessionId, pools: Sequence[PoolReport]) -> None:
    """Write the pools where they changed; a raised capacity rings the leader."""
    found = tx.run("node.pools_of", session).fetchall()
    before = [PoolReport(pool, unpack_queues(queues), slots, capacity) for pool, queues, slots, capacity in found]
    if before == [PoolReport(pool.name, tuple(pool.queues), pool.slots, pool.capacity) for pool in pools]:
        return
    tx.run("node.drop_pools", session)
    for position, pool in enumerate(pools):
        tx.run("node.put_pool", session, pool.name, position, pack_queues(pool), pool.slots, pool.capacity)
    tx.many("node.know_queue", [(queue,) for queue in sorted({share.queue for pool in pools for share in pool.queues})])
    capacity = {pool.name: pool.capacity for pool in before}
    if any(pool.capacity > capacity.get(pool.name, 0) for pool in pools):
        tx.freed()

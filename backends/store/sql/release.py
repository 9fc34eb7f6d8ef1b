"""Ending a session and releasing its rows, one act, so that nothing is stranded in between; and what expires."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.errorrecord import EXPIRED, node_lost
from callboard.core.lifecycle import Event, Holding, release_event
from callboard.core.records import JobState, Released, Step

from .changes import Changes, Row

if TYPE_CHECKING:
    from callboard.core.records import SessionId

    from .tx import Tx



def expired(tx: Tx, limit: int, *, only_ready: bool) -> tuple[str, int, int, int]:
    """The statement that finds what has expired, and its values."""
    return "changes.rows_expired", int(JobState.READY if only_ready else JobState.DELAYED), tx.now_ms, limit


def expire(tx: Tx, limit: int, *, only_ready: bool = False) -> int:
    """Cancel up to `limit` jobs that wait and have expired; how many."""
    rows = [Row(*one) for one in tx.run(*expired(tx, limit, only_ready=only_ready))]
    if rows:
        changes = Changes(tx)
        for row in rows:
            changes.apply(row, Event.EXPIRE, error=EXPIRED)
        changes.flush()
    return len(rows)


def release(tx: Tx, session: SessionId, reason: str, why: str, counter: int | None = None) -> Released:
    """End the session; what it was assigned goes back, what had started is a loss. Nothing, where it had ended.

    Nothing either where a counter is named and the session has another: it has beaten since.
    """
    found = tx.run("node.lock_session", session).fetchone()
    if found is None:
        return Released(0, 0)
    if counter is not None and found[0] != counter:
        return Released(0, 0, ended=False)
    tx.do("node.end_session", tx.now_ms, reason[:255], session)
    changes = Changes(tx)
    lost = doubted = 0
    quarantined: list[str] = []
    error = node_lost(found[1], why)
    rows = [Row(*one) for one in tx.run("changes.rows_held", session)]
    for row in rows:
        state = JobState(row.state)
        event = release_event(Holding(
            state, Step(row.step), row.losses, started=row.started_ms is not None, careful=bool(row.doubts or row.once),
            once=bool(row.once), has_hook=bool(row.has_failed_hook), cancel_asked=bool(row.cancel)))
        lost += state is JobState.RUNNING and row.started_ms is not None
        doubted += event is Event.DOUBT
        if event is Event.QUARANTINE:
            quarantined.append(row.id)
        changes.apply(row, event, error=error)
    changes.flush()
    tx.rings.add(f"session-{session}")
    tx.do("node.drop_pools", session)
    tx.let_go(session)
    return Released(len(rows) - lost - doubted, lost, tuple(quarantined), doubted=doubted)

"""Ending a session and releasing its rows: one act, so that nothing is stranded in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.lifecycle import Event, Holding, release_event
from callboard.core.records import JobState, Released, Step

from .changes import Changes, Row

if TYPE_CHECKING:
    from callboard.core.records import SessionId

    from .tx import Tx



def release(tx: Tx, session: SessionId, reason: str, node_lost: bytes, counter: int | None = None) -> Released:
    """End the session; what it was assigned goes back, what it ran is a loss. Nothing, where it had ended.

    Nothing either where a counter is named and the session has another: it has beaten since.
    """
    row = tx.run("node.lock_session", session).fetchone()
    if row is None:
        return Released(0, 0)
    if counter is not None and row[0] != counter:
        return Released(0, 0, ended=False)
    tx.do("node.end_session", tx.now_ms, reason[:255], session)
    changes = Changes(tx)
    handed_back = 0
    quarantined: list[str] = []
    rows = [Row(*found) for found in tx.run("changes.rows_held", session)]
    for row in rows:
        state = JobState(row.state)
        event = release_event(Holding(
            state, Step(row.step), row.losses, started=True, careful=False, once=False,
            has_hook=bool(row.has_failed_hook), cancel_asked=bool(row.cancel)))
        handed_back += state is JobState.ASSIGNED
        if event is Event.QUARANTINE:
            quarantined.append(row.id)
        changes.apply(row, event, error=node_lost)
    changes.flush()
    tx.rings.add(f"session-{session}")
    tx.do("node.drop_pools", session)
    tx.let_go(session)
    return Released(handed_back, len(rows) - handed_back, tuple(quarantined))

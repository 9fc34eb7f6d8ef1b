"""Steps with a store that tests of several stores share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.core.records import (
    Assignment,
    FinishReceipt,
    Held,
    NodeInfo,
    Outcome,
    OutcomeKind,
    Plan,
    PoolReport,
    QueueShare,
    SessionId,
    TakenJob,
    TermClaim,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def claim(number: int = 1, owner: str = "boot-1") -> TermClaim:
    """How a leader introduces itself."""
    return TermClaim("c1", "memory", number, owner)


def node_of(store: Any, name: str = "n1", capacity: int = 10, queue: str = "q") -> SessionId:
    """Open a session with one pool."""
    return store.open_session(NodeInfo(name, f"boot-of-{name}"), 5.0,
                              (PoolReport(queue, (QueueShare(queue),), capacity, capacity),))


def plan(session: SessionId, count: int, queue: str = "q") -> Plan:
    """One assignment."""
    return Plan((Assignment(session, queue, queue, count),))


def finish_all(store: Any, session: SessionId, taken: Sequence[TakenJob]) -> FinishReceipt:
    """Complete them."""
    return store.finish(session, [Outcome(Held(one.ref, one.id, one.token), OutcomeKind.COMPLETED) for one in taken])

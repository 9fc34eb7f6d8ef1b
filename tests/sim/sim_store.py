"""The memory store, with two rules that the simulator showed to be needed and that no store has yet.

A node trusts its session for `ttl - margin` from a beat (or an `open_session`) that the store answered. So the leader
may end a session only if no such act came after the last one that it watched from; else children of a live session
start jobs that the store has given to others:
- ending a session compares its counter with the one that stood still (seed 3553: the beat came between the leader's
  survey and its end_session);
- opening a session that lives already moves its counter, as a beat does (the SQL store does that).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.backends.store.memory import MemoryStore
from callboard.core.records import Released

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import Epoch, NodeInfo, PoolReport, SessionId


class SimulatedStore(MemoryStore):
    """One thread uses it, so two acts in a row are one."""

    def end_still_session(self, epoch: Epoch, session: SessionId, counter: int) -> Released:
        """End the session, unless its counter has moved on."""
        self._table.fenced(epoch)
        row = self._table.sessions.get(session)
        if row is not None and row.counter != counter:
            return Released(0, 0)
        return self.end_session(epoch, session, "stood still")

    def open_session(self, info: NodeInfo, ttl_s: float, pools: Sequence[PoolReport]) -> SessionId:
        """Begin a life of a node, or show that the one it has goes on."""
        known = self._table.session_of_node.get(info.node)
        session = super().open_session(info, ttl_s, pools)
        if known is not None:
            known.counter += 1
        return session

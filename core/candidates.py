"""Which nodes stand for election where there are many: the oldest few, and the others only where nobody leads.

Each campaign is a write to the coordination service, and each free leadership a race of all who stand: with a few that
stand both cost the same for 5 nodes and for 500. The rule only keeps nodes from asking; who leads is still decided by
the backend, so views that differ between nodes do no harm. The oldest stand, so that a node that joins or restarts
changes nobody's standing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from callboard.core.records import NodeInfo

CANDIDATES_MAX: Final = 5
"""How many nodes stand unless the settings say otherwise."""
PATIENCE_S: Final = 1.0
"""How long a node that does not stand must have seen nobody lead before it campaigns all the same."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a node knows of its own standing.

    Attributes:
        stands: it is one of the few, by its last look at the members.
        look_at_s: when the members are to be looked at again; by the boot clock.
        leaderless_s: since when nobody was seen to lead; None: somebody was, at the last look.
    """

    stands: bool = True
    look_at_s: float = -math.inf
    leaderless_s: float | None = None


def looked(
    state: Standing, me: NodeInfo, members: Iterable[NodeInfo], candidates_max: int, look_at_s: float
) -> Standing:
    """After a look at the members.

    Args:
        state: as before.
        me: this node; it counts whether or not it is a member yet.
        members: as the backend lists them.
        candidates_max: how many stand, at least 1.
        look_at_s: when to look again.
    """
    before = {(info.started_ms, info.boot_id) for info in members if info.boot_id != me.boot_id}
    older = sum(rank < (me.started_ms, me.boot_id) for rank in before)
    return replace(state, stands=older < candidates_max, look_at_s=look_at_s)


def may_campaign(state: Standing, now_s: float, *, led: bool) -> tuple[Standing, bool]:
    """Whether a node that does not stand may campaign all the same.

    Args:
        state: as before.
        now_s: the boot clock.
        led: somebody leads, by the backend's word just now.
    """
    if led:
        return replace(state, leaderless_s=None), False
    since_s = now_s if state.leaderless_s is None else state.leaderless_s
    return replace(state, leaderless_s=since_s), now_s - since_s >= PATIENCE_S

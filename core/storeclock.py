"""The store's clock on one machine: it counts with CLOCK_BOOTTIME from an anchor, and does not follow the wall's jumps.

Delayed jobs and retries are due by it, so a wall clock that jumps an hour moves none of them. The anchor is kept in the
store and shared by all its processes. A new boot starts a new anchor: nothing but the wall clock spans a reboot.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SMALL_S: Final = 1.0
"""A wall clock this near is followed at once: it is only being disciplined."""
STEADY_S: Final = 600.0
"""A larger step of the wall clock is believed once it stood this long."""


class Anchor(NamedTuple):
    """Where the clock counts from.

    Attributes:
        boot_id: which boot of the machine; "" where the machine does not tell.
        boot_s: seconds since that boot.
        wall_s: seconds since 1970 at that instant.
        step_s: an offset of the wall clock that is being watched; None: none is.
        step_since_s: since when (seconds since boot).
    """

    boot_id: str
    boot_s: float
    wall_s: float
    step_s: float | None = None
    step_since_s: float = 0.0


def drop_anchor(boot_id: str, boot_s: float, wall_s: float) -> Anchor:
    """An anchor at this instant: the clock says what the wall says."""
    return Anchor(boot_id, boot_s, wall_s)


def holds(anchor: Anchor, boot_id: str, boot_s: float) -> bool:
    """Whether the anchor is of this boot. Where no boot id is known, time since boot that went back gives it away."""
    return anchor.boot_id == boot_id and (boot_id != "" or boot_s >= anchor.boot_s - SMALL_S)


def now_s(anchor: Anchor, boot_id: str, boot_s: float, wall_s: float) -> float:
    """Seconds since 1970 by the store's clock; of another boot's anchor, what the wall says."""
    if not holds(anchor, boot_id, boot_s):
        return wall_s
    return anchor.wall_s + (boot_s - anchor.boot_s)


def follow(anchor: Anchor, boot_id: str, boot_s: float, wall_s: float) -> Anchor:
    """The anchor after a look at the wall clock; call it every few seconds.

    An offset of at most SMALL_S is adopted at once. A larger one is adopted when it stood for STEADY_S, give or take
    SMALL_S; if it moves or goes meanwhile, the wait starts again or ends.
    """
    if not holds(anchor, boot_id, boot_s):
        return drop_anchor(boot_id, boot_s, wall_s)
    offset_s = wall_s - now_s(anchor, boot_id, boot_s, wall_s)
    if abs(offset_s) <= SMALL_S:
        return drop_anchor(boot_id, boot_s, wall_s)
    if anchor.step_s is None or abs(offset_s - anchor.step_s) > SMALL_S:
        return anchor._replace(step_s=offset_s, step_since_s=boot_s)
    if boot_s - anchor.step_since_s >= STEADY_S:
        return drop_anchor(boot_id, boot_s, wall_s)
    return anchor

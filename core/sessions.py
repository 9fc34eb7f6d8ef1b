"""When a session has ended: the leader watches its counter stand still.

Only the leader's own boot clock counts, and only the time between two successful reads of the store: in an outage no
node can move its counter, so the outage rescues nobody. A new term starts from an empty `Watch`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.core.records import SessionId

GAP_MAX_S: Final = 2.0
"""Default bound of what one interval between two reads counts for."""


class Reading(NamedTuple):
    """One session as read from the store: its counter, and how long the counter may stand still."""

    counter: int
    ttl_s: float


class Namesake(NamedTuple):
    """A session that has the name of a node which waits for it to end.

    Attributes:
        session: its number.
        counter: as the waiting node saw it first.
        since_s: the boot clock then.
        moved: the counter has moved since, or another session has taken its place.
    """

    session: SessionId
    counter: int
    since_s: float
    moved: bool = False


def wait_for(
    namesake: Namesake | None, session: SessionId, counter: int, now_s: float, patience_s: float
) -> tuple[Namesake, bool]:
    """One look at a namesake: what to remember, and whether it lives, so that waiting is in vain.

    A dead one's counter stands still: it is waited for, however long it takes until there is a leader that has watched
    it long enough. A living one may be stopping just now: that is waited for as long as the patience lasts.
    """
    if namesake is None:
        return Namesake(session, counter, now_s), False
    moved = namesake.moved or (session, counter) != (namesake.session, namesake.counter)
    return namesake._replace(moved=moved), moved and now_s - namesake.since_s > patience_s


class Still(NamedTuple):
    """How long a counter has stood still, in seconds of counted time."""

    counter: int
    still_s: float


@dataclass(frozen=True, slots=True)
class Watch:
    """What the leader has seen in this term.

    Attributes:
        gap_max_s: an interval between two successful reads counts for at most this: a leader that was paused, or
            could not read, has not watched meanwhile. Well below the sessions' ttl, above the time between two reads.
        read_s: the boot clock after the last read, if that one succeeded.
        seen: the sessions of the last successful read.
    """

    gap_max_s: float = GAP_MAX_S
    read_s: float | None = None
    seen: Mapping[SessionId, Still] = field(default_factory=dict["SessionId", Still])


def observe(
    watch: Watch, readings: Mapping[SessionId, Reading], now_s: float, *, ok: bool, took_s: float = 0.0
) -> tuple[Watch, tuple[SessionId, ...]]:
    """One look at the counters.

    Args:
        watch: from the last look; `Watch()` at the start of a term.
        readings: every live session; ignored when the read failed.
        now_s: the boot clock, read before the store was asked.
        ok: the read succeeded. The time on both sides of a failed one counts for nothing.
        took_s: how long the read took; nothing was watched meanwhile, so it counts for nothing.

    Returns:
        The watch to go on with, and the sessions that are over, oldest first. They are named again at each look for as
        long as the store still shows them unchanged.
    """
    if not ok:
        return Watch(watch.gap_max_s, None, watch.seen), ()
    gap_s = 0.0 if watch.read_s is None else min(max(now_s - watch.read_s, 0.0), watch.gap_max_s)
    seen: dict[SessionId, Still] = {}
    for session, reading in readings.items():
        before = watch.seen.get(session)
        moved = before is None or before.counter != reading.counter
        seen[session] = Still(reading.counter, 0.0 if moved or before is None else before.still_s + gap_s)
    ended = tuple(sorted(session for session, still in seen.items() if still.still_s >= readings[session].ttl_s))
    return Watch(watch.gap_max_s, now_s + took_s, seen), ended

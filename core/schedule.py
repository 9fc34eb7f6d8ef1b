"""Which ticks of a cron entry fire now. Pure: the Scheduler carries it out, one compare-and-set of `last_tick` a step.

A tick is due from its instant on, and may still fire for `window_s` after it: a scheduler polls, and a failover takes
seconds. What is older by the time somebody looks was missed for good. Of the ticks that are due:
- "skip" and "all" fire every one, oldest first. They differ in the window they get where none is given: 60 s for
  "skip" (a failover, not an outage), a day for "all".
- "once" fires the newest only, whatever came together; its window is a day where none is given.
Ticks up to `last_tick` were decided: they never fire again, also where the clock goes back.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from callboard.core.cron import newest_tick, next_after, parse, ticks_between
from callboard.core.errors import InvalidSchedule
from callboard.core.options import DELAY_MAX_S, did_you_mean

if TYPE_CHECKING:
    from callboard.core.records import ScheduleRow

DEFAULT_WINDOW_S: Final = {"skip": 60.0, "once": 86_400.0, "all": 86_400.0}
"""Policies for missed ticks, and the window of each where none is given, in seconds."""
STEPS_MAX: Final = 100
"""Ticks that one decision fires at most; the rest come with the next, at once."""
MISSED_MAX: Final = 1_000
"""Missed ticks are counted up to here, for the event."""
NAME_PLAIN_MAX: Final = 150
"""Schedule names up to this length stand in the ids of their jobs as they are."""


class TickStep(NamedTuple):
    """One compare-and-set: move `last_tick` from last_tick_ms to tick_ms, and push the job if it fires."""

    last_tick_ms: int
    tick_ms: int
    fires: bool


class Decision(NamedTuple):
    """What to do about a schedule now.

    Attributes:
        steps: in this order; where one finds another last_tick, the others are void: read the row again.
        missed: ticks that are passed over, counted up to MISSED_MAX.
        next_ms: instant of the store's clock at which to look again; at once if it has passed; None: never.
    """

    steps: tuple[TickStep, ...]
    missed: int
    next_ms: int | None


def check_policy(missed: str) -> str:
    """The policy for missed ticks, if it is one.

    Raises:
        InvalidSchedule: Raised when it is not "skip", "once" or "all".
    """
    if missed not in DEFAULT_WINDOW_S:
        hint = did_you_mean(missed, DEFAULT_WINDOW_S)
        raise InvalidSchedule(f"missed={missed!r} is no policy for missed ticks{hint}; it is 'skip', 'once' or 'all'")
    return missed


def due(row: ScheduleRow, now_ms: int) -> Decision:
    """Decide which ticks fire now.

    Args:
        row: the entry as the store has it.
        now_ms: the store's clock.

    Raises:
        InvalidSchedule: Raised when the row's line, zone, policy or window is wrong (another version wrote it).
    """
    policy = check_policy(row.missed)
    if not 0 <= row.window_s <= DELAY_MAX_S:
        raise InvalidSchedule(f"the window of schedule {row.name!r} must be 0 to {DELAY_MAX_S:.0f} seconds, "
                              f"not {row.window_s!r}")
    cron = parse(row.cron, row.timezone)
    last = row.last_tick_ms
    too_late = max(last, now_ms - round(row.window_s * 1000) - 1)  # a tick up to this instant fires no more
    if policy == "once":
        newest = newest_tick(cron, too_late, now_ms)
        fires: tuple[int, ...] = () if newest is None else (newest,)
        passed_until = now_ms if newest is None else newest - 1
    else:
        fires = ticks_between(cron, too_late, now_ms, STEPS_MAX)
        passed_until = too_late
    missed = len(ticks_between(cron, last, passed_until, MISSED_MAX))
    passed = newest_tick(cron, last, passed_until) if missed and not fires else None
    steps = _steps(last, fires) if passed is None else (TickStep(last, passed, fires=False),)
    return Decision(steps, missed, next_after(cron, steps[-1].tick_ms if steps else last))


def _steps(last: int, fires: tuple[int, ...]) -> tuple[TickStep, ...]:
    """A chain of compare-and-sets; the first one passes over what was missed before it."""
    return tuple(TickStep(before, tick, fires=True) for before, tick in zip((last, *fires), fires, strict=False))


def tick_job_id(name: str, tick_ms: int) -> str:
    """The id of the job that a tick pushes: the same for the same tick, so that a tick pushed twice is one job.

    At most 200 characters: `cron:NAME:20260329T010000Z`, or a digest of the name where it is long.
    """
    stamp = datetime.fromtimestamp(tick_ms // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    if len(name) > NAME_PLAIN_MAX:
        return f"cron-digest:{hashlib.sha256(name.encode()).hexdigest()}:{stamp}"
    return f"cron:{name}:{stamp}"

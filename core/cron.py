"""Cron lines with time zones: when the next tick is. `cronsim` parses and steps them as Debian's cron does.

Five fields: minute, hour, day of month, month, day of week; with `*`, lists, ranges, steps, names (`MON`, `JAN`), and
`L` (last day; `5L` last Friday), `LW` (last weekday), `MON#2` (second Monday). `@hourly`, `@daily` and their like work.
Where neither day field starts with `*`, either may match; otherwise both must.

Where clocks change, the rule is:
- A line whose minute and hour both name times (`30 2 * * *`) fires once on each day it names. A time that is jumped
  over fires at the first minute that exists after the gap (Europe/Berlin, 2026-03-29: 02:30 fires at 03:00 CEST). A
  time that comes twice fires the first time only (2026-10-25: 02:30 CEST).
- A line whose minute or hour starts with `*` (`*/30 * * * *`, `0 * * * *`) follows real time: what is jumped over does
  not fire, what comes twice fires twice.
Ticks are instants: strictly ascending, on whole minutes. Two times that fall on one instant are one tick.
Known limit: where a clock changes by half an hour (Australia/Lord_Howe alone), a line that starts with `*` can lose
its ticks in the first half hour after the change.

Zone data comes from `zoneinfo`, which caches what it reads.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from callboard.core.errors import InvalidSchedule
from callboard.core.options import did_you_mean

LINE_MAX: Final = 200
"""Limit of a cron line, in characters."""
ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_FIELDS: Final = 5
_LATEST_MS: Final = 253_370_764_800_000 - 60 * 366 * 86_400_000  # the year 9999, less what a search looks ahead
_FROM: Final = datetime(2023, 12, 31, 23, 59, tzinfo=UTC)  # any: a line that ever fires does so within 50 years of it


class Cron(NamedTuple):
    """A checked cron line.

    Attributes:
        line: five fields, an alias resolved.
        timezone: an IANA name.
    """

    line: str
    timezone: str


def parse(line: str, timezone: str) -> Cron:
    """Check a cron line and its time zone.

    Raises:
        InvalidSchedule: Raised when the line can't be parsed or never fires, or the zone is unknown.
    """
    zone(timezone)
    if len(line) > LINE_MAX:
        raise InvalidSchedule(f"a cron line has at most {LINE_MAX} characters, not {len(line):,}")
    text = line.strip()
    if text.startswith("@"):
        if text.lower() not in ALIASES:
            raise InvalidSchedule(f"cron line {line!r} is no known alias{did_you_mean(text.lower(), ALIASES)}; "
                                  f"they are {', '.join(ALIASES)}")
        text = ALIASES[text.lower()]
    fields = text.split()
    if len(fields) != _FIELDS:
        raise InvalidSchedule(f"cron line {line!r} has {len(fields)} fields, but needs five: "
                              "minute hour day-of-month month day-of-week, for example '0 9 * * MON-FRI'")
    text = " ".join(fields)
    try:
        first = next(CronSim(text, _FROM), None)
    except CronSimError as error:
        if not _fields_are_valid(fields):
            raise InvalidSchedule(f"cron line {line!r} can't be read: {_reason(error)}; "
                                  "fields are minute (0-59) hour (0-23) day (1-31) month (1-12) weekday (0-7)",
                                  cause=error) from error
        first = None  # each field is right, and the day exists in none of its months
    if first is None:
        raise InvalidSchedule(f"cron line {line!r} never fires: no such day comes within 50 years; "
                              "check day of month, month and day of week")
    return Cron(text, timezone)


def zone(timezone: str) -> tzinfo:
    """The time zone of an IANA name.

    Raises:
        InvalidSchedule: Raised when there is none; says "did you mean" where one is near.
    """
    if timezone == "UTC":
        return UTC
    try:
        return ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        names = available_timezones()
        same = [name for name in names if name.casefold() == timezone.casefold()]
        hint = f" (did you mean {same[0]!r}?)" if same else did_you_mean(timezone[:LINE_MAX], names)
        raise InvalidSchedule(f"unknown time zone {timezone[:60]!r}{hint}; use an IANA name such as 'Europe/Berlin' "
                              "or 'UTC'", cause=error) from error


def next_after(cron: Cron, after_ms: int) -> int | None:
    """The first tick after an instant (milliseconds since 1970); None where none comes within 50 years.

    None also for an instant before 1970 or too close to the year 9999.

    Raises:
        InvalidSchedule: Raised when the value was not made by `parse` and is wrong.
    """
    if not 0 <= after_ms <= _LATEST_MS:
        return None
    start = datetime.fromtimestamp(after_ms // 1000, zone(cron.timezone))
    try:
        for tick in CronSim(cron.line, start):
            # While a clock is set back, the times of its second pass come out as those of the first: not later.
            tick_ms = round(tick.timestamp()) * 1000
            if tick_ms > after_ms:
                return tick_ms
    except CronSimError as error:
        raise InvalidSchedule(f"cron line {cron.line!r} can't be read: {_reason(error)}", cause=error) from error
    return None


def ticks_between(cron: Cron, last_ms: int, now_ms: int, limit: int) -> tuple[int, ...]:
    """The ticks after `last_ms` up to and with `now_ms`, oldest first, at most `limit` of them."""
    ticks: list[int] = []
    tick = next_after(cron, last_ms)
    while tick is not None and tick <= now_ms and len(ticks) < limit:
        ticks.append(tick)
        tick = next_after(cron, tick)
    return tuple(ticks)


def newest_tick(cron: Cron, last_ms: int, now_ms: int) -> int | None:
    """The newest tick after `last_ms` up to and with `now_ms`, or None; in some 40 steps, however many there are."""
    newest = None
    low, high = last_ms, now_ms
    while low < high:
        middle = (low + high) // 2
        tick = next_after(cron, middle)
        if tick is None or tick > now_ms:
            high = middle
        else:
            newest = low = tick
    return newest


def _fields_are_valid(fields: list[str]) -> bool:
    """Each field by itself can be read."""
    try:
        for index in range(_FIELDS):
            CronSim(" ".join(field if at == index else "*" for at, field in enumerate(fields)), _FROM)
    except CronSimError:
        return False
    return True


def _reason(error: CronSimError) -> str:
    """What cronsim says, as part of a sentence: `bad hour`."""
    return str(error).lower()

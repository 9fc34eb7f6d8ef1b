"""When cron lines tick, also on the days when clocks change."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.core.cron import ALIASES, Cron, newest_tick, next_after, parse, ticks_between
from callboard.core.errors import InvalidSchedule

MINUTE_MS = 60_000
CHANGES = (  # where and when clocks change, and places where they don't
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("America/St_Johns", "2026-11-01"),
    ("Africa/Cairo", "2026-04-24"),  # no midnight
    ("Africa/Cairo", "2026-10-29"),
    ("America/Santiago", "2026-04-04"),  # two of 23:00
    ("Antarctica/Troll", "2026-03-29"),  # by two hours
    ("Asia/Kathmandu", "2026-03-29"),
    ("Asia/Shanghai", "2026-03-29"),
    ("UTC", "2026-03-29"),
)
MINUTES = ("*", "*/15", "*/7", "0", "30", "7,37", "0-10", "59")
HOURS = ("*", "*/2", "0", "1", "2", "1-3", "0,12", "23")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def shown(tick_ms: int | None, timezone: str) -> str:
    assert tick_ms is not None
    return datetime.fromtimestamp(tick_ms / 1000, ZoneInfo(timezone)).isoformat(timespec="minutes")


def ticks(line: str, timezone: str, after: str, count: int) -> list[str]:
    cron, tick, found = parse(line, timezone), ms(after), []
    for _ in range(count):
        tick = next_after(cron, tick)
        found.append(shown(tick, timezone))
    return found


def test_a_time_that_is_jumped_over_fires_at_the_first_minute_after_the_gap():
    assert ticks("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00+00:00", 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]


def test_a_time_that_comes_twice_fires_the_first_time_only():
    assert ticks("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00+00:00", 2) == [
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]
    inside = "2026-10-25T02:10+01:00"  # a scheduler that starts within it does not fire again
    assert ticks("30 2 * * *", "Europe/Berlin", inside, 1) == ["2026-10-26T02:30+01:00"]


def test_lines_with_a_star_follow_real_time():
    assert ticks("*/30 * * * *", "Europe/Berlin", "2026-10-25T01:45+02:00", 5) == [
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:30+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T02:30+01:00",
        "2026-10-25T03:00+01:00",
    ]
    assert ticks("*/30 2 * * *", "Europe/Berlin", "2026-03-28T02:45+01:00", 1) == ["2026-03-30T02:00+02:00"]


def test_two_times_on_one_instant_are_one_tick():
    assert ticks("0 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00+01:00", 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:00+02:00",
    ]


def test_a_zone_without_changes():
    assert ticks("0 9 * * *", "Asia/Shanghai", "2026-03-28T00:00+00:00", 2) == [
        "2026-03-28T09:00+08:00",
        "2026-03-29T09:00+08:00",
    ]


def expand(field: str, high: int) -> set[int]:
    values: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        low, _, last = span.partition("-")
        all_of_it = range(high + 1) if low == "*" else range(int(low), int(last or low) + 1)
        values.update(list(all_of_it)[:: int(step or 1)])
    return values


def by_the_rule(line: str, timezone: str, start: datetime, end: datetime) -> list[int]:
    """The documented rule, spelled out minute by minute."""
    minute_field, hour_field, *_ = line.split()
    minutes, hours, zone = expand(minute_field, 59), expand(hour_field, 23), ZoneInfo(timezone)
    every = (start + timedelta(minutes=n) for n in range(1, int((end - start) / timedelta(minutes=1)) + 1))
    if "*" in minute_field[0] + hour_field[0]:
        local = ((instant, instant.astimezone(zone)) for instant in every)
        return [round(at.timestamp() * 1000) for at, here in local if here.minute in minutes and here.hour in hours]
    found = set()
    for day in range(-1, (end - start).days + 2):
        for hour in hours:
            for minute in minutes:
                naive = datetime.combine(start.date() + timedelta(days=day), time(hour, minute))
                while naive.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != naive:
                    naive += timedelta(minutes=1)
                instant = naive.replace(tzinfo=zone).astimezone(UTC)
                if start < instant <= end:
                    found.add(round(instant.timestamp() * 1000))
    return sorted(found)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(CHANGES), st.sampled_from(MINUTES), st.sampled_from(HOURS), st.integers(-1500, 1500))
def test_ticks_are_those_of_the_rule(change, minute, hour, offset):
    timezone, day = change
    line = f"{minute} {hour} * * *"
    start = datetime.fromisoformat(day + "T00:00+00:00") + timedelta(minutes=offset)
    end = start + timedelta(days=1, hours=6)
    start_ms, end_ms = round(start.timestamp() * 1000), round(end.timestamp() * 1000)
    found = ticks_between(parse(line, timezone), start_ms, end_ms, 10_000)
    assert list(found) == by_the_rule(line, timezone, start, end)
    assert newest_tick(parse(line, timezone), start_ms, end_ms) == (found[-1] if found else None)
    assert ticks_between(parse(line, timezone), start_ms, end_ms, 3) == found[:3]


days = st.sampled_from(("*", "1", "31", "29", "L", "LW", "1-7", "*/10", "13,14"))
months = st.sampled_from(("*", "2", "JAN,JUL", "3-10", "*/5"))
weekdays = st.sampled_from(("*", "MON", "FRI#2", "5L", "1-5", "0", "7"))


@settings(deadline=None)
@given(
    st.sampled_from(MINUTES), st.sampled_from(HOURS), days, months, weekdays,
    st.sampled_from(CHANGES), st.integers(0, 2_000_000_000_000),
)
def test_the_next_tick_is_later_whole_and_the_first(minute, hour, day, month, weekday, change, after_ms):
    line = f"{minute} {hour} {day} {month} {weekday}"
    # the last Friday of February is after the 21st, and two fields of which one begins with * are both to hold
    if ((day, month) == ("31", "2") and "*" in weekday) or (day, month, weekday) == ("*/10", "2", "5L"):
        with pytest.raises(InvalidSchedule, match="never fires"):
            parse(line, change[0])
        return
    cron = parse(line, change[0])
    tick = next_after(cron, after_ms)
    assert tick is not None
    assert tick > after_ms
    assert tick % MINUTE_MS == 0
    assert next_after(cron, tick - 1) == tick
    assert next_after(cron, (after_ms + tick) // 2) == tick


def test_a_tick_is_strictly_after():
    cron = parse("0 9 * * *", "UTC")
    at_nine = ms("2026-01-01T09:00+00:00")
    assert next_after(cron, at_nine - 1) == at_nine
    assert next_after(cron, at_nine) == at_nine + 86_400_000
    assert next_after(cron, at_nine + 999) == at_nine + 86_400_000


def test_instants_out_of_range_have_no_tick():
    cron = parse("* * * * *", "Europe/Berlin")
    assert next_after(cron, -1) is None
    assert next_after(cron, 2**63) is None
    assert ticks_between(cron, 5 * MINUTE_MS, 0, 10) == ()
    assert newest_tick(cron, 5 * MINUTE_MS, 0) is None


@pytest.mark.parametrize("alias", [*ALIASES, "@Daily", " @hourly "])
def test_aliases(alias):
    assert parse(alias, "UTC") == Cron(ALIASES[alias.strip().lower()], "UTC")


def test_spaces_do_not_matter():
    assert parse("  0\t9  * * MON-FRI ", "UTC").line == "0 9 * * MON-FRI"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 2,4,6,9,11 *", "never fires"),
        ("0 0 */31 * MON#5", "never fires"),
        ("61 * * * *", "bad minute"),
        ("0 24 * * *", "bad hour"),
        ("0 0 32 * *", "bad day-of-month"),
        ("0 0 * 13 *", "bad month"),
        ("0 0 * * 8", "bad day-of-week"),
        ("0 0 32 2 *", "bad day-of-month"),
        ("every day", "has 2 fields, but needs five"),
        ("0 0 0 * * *", "has 6 fields, but needs five"),
        ("", "has 0 fields"),
        ("@dayly", "did you mean '@daily'?"),
        ("5-1 * * * *", "bad minute"),
        ("*/0 * * * *", "bad minute"),
        ("0 " * 200, "at most 200 characters"),
    ],
)
def test_bad_lines_say_what_and_how(line, says):
    with pytest.raises(InvalidSchedule, match=re.escape(says)):
        parse(line, "UTC")


@pytest.mark.parametrize(
    ("timezone", "says"),
    [
        ("Asia/Shangai", "did you mean 'Asia/Shanghai'?"),
        ("europe/berlin", "did you mean 'Europe/Berlin'?"),
        ("Mars/Olympus", "unknown time zone 'Mars/Olympus'; use an IANA name"),
        ("../../etc/passwd", "unknown time zone"),
        ("America", "unknown time zone"),
        ("", "unknown time zone"),
        ("a\0b", "unknown time zone"),
        ("x" * 100_000, "unknown time zone"),
    ],
)
def test_unknown_zones_say_what_is_near(timezone, says):
    with pytest.raises(InvalidSchedule, match=re.escape(says)):
        parse("0 9 * * *", timezone)


@given(st.text(alphabet="0123456789*/-,#LWMONFRI@ ²٣", max_size=40))
def test_any_text_is_a_schedule_or_a_clear_error(text):
    try:
        cron = parse(text, "Europe/Berlin")
    except InvalidSchedule:
        return
    assert next_after(cron, 1_750_000_000_000)


def test_a_row_with_a_spoiled_line_is_an_error_of_ours():
    with pytest.raises(InvalidSchedule):
        next_after(Cron("nonsense * * * *", "UTC"), 0)
    with pytest.raises(InvalidSchedule):
        next_after(Cron("* * * * *", "Nowhere"), 0)

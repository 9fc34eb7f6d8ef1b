"""Which ticks fire: each at most once, by the policy for missed ones, through late looks, failovers and clock jumps."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.core.cron import parse, ticks_between
from callboard.core.errors import InvalidSchedule
from callboard.core.options import NAME_MAX, name_of
from callboard.core.records import NewJob, ScheduleRow
from callboard.core.schedule import DEFAULT_WINDOW_S, MISSED_MAX, STEPS_MAX, TickStep, due, tick_job_id

MINUTE = 60_000
START = 1_750_000_020_000  # a whole minute
POLICIES = tuple(DEFAULT_WINDOW_S)


def row(missed="skip", window_s=60.0, cron="* * * * *", last=START, timezone="UTC") -> ScheduleRow:
    return ScheduleRow("report", cron, timezone, missed, window_s, NewJob("", "report", "default", b""), last)


def fired(decision) -> list[int]:
    """Minutes since START that fire."""
    return [(step.tick_ms - START) // MINUTE for step in decision.steps if step.fires]


def test_nothing_is_due_before_the_tick():
    decision = due(row(), START + MINUTE - 1)
    assert decision.steps == ()
    assert decision.next_ms == START + MINUTE


@pytest.mark.parametrize("policy", POLICIES)
def test_a_tick_fires_at_its_instant(policy):
    decision = due(row(policy), START + MINUTE)
    assert decision.steps == (TickStep(START, START + MINUTE, fires=True),)
    assert decision.next_ms == START + 2 * MINUTE
    assert decision.missed == 0


def test_skip_fires_what_is_late_by_the_window_and_passes_over_what_is_older():
    hourly = row(cron="0 * * * *", last=START)
    tick = due(hourly, START).next_ms
    assert due(hourly, tick + 60_000).steps == (TickStep(START, tick, fires=True),)
    late = due(hourly, tick + 60_001)
    assert late.steps == (TickStep(START, tick, fires=False),)
    assert late.missed == 1
    assert late.next_ms == tick + 60 * MINUTE


def test_skip_passes_over_the_older_ones_in_the_step_that_fires():
    decision = due(row(), START + 10 * MINUTE + 30_000)
    assert decision.steps == (TickStep(START, START + 10 * MINUTE, fires=True),)
    assert decision.missed == 9


def test_once_fires_the_newest_only():
    decision = due(row("once", 600.0), START + 30 * MINUTE + 30_000)
    assert decision.steps == (TickStep(START, START + 30 * MINUTE, fires=True),)
    assert decision.missed == 29


def test_once_has_a_window_too():
    decision = due(row("once", 600.0, cron="0 0 * * *"), START + 86_400_000)
    assert [step.fires for step in decision.steps] == [False]


def test_all_fires_every_one_within_the_window():
    assert fired(due(row("all", 300.0), START + 10 * MINUTE)) == [5, 6, 7, 8, 9, 10]


def test_a_long_list_comes_in_parts():
    day = row("all", 86_400.0)
    now, found = START + 250 * MINUTE, []
    for size in (STEPS_MAX, STEPS_MAX, 50):
        decision = due(day, now)
        assert len(decision.steps) == size
        assert (decision.next_ms <= now) == (size == STEPS_MAX)
        found += fired(decision)
        day = replace(day, last_tick_ms=decision.steps[-1].tick_ms)
    assert found == list(range(1, 251))


def test_years_of_missed_ticks_are_passed_over_in_one_step():
    decision = due(row(cron="0 * * * *", last=0), START)
    assert len(decision.steps) == 1
    assert decision.missed == MISSED_MAX


def test_a_clock_that_goes_back_fires_nothing_again():
    for policy in POLICIES:
        decision = due(row(policy, last=START + 60 * MINUTE), START)
        assert decision.steps == ()
        assert decision.next_ms == START + 61 * MINUTE


def test_time_zones_hold():
    decision = due(row(cron="0 9 * * *", timezone="Asia/Shanghai"), START)
    assert (decision.next_ms // 3_600_000) % 24 == 1


@settings(deadline=None)
@given(
    st.sampled_from(POLICIES),
    st.sampled_from((0.0, 30.0, 60.0, 600.0, 7_200.0)),
    st.sampled_from(("* * * * *", "*/7 * * * *", "5,6,50 * * * *", "0 */2 * * *")),
    st.lists(st.integers(-200_000, 3_000_000), max_size=25),
)
def test_looking_at_any_instants_fires_each_tick_once_and_by_the_policy(policy, window_s, line, waits):
    """Looks come early, late, and with a clock that goes back; what fires is what the rule says of the looks."""
    entry, now, highest = row(policy, window_s, line), START, START
    cron, history = parse(line, "UTC"), []
    for wait in waits:
        now += wait
        expected = [tick for tick in ticks_between(cron, highest, now, 10**6) if now - tick <= window_s * 1000]
        if policy == "once":
            expected = expected[-1:]
        fires = []
        for _ in range(100):
            decision = due(entry, now)
            for step in decision.steps:
                assert step.last_tick_ms == entry.last_tick_ms, "not a chain"
                assert step.tick_ms > step.last_tick_ms
                assert step.tick_ms <= now
                entry = replace(entry, last_tick_ms=step.tick_ms)
                fires += [step.tick_ms] if step.fires else []
            if decision.next_ms > now:
                break
        assert fires == expected
        assert decision.next_ms == ticks_between(cron, max(now, highest), now + 10**9, 1)[0]
        assert due(entry, now).steps == ()
        history += fires
        highest = max(highest, now)
    assert len(set(history)) == len(history)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (row("onse"), "did you mean 'once'?"),
        (row(window_s=-1.0), "must be 0 to"),
        (row(window_s=float("nan")), "must be 0 to"),
        (row(window_s=float("inf")), "must be 0 to"),
        (row(cron="x"), "needs five"),
        (row(timezone="Europe/Berlim"), "did you mean 'Europe/Berlin'?"),
    ],
)
def test_a_row_that_is_wrong_says_so(broken, says):
    with pytest.raises(InvalidSchedule, match=re.escape(says)):
        due(broken, START)


names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:@/+-]{0,199}", fullmatch=True)


@given(names, names, st.integers(0, 4_000_000_000), st.integers(0, 4_000_000_000))
def test_ids_of_ticks_are_valid_and_differ(name, other, second, other_second):
    one, two = tick_job_id(name, second * 1000), tick_job_id(other, other_second * 1000)
    assert name_of(one, "id") == one
    assert len(one) <= NAME_MAX
    assert (one == two) == ((name, second) == (other, other_second))
    assert tick_job_id(name, second * 1000) == one


def test_an_id_can_be_read():
    assert tick_job_id("nightly-report", START) == "cron:nightly-report:20250615T150700Z"


def test_long_names_make_ids_that_fit_and_meet_no_other():
    for length in (150, 151, 190, NAME_MAX):
        assert len(tick_job_id("x" * length, START)) <= NAME_MAX
    one, two = (tick_job_id("x" * 199 + end, START) for end in "ab")
    assert one != two
    digest = one.split(":")[1]
    assert tick_job_id(digest, START) != one

"""Cron entries: a tick is fired by compare-and-set, in one act with its job."""

from __future__ import annotations

from dataclasses import replace

import pytest
from storekit import Rig, job

from callboard.core.errors import QueueFull
from callboard.core.records import Backoff, JobState, NewJob, ScheduleRow

TEMPLATE = NewJob("nightly", "app.report", "q", b"\x80", priority=3, max_attempts=2, timeout_s=1.5,
                  backoff=Backoff(2.0), unique="report", has_failed_hook=True)
ROW = ScheduleRow("nightly", "0 3 * * *", "Europe/Berlin", "once", 3_600.0, TEMPLATE, 1_000)


def last_tick(rig: Rig, name: str = "nightly") -> int:
    """Where the schedule stands."""
    (row,) = [row for row in rig.store.schedules() if row.name == name]
    return row.last_tick_ms


def test_an_entry_comes_back_whole(rig: Rig):
    assert rig.store.schedules() == ()
    rig.store.put_schedule(ROW)
    rig.store.put_schedule(replace(ROW, name="other"))
    assert set(rig.store.schedules()) == {ROW, replace(ROW, name="other")}
    assert rig.store.remove_schedule("other") is True
    assert rig.store.remove_schedule("other") is False
    assert rig.store.schedules() == (ROW,)


def test_an_unchanged_entry_keeps_its_last_tick(rig: Rig):
    rig.store.put_schedule(ROW)
    rig.store.fire_tick(rig.epoch, "nightly", 1_000, 2_000, [])
    rig.store.put_schedule(ROW)
    assert last_tick(rig) == 2_000


@pytest.mark.parametrize("change", [
    {"cron": "0 4 * * *"}, {"timezone": "UTC"}, {"missed": "all"}, {"window_s": 1.0},
    {"job": replace(TEMPLATE, body=b"\xc0")}, {"job": replace(TEMPLATE, priority=1)},
], ids=str)
def test_a_changed_entry_starts_from_the_new_ones_tick(rig: Rig, change: dict[str, object]):
    rig.store.put_schedule(ROW)
    rig.store.fire_tick(rig.epoch, "nightly", 1_000, 2_000, [])
    changed = replace(ROW, last_tick_ms=5_000, **change)
    rig.store.put_schedule(changed)
    assert rig.store.schedules() == (changed,)


def check_a_tick_fires_once(rig: Rig) -> None:
    rig.store.put_schedule(ROW)
    assert rig.store.fire_tick(rig.epoch, "nightly", 1_000, 2_000, [job("tick-2000")]) is True
    assert (last_tick(rig), rig.state("tick-2000")) == (2_000, JobState.READY)
    assert rig.store.fire_tick(rig.epoch, "nightly", 1_000, 2_000, [job("again")]) is False
    assert (last_tick(rig), rig.state("again")) == (2_000, None)


def test_a_tick_fires_once(rig: Rig):
    check_a_tick_fires_once(rig)


def test_a_tick_fires_once_over_a_change_of_leader(rig: Rig):
    rig.store.put_schedule(ROW)
    rig.store.fire_tick(rig.epoch, "nightly", 1_000, 2_000, [job("tick-2000")])
    rig.depose()
    assert rig.store.fire_tick(rig.epoch, "nightly", 1_000, 2_000, [job("again")]) is False
    assert rig.store.fire_tick(rig.epoch, "nightly", 2_000, 3_000, [job("tick-3000")]) is True


def test_a_tick_without_a_job_is_skipped(rig: Rig):
    rig.store.put_schedule(ROW)
    assert rig.store.fire_tick(rig.epoch, "nightly", 1_000, 2_000, []) is True
    assert last_tick(rig) == 2_000


def test_several_missed_ticks_fire_together(rig: Rig):
    rig.store.put_schedule(ROW)
    assert rig.store.fire_tick(rig.epoch, "nightly", 1_000, 4_000, [job("t2"), job("t3"), job("t4")]) is True
    assert rig.counts().ready == 3


def test_a_removed_entry_does_not_fire(rig: Rig):
    rig.store.put_schedule(ROW)
    rig.store.remove_schedule("nightly")
    assert rig.store.fire_tick(rig.epoch, "nightly", 1_000, 2_000, [job("tick")]) is False
    assert rig.state("tick") is None


def test_a_tick_whose_unique_job_still_runs_is_fired_without_a_second_one(rig: Rig):
    rig.store.put_schedule(ROW)
    rig.push("first", unique="report")
    assert rig.store.fire_tick(rig.epoch, "nightly", 1_000, 2_000, [replace(TEMPLATE, id="tick")]) is True
    assert rig.state("tick") is None
    assert last_tick(rig) == 2_000


def test_a_tick_into_a_full_store_is_not_spent(rig: Rig):
    small = rig.fresh(max_jobs=1)
    small.store.put_schedule(ROW)
    small.push("a")
    with pytest.raises(QueueFull):
        small.store.fire_tick(small.epoch, "nightly", 1_000, 2_000, [job("tick")])
    assert last_tick(small) == 1_000
    small.store.cancel("a")
    assert small.store.fire_tick(small.epoch, "nightly", 1_000, 2_000, [job("tick")]) is True

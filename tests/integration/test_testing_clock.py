"""callboard.testing.FakeClock: delays, and cron entries that fire as it advances."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

import callboard
from callboard import Scheduler, SchedulerConfig, testing
from callboard.core.errors import InvalidArgument


@callboard.job
def clock_report(kind: str = "daily") -> None:
    """Never run here."""


class ClockBeat(callboard.Job):
    def handle(self) -> None:
        """Done at once."""


def test_it_stands_still_and_moves_on():
    clock = testing.FakeClock()
    assert clock.now() == datetime(2024, 1, 1, tzinfo=UTC)
    boot_s, wall_s = clock.boot_s(), clock.wall_s()
    assert (clock.boot_s(), clock.wall_s()) == (boot_s, wall_s)
    clock.advance(90)
    clock.advance(timedelta(minutes=1))
    assert (clock.boot_s() - boot_s, clock.wall_s() - wall_s) == (150, 150)
    assert clock.now() == datetime(2024, 1, 1, 0, 2, 30, tzinfo=UTC)


def test_it_begins_where_it_is_told_and_does_not_go_back():
    start = datetime(2026, 3, 29, 1, 59, tzinfo=ZoneInfo("Europe/Berlin"))
    clock = testing.FakeClock(start)
    assert clock.now() == start
    with pytest.raises(InvalidArgument, match="advance"):
        clock.advance(-1)
    with pytest.raises(InvalidArgument, match="time zone"):
        testing.FakeClock(datetime(2026, 3, 29))  # noqa: DTZ001 - the refusal is the point


def test_the_store_s_clock_is_this_one():
    clock = testing.FakeClock()
    queue = testing.memory_queue(clock)
    clock.advance(1.5)
    assert queue.store.store_now_ms() == round(clock.wall_s() * 1000)


def test_cron_entries_fire_on_the_way_each_at_its_instant():
    clock = testing.FakeClock(datetime(2026, 1, 5, 8, 30, tzinfo=UTC))  # a Monday
    queue = testing.memory_queue(clock)
    with Scheduler(queue) as scheduler:
        scheduler.add(clock_report.bind("hourly"), "0 * * * *", name="hourly")
        scheduler.add(clock_report.bind("daily"), "0 9 * * MON-FRI", name="daily")
        clock.advance(1_799)
        testing.assert_not_pushed(queue, clock_report)
        clock.advance(1)
        assert [job.id for job in testing.pushed(queue)] == [
            "cron:daily:20260105T090000Z", "cron:hourly:20260105T090000Z"]
        clock.advance(timedelta(days=7))
    testing.assert_pushed(queue, clock_report, count=1 + 5, kind="daily")
    testing.assert_pushed(queue, clock_report, count=1 + 7 * 24, kind="hourly")
    record = queue.store.job("cron:daily:20260107T090000Z")
    assert record is not None
    assert datetime.fromtimestamp(record.pushed_ms / 1000, UTC) == datetime(2026, 1, 7, 9, tzinfo=UTC)


def test_ticks_are_run_by_drain():
    clock = testing.FakeClock()
    queue = testing.memory_queue(clock)
    with Scheduler(queue) as scheduler:
        scheduler.add(ClockBeat(), "*/10 * * * *")
        for _ in range(3):
            clock.advance(600)
            assert [run.name for run in testing.drain(queue).completed] == ["ClockBeat"]


@pytest.mark.parametrize(("start", "expected"), [
    (datetime(2026, 3, 29, 0, 0, tzinfo=UTC), ["20260329T010000Z"]),  # 02:30 does not exist: 03:00 CEST
    (datetime(2026, 10, 25, 0, 0, tzinfo=UTC), ["20261025T003000Z"]),  # 02:30 comes twice: the first
])
def test_days_when_clocks_change_can_be_tested(start: datetime, expected: list[str]):
    clock = testing.FakeClock(start)
    queue = testing.memory_queue(clock)
    with Scheduler(queue, SchedulerConfig(timezone="Europe/Berlin")) as scheduler:
        scheduler.add(clock_report.bind(), "30 2 * * *", name="night")
        clock.advance(6 * 3_600)
    assert [job.id for job in testing.pushed(queue)] == [f"cron:night:{stamp}" for stamp in expected]


def test_two_queues_may_share_a_clock():
    clock = testing.FakeClock()
    queues = [testing.memory_queue(clock) for _ in range(2)]
    for minute, queue in enumerate(queues, 1):
        with Scheduler(queue) as scheduler:
            scheduler.add(clock_report.bind(), f"{minute} * * * *", name="own")
    clock.advance(3_600)
    assert [[job.id for job in testing.pushed(queue)] for queue in queues] == [
        ["cron:own:20240101T000100Z"], ["cron:own:20240101T000200Z"]]


def test_a_job_may_advance_the_clock_itself():
    clock = testing.FakeClock()
    queue = testing.memory_queue(clock)

    @callboard.job(name="clock_slow")
    def slow() -> None:
        clock.advance(120)

    with Scheduler(queue) as scheduler:
        scheduler.add(ClockBeat(), "* * * * *")
        queue.push(slow.bind())
        report = testing.drain(queue)
    assert [run.name for run in report.completed] == ["clock_slow", "ClockBeat", "ClockBeat"]

"""callboard.Scheduler: what it writes into the store, when, and what it refuses."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import callboard
from callboard import InvalidSchedule, Scheduler, SchedulerConfig, testing
from callboard.core.errors import InvalidArgument, UnknownOption, UsageError
from callboard.core.records import Backoff


@callboard.job(queue="reports", max_attempts=5)
def sched_report(kind: str = "daily") -> None:
    """Never run here."""


class SchedProcess(callboard.Job):
    data_id: int
    extra: Any = None

    def handle(self) -> None:
        """Never run here."""


@pytest.fixture
def clock() -> testing.FakeClock:
    return testing.FakeClock(datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC))


@pytest.fixture
def queue(clock: testing.FakeClock) -> callboard.Queue:
    return testing.memory_queue(clock)


def test_an_entry_is_written_by_start_and_then_at_once(queue: callboard.Queue):
    scheduler = Scheduler(queue)
    scheduler.add(sched_report.bind(), "0 9 * * *", name="before")
    assert queue.store.schedules() == ()
    scheduler.start()
    assert [entry.name for entry in scheduler.list()] == ["before"]
    scheduler.add(sched_report.bind(), "0 9 * * *", name="after")
    assert [entry.name for entry in scheduler.list()] == ["after", "before"]


def test_an_entry_in_the_store_says_everything(queue: callboard.Queue):
    with Scheduler(queue, SchedulerConfig(timezone="Asia/Shanghai")) as scheduler:
        scheduler.add(SchedProcess(7), "0  9 * * *", "process", missed="once", window=timedelta(hours=2), priority=4,
                      timeout=9, retry_after=Backoff(1, factor=2), headers={"by": "cron"})
    (entry,) = scheduler.list()
    assert (entry.cron, entry.timezone, entry.missed, entry.window_s) == ("0 9 * * *", "Asia/Shanghai", "once", 7_200)
    assert (entry.job, entry.queue, entry.arguments) == ("SchedProcess", "default", {"data_id": 7, "extra": None})
    assert entry.last_tick == datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
    assert entry.next_tick == datetime(2026, 1, 2, 1, 0, tzinfo=UTC)
    (row,) = queue.store.schedules()
    assert (row.job.priority, row.job.timeout_s, row.job.backoff) == (4, 9, Backoff(1.0, 2.0))


@pytest.mark.parametrize(("missed", "window_s"), [("skip", 60), ("once", 86_400), ("all", 86_400)])
def test_each_policy_has_its_window(queue: callboard.Queue, missed: str, window_s: float):
    with Scheduler(queue) as scheduler:
        scheduler.add(sched_report.bind(), "0 9 * * *", missed=missed)
    assert scheduler.list()[0].window_s == window_s


def test_the_zone_of_an_entry_goes_before_the_config_s(queue: callboard.Queue):
    with Scheduler(queue, SchedulerConfig(timezone="Asia/Shanghai")) as scheduler:
        scheduler.add(sched_report.bind(), "0 9 * * *", timezone="Europe/Berlin")
    assert scheduler.list()[0].timezone == "Europe/Berlin"


@pytest.mark.parametrize(("cron", "name"), [
    ("0 9 * * *", "sched_report@0_9_any_any_any"),
    ("*/5  * * * MON-FRI", "sched_report@any/5_any_any_any_MON-FRI"),
    ("0 0 1,15 * *", "sched_report@0_0_1+15_any_any"),
    ("0 0 * * MON#2", "sched_report@0_0_any_any_MONn2"),
    ("@daily", "sched_report@daily"),
])
def test_a_name_is_made_that_can_be_read(queue: callboard.Queue, cron: str, name: str):
    assert Scheduler(queue).add(sched_report.bind(), cron) == name


def test_two_adds_of_one_name_replace(queue: callboard.Queue, clock: testing.FakeClock):
    with Scheduler(queue) as scheduler:
        scheduler.add(sched_report.bind("old"), "0 9 * * *", name="report")
        clock.advance(60)
        scheduler.add(sched_report.bind("new"), "0 10 * * *", name="report")
        (entry,) = scheduler.list()
    assert (entry.cron, entry.arguments, entry.last_tick) == ("0 10 * * *", {"kind": "new"}, clock.now())


def test_a_restart_of_the_program_does_not_move_an_unchanged_entry(queue: callboard.Queue, clock: testing.FakeClock):
    seen = []
    for _ in range(2):
        with Scheduler(queue) as scheduler:
            scheduler.add(sched_report.bind(), "*/5 * * * *")
        seen.append(scheduler.list())
        clock.advance(200)  # the first tick comes 270 s after the first start
    assert seen[0] == seen[1]
    testing.assert_pushed(queue, sched_report, count=1)


def test_the_same_job_with_other_arguments_needs_a_name(queue: callboard.Queue):
    scheduler = Scheduler(queue)
    scheduler.add(SchedProcess(1), "*/5 * * * *")
    scheduler.add(SchedProcess(1), "*/5 * * * *")  # the same again: harmless
    with pytest.raises(InvalidSchedule, match="give each a name"):
        scheduler.add(SchedProcess(2), "*/5 * * * *")
    scheduler.add(SchedProcess(2), "*/5 * * * *", name="second")
    scheduler.remove("SchedProcess@any/5_any_any_any_any")
    scheduler.add(SchedProcess(3), "*/5 * * * *")


def test_remove_takes_it_from_the_store_or_from_what_waits(queue: callboard.Queue, clock: testing.FakeClock):
    scheduler = Scheduler(queue)
    name = scheduler.add(sched_report.bind(), "*/5 * * * *")
    assert scheduler.remove(name) is True
    scheduler.start()
    assert scheduler.list() == ()
    scheduler.add(sched_report.bind(), "*/5 * * * *", name="x")
    assert Scheduler(queue).remove("x") is True
    assert scheduler.remove("x") is False
    clock.advance(3_600)
    testing.assert_not_pushed(queue, sched_report)


def test_stop_leaves_the_entries_and_holds_back_what_is_added(queue: callboard.Queue, clock: testing.FakeClock):
    scheduler = Scheduler(queue)
    scheduler.start()
    scheduler.add(sched_report.bind(), "*/5 * * * *", name="stays")
    scheduler.stop()
    scheduler.add(sched_report.bind(), "*/5 * * * *", name="waits")
    assert [entry.name for entry in scheduler.list()] == ["stays"]
    clock.advance(300)
    testing.assert_pushed(queue, sched_report, count=1)
    scheduler.start()
    assert [entry.name for entry in scheduler.list()] == ["stays", "waits"]


def test_ticks_go_to_the_job_s_queue_with_its_policy(queue: callboard.Queue, clock: testing.FakeClock):
    with Scheduler(queue.named("other")) as scheduler:
        scheduler.add(sched_report.bind(), "*/5 * * * *")
        scheduler.add(SchedProcess(1), "*/5 * * * *")
        scheduler.add(SchedProcess(2), "*/5 * * * *", name="third", queue="third", delay=30)
        clock.advance(300)
    assert sorted((job.queue, job.max_attempts, job.delay_s) for job in testing.pushed(queue)) == [
        ("other", None, 0), ("reports", 5, 0), ("third", None, 30)]


@pytest.mark.parametrize(("given", "error", "says"), [
    ({"cron": "0 9 * *"}, InvalidSchedule, "needs five"),
    ({"cron": "61 9 * * *"}, InvalidSchedule, "can't be read"),
    ({"cron": "0 0 30 2 *"}, InvalidSchedule, "never fires"),
    ({"cron": "@dayly"}, InvalidSchedule, "did you mean '@daily'"),
    ({"timezone": "Europe/Berlinn"}, InvalidSchedule, "did you mean 'Europe/Berlin'"),
    ({"missed": "twice"}, InvalidSchedule, "policy"),
    ({"window": 0}, InvalidArgument, "window"),
    ({"name": "no spaces"}, InvalidArgument, "name"),
    ({"priorty": 3}, UnknownOption, "did you mean 'priority'"),
    ({"id": "x"}, UnknownOption, "each tick's job gets its own"),
    ({"priority": 1_000}, InvalidArgument, "priority"),
], ids=lambda value: next(iter(value)) if isinstance(value, dict) else None)
def test_what_can_t_be_is_refused_at_add(queue: callboard.Queue, given: dict[str, Any], error: type, says: str):
    scheduler = Scheduler(queue)
    with pytest.raises(error, match=says):
        scheduler.add(**{"job": sched_report.bind(), "cron": "0 9 * * *", **given})
    scheduler.start()
    assert scheduler.list() == ()


@pytest.mark.parametrize("job", [SchedProcess(1, extra=object()), SchedProcess, sched_report, "sched_report"],
                         ids=["unserialisable", "class", "function", "name"])
def test_a_job_that_can_t_be_pushed_is_refused_at_add(queue: callboard.Queue, job: Any):
    with pytest.raises(UsageError):
        Scheduler(queue).add(job, "0 9 * * *")


@pytest.mark.parametrize(("config", "error"), [
    (SchedulerConfig(timezone="Mars/Olympus"), InvalidSchedule),
    (SchedulerConfig(log_level="loud"), UnknownOption),
])
def test_a_wrong_config_is_refused(queue: callboard.Queue, config: SchedulerConfig, error: type):
    with pytest.raises(error):
        Scheduler(queue, config)


def test_that_no_node_serves_the_store_is_said_once(tmp_path, caplog: pytest.LogCaptureFixture, queue: callboard.Queue):
    alone = callboard.connect(f"memory://{tmp_path.name}")
    scheduler = Scheduler(alone)
    with caplog.at_level(logging.DEBUG, "callboard.scheduler"):
        scheduler.start()
        scheduler.stop()
        scheduler.start()
        Scheduler(queue).start()  # has a node: the test's
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no node serves" in caplog.text


@pytest.mark.parametrize(("level", "expected"), [("info", ["INFO", "INFO"]), ("warning", [])])
def test_the_log_level_is_kept(queue: callboard.Queue, caplog: pytest.LogCaptureFixture, level: str,
                               expected: list[str]):
    config = SchedulerConfig(log_level=level)
    with caplog.at_level(logging.DEBUG, "callboard.scheduler"), Scheduler(queue, config) as scheduler:
        scheduler.remove(scheduler.add(sched_report.bind(), "0 9 * * *"))
    assert [record.levelname for record in caplog.records] == expected


def test_a_store_that_is_gone_keeps_what_waits_for_the_next_start(queue: callboard.Queue,
                                                                  monkeypatch: pytest.MonkeyPatch):
    scheduler = Scheduler(queue)
    for name in ("a", "b"):
        scheduler.add(sched_report.bind(), "0 9 * * *", name=name)

    def away(_row: object) -> None:
        raise callboard.StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(queue.store, "put_schedule", away)
        with pytest.raises(callboard.StoreUnavailable):
            scheduler.start()
    scheduler.start()
    assert [entry.name for entry in scheduler.list()] == ["a", "b"]

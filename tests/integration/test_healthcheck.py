"""HealthChecker: what it tells, when, and that it goes on."""

from __future__ import annotations

import logging
import queue as queues
import threading
from types import SimpleNamespace

import pytest

import callboard
from callboard import HealthChecker, Thresholds, testing
from callboard.core.errors import InvalidArgument
from callboard.core.health import Alert

WAIT_S = 20.0


class HealthProbe(callboard.Job):
    fails: bool = False

    def handle(self) -> None:
        if self.fails:
            raise callboard.PermanentError("as asked")


def ailing() -> callboard.Queue:
    """Three failed jobs, five that wait."""
    queue = testing.memory_queue()
    queue.push_many([HealthProbe(fails=True)] * 3)
    testing.drain(queue)
    queue.push_many([HealthProbe()] * 5)
    return queue


def test_check_now_tells_of_failed_jobs_and_backlog():
    told: list[tuple[str, Alert]] = []
    checker = HealthChecker(ailing(), on_alert=lambda name, alert: told.append((name, alert)),
                            thresholds=Thresholds(failed_warning=2, failed_critical=10, pending=4))
    expected = [("default", Alert("failed", 3, 2, "warning")), ("default", Alert("backlog", 5, 4, "warning"))]
    assert checker.check_now() == expected
    assert told == expected


def test_what_is_within_the_thresholds_is_not_told():
    checker = HealthChecker(ailing(), on_alert=lambda name, alert: pytest.fail(f"{name}: {alert}"))
    assert checker.check_now() == []


def test_processing_is_told_while_jobs_run():
    queue = testing.memory_queue()
    seen: list[tuple[str, Alert]] = []
    checker = HealthChecker({"main": queue}, on_alert=lambda *_: None, thresholds=Thresholds(processing=0))

    @callboard.job(name="health_processing")
    def look() -> None:
        seen.extend(checker.check_now())

    queue.push(look.bind())
    testing.drain(queue)
    assert seen == [("main", Alert("processing", 1, 0, "warning"))]


def test_it_checks_at_once_and_again_at_each_interval():
    told: queues.Queue[str] = queues.Queue()
    with HealthChecker(ailing(), on_alert=lambda name, _: told.put(name), interval=0.01,
                       thresholds=Thresholds(failed_warning=0)):
        assert [told.get(timeout=WAIT_S) for _ in range(3)] == ["default"] * 3


def test_the_interval_is_waited_for_and_stop_ends_the_wait(monkeypatch: pytest.MonkeyPatch):
    waits: queues.Queue[float | None] = queues.Queue()

    class Recorded(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.put(timeout)
            return super().wait(timeout)

    monkeypatch.setattr("callboard.healthcheck.threading", SimpleNamespace(**{**vars(threading), "Event": Recorded}))
    told: queues.Queue[threading.Thread] = queues.Queue()
    checker = HealthChecker(ailing(), on_alert=lambda *_: told.put(threading.current_thread()), interval=3_600,
                            thresholds=Thresholds(failed_warning=0))
    checker.start()
    checker.start()  # harmless
    thread = told.get(timeout=WAIT_S)
    assert waits.get(timeout=WAIT_S) == 3_600
    checker.stop()
    checker.stop()
    assert not thread.is_alive()
    assert told.empty()


def test_it_can_be_stopped_by_its_own_callback_and_started_again():
    told: queues.Queue[threading.Thread] = queues.Queue()

    def on_alert(_name: str, _alert: Alert) -> None:
        checker.stop()
        told.put(threading.current_thread())

    checker = HealthChecker(ailing(), on_alert=on_alert, interval=0.01, thresholds=Thresholds(failed_warning=0))
    for _ in range(2):
        checker.start()
        thread = told.get(timeout=WAIT_S)
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert told.empty()


def test_a_callback_that_raises_and_a_store_that_is_gone_do_not_end_the_checks(caplog: pytest.LogCaptureFixture):
    gone = testing.memory_queue(name="gone")
    gone.close()
    told: list[str] = []

    def on_alert(name: str, _alert: Alert) -> None:
        told.append(name)
        raise RuntimeError("the pager is broken")

    checker = HealthChecker([gone, ailing()], on_alert=on_alert, thresholds=Thresholds(failed_warning=0, pending=0))
    with caplog.at_level(logging.WARNING, "callboard.healthcheck"):
        assert len(checker.check_now()) == 2
    assert told == ["default", "default"]
    assert "queue gone can't be checked" in caplog.text
    assert "the pager is broken" in caplog.text


@pytest.mark.parametrize(("given", "says"), [
    ({"queues": []}, "no queue"),
    ({"queues": [testing.memory_queue(), testing.memory_queue()]}, "two queues have one name"),
    ({"queues": testing.memory_queue(), "interval": 0}, "interval"),
    ({"queues": testing.memory_queue(), "interval": "often"}, "interval"),
])
def test_misuse_is_refused_where_it_is_given(given: dict, says: str):
    with pytest.raises(InvalidArgument, match=says):
        HealthChecker(**given, on_alert=print)

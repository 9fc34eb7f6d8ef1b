"""callboard.testing.drain: jobs run as on a node, when the test says so."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import ClassVar

import pytest

import callboard
from callboard import PermanentError, RetryLater, Snooze, testing
from callboard.core.errors import InvalidArgument
from callboard.core.records import Backoff, JobState, NewJob

seen: list[object] = []
KINDS: dict[str, type[Exception]] = {"ValueError": ValueError, "KeyError": KeyError, "PermanentError": PermanentError}


@pytest.fixture(autouse=True)
def _seen():
    seen.clear()


@pytest.fixture
def clock() -> testing.FakeClock:
    return testing.FakeClock()


@pytest.fixture
def queue(clock: testing.FakeClock) -> callboard.Queue:
    return testing.memory_queue(clock)


@callboard.job
def drain_note(what: str) -> None:
    seen.append(what)


@callboard.job
async def drain_note_later(what: str) -> None:
    await asyncio.sleep(0)
    seen.append(what)


class DrainFails(callboard.Job):
    times: int = 1_000
    max_attempts = 3
    retry_after = Backoff(10, factor=2, jitter=0.5)
    permanent = (KeyError,)
    kind: str = "ValueError"

    def handle(self) -> None:
        seen.append(self.attempts)
        if self.attempts <= self.times:
            raise KINDS[self.kind]("no luck")

    def failed(self, error: Exception) -> None:
        seen.append(str(error))


def test_nothing_runs_before_the_drain_and_then_all_of_it(queue: callboard.Queue):
    first = queue.push(drain_note.bind("a"))
    queue.push(drain_note_later.bind("b"))
    assert seen == []
    report = testing.drain(queue)
    assert seen == ["a", "b"]
    run = report.completed[0]
    assert (run.id, run.name, run.arguments, run.attempt) == (first, "drain_note", {"what": "a"}, 1)
    assert report.assert_no_failures() is report
    assert queue.stats().completed_jobs == 2
    assert testing.drain(queue).runs == []


def test_what_a_job_pushes_runs_in_the_same_drain(queue: callboard.Queue):
    @callboard.job(name="drain_parent")
    def parent(depth: int) -> None:
        seen.append(depth)
        if depth:
            queue.push(parent.bind(depth - 1))

    queue.push(parent.bind(2))
    assert len(testing.drain(queue).completed) == 3
    assert seen == [2, 1, 0]


def test_priorities_go_first_and_equals_in_order(queue: callboard.Queue):
    for what, priority in (("late", -1), ("a", 0), ("first", 5), ("b", 0)):
        queue.push(drain_note.bind(what), priority=priority)
    testing.drain(queue)
    assert seen == ["first", "a", "b", "late"]


def test_queues_take_turns(queue: callboard.Queue):
    queue.push_many([drain_note.bind("a")] * 20, queue="one")
    queue.push_many([drain_note.bind("b")] * 20, queue="two")
    testing.drain(queue, max_jobs=20)
    assert 8 <= seen.count("a") <= 12


def test_a_named_queue_drains_its_own_jobs(queue: callboard.Queue):
    queue.push(drain_note.bind("other"))
    emails = queue.named("emails")
    emails.push(drain_note.bind("email"))
    emails.later(5, drain_note.bind("email later"))
    queue.later(60, drain_note.bind("other later"))
    testing.drain(emails, delayed=True)
    assert seen == ["email", "email later"]
    testing.drain(queue)
    assert seen == ["email", "email later", "other"]


def test_a_delay_is_waited_for_by_the_fake_clock(queue: callboard.Queue, clock: testing.FakeClock):
    queue.later(timedelta(hours=1), drain_note.bind("later"))
    assert testing.drain(queue).runs == []
    clock.advance(3_599.9)
    assert testing.drain(queue).runs == []
    clock.advance(0.1)
    assert len(testing.drain(queue).completed) == 1


def test_delayed_jobs_too_moves_the_clock_to_them(queue: callboard.Queue, clock: testing.FakeClock):
    before_s = clock.wall_s()
    queue.later(3_600, drain_note.bind("b"))
    queue.later(60, drain_note.bind("a"))
    testing.drain(queue, delayed=True)
    assert seen == ["a", "b"]
    assert clock.wall_s() - before_s == pytest.approx(3_600)


def test_retries_back_off_without_jitter_and_failed_runs_once(queue: callboard.Queue, clock: testing.FakeClock):
    job_id = queue.push(DrainFails())
    report = testing.drain(queue)
    assert [(run.attempt, run.delay_s) for run in report.retried] == [(1, 10)]
    assert isinstance(report.retried[0].exception, ValueError)
    assert report.retried[0].error is not None
    assert report.retried[0].error.message == "no luck"
    clock.advance(10)
    assert [(run.attempt, run.delay_s) for run in testing.drain(queue).retried] == [(2, 20)]
    report = testing.drain(queue, delayed=True)
    assert [run.attempt for run in report.failed] == [3]
    assert [(run.step, run.outcome) for run in report.failed_hooks] == [("failed", "completed")]
    assert seen == [1, 2, 3, "ValueError: no luck"]
    record = queue.store.job(job_id)
    assert record is not None
    assert (record.state, record.attempts, record.losses) == (JobState.FAILED, 3, 0)
    assert [job.id for job in queue.store.jobs(JobState.FAILED, None, 10)] == [job_id]


def test_a_job_that_recovers_completes(queue: callboard.Queue):
    queue.push(DrainFails(times=2))
    report = testing.drain(queue, delayed=True)
    assert [len(runs) for runs in (report.retried, report.completed, report.failed)] == [2, 1, 0]
    assert report.completed[0].attempt == 3


@pytest.mark.parametrize("kind", ["KeyError", "PermanentError"])
def test_permanent_errors_fail_at_once(queue: callboard.Queue, kind: str):
    queue.push(DrainFails(kind=kind))
    report = testing.drain(queue)
    assert len(report.failed) == 1
    assert seen[0] == 1
    assert str(seen[1]).startswith(kind)


def test_options_of_the_push_go_before_the_class(queue: callboard.Queue):
    queue.push(DrainFails(), max_attempts=1)
    assert len(testing.drain(queue).failed) == 1


def test_retry_later_costs_an_attempt_and_snooze_none(queue: callboard.Queue, clock: testing.FakeClock):
    @callboard.job(name="drain_asks", max_attempts=2)
    def asks() -> None:
        seen.append(callboard.current_job().attempt)
        if len(seen) == 1:
            raise Snooze(after=30)
        if len(seen) == 2:
            raise RetryLater(after=timedelta(minutes=1))

    queue.push(asks.bind())
    assert [run.delay_s for run in testing.drain(queue).snoozed] == [30]
    clock.advance(30)
    report = testing.drain(queue)
    assert [run.delay_s for run in report.retried] == [60]
    assert len(report.errors) == 1
    clock.advance(60)
    assert len(testing.drain(queue).completed) == 1
    assert seen == [1, 1, 2]


def test_a_retry_method_knows_the_attempt(queue: callboard.Queue):
    class DrainExponential(callboard.Job):
        max_attempts = 4

        def retry_after(self, attempt: int) -> float:
            return 2 ** (attempt - 1)

        def handle(self) -> None:
            raise OSError

    queue.push(DrainExponential())
    report = testing.drain(queue, delayed=True)
    assert [run.delay_s for run in report.retried] == [1, 2, 4]


def test_failed_that_fails_leaves_the_first_reason(queue: callboard.Queue):
    class DrainBadHook(callboard.Job):
        max_attempts = 1

        def handle(self) -> None:
            raise ValueError("the reason")

        def failed(self, error: Exception) -> None:
            raise RuntimeError("the hook") from error

    queue.push(DrainBadHook())
    report = testing.drain(queue)
    assert [run.outcome for run in report.runs] == ["failed", "failed"]
    assert len(report.failed) == 1
    with pytest.raises(AssertionError, match=r"(?s)the reason.*DrainBadHook\(\)\.failed\(\).*the hook") as raised:
        report.assert_no_failures()
    assert isinstance(raised.value.__cause__, ValueError)


def test_the_context_is_the_run_s_own(queue: callboard.Queue):
    class DrainContext(callboard.Job):
        size: int

        def handle(self) -> None:
            seen.append((self.context.job_id, self.context.queue, self.context.timeout_s, self.payload))
            self.context.progress(1 / self.size, "half")

    job_id = queue.push(DrainContext(2), timeout=7, headers={"trace": "t"})
    report = testing.drain(queue)
    assert seen == [(job_id, "default", 7, {"size": 2})]
    assert report.runs[0].progress == ({"fraction": 0.5, "message": "half"},)
    with pytest.raises(callboard.QueueError, match="no job runs here"):
        callboard.current_job()


def test_the_traceback_begins_in_the_user_s_code(queue: callboard.Queue):
    queue.push(DrainFails())
    error = testing.drain(queue).retried[0].error
    assert error is not None
    assert "test_testing_drain.py" in error.traceback
    assert "engine.py" not in error.traceback
    assert "runjob.py" not in error.traceback


def test_unique_keys_and_pauses_hold(queue: callboard.Queue):
    first = queue.push(drain_note.bind("a"), unique="one")
    assert queue.push(drain_note.bind("b"), unique="one") == first
    queue.store.set_paused("default", paused=True)
    assert testing.drain(queue).runs == []
    queue.store.set_paused("default", paused=False)
    testing.drain(queue)
    assert seen == ["a"]
    assert len(testing.pushed(queue)) == 1


def test_max_jobs_is_kept(queue: callboard.Queue):
    queue.push_many([drain_note.bind(str(number)) for number in range(5)])
    assert len(testing.drain(queue, max_jobs=2).runs) == 2
    assert queue.stats().pending_jobs == 3
    assert len(testing.drain(queue, max_jobs=100).runs) == 3


def test_jobs_that_push_each_other_for_ever_end_the_test(queue: callboard.Queue, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("callboard.testing.engine.RUNS_MAX", 50)

    @callboard.job(name="drain_forever")
    def forever() -> None:
        queue.push(forever.bind())

    queue.push(forever.bind())
    with pytest.raises(AssertionError, match=r"50 jobs ran and there are more.*drain_forever"):
        testing.drain(queue)
    assert queue.stats().pending_jobs == 1
    assert queue.stats().processing_jobs == 0


def test_exactly_the_limit_is_no_error(queue: callboard.Queue, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("callboard.testing.engine.RUNS_MAX", 5)
    queue.push_many([drain_note.bind("x")] * 5)
    assert len(testing.drain(queue).completed) == 5


def test_the_test_s_own_end_passes_through_and_the_job_waits_again(queue: callboard.Queue):
    class Stop(BaseException):
        pass

    @callboard.job(name="drain_stops")
    def stops() -> None:
        raise Stop

    job_id = queue.push(stops.bind())
    with pytest.raises(Stop):
        testing.drain(queue)
    record = queue.store.job(job_id)
    assert record is not None
    assert (record.state, record.attempts, record.losses) == (JobState.READY, 0, 0)


def test_a_job_that_exits_fails_as_it_would_in_a_child(queue: callboard.Queue):
    @callboard.job(name="drain_exits", max_attempts=1)
    def exits() -> None:
        raise SystemExit(3)

    queue.push(exits.bind())
    assert testing.drain(queue).failed[0].error is not None


def test_async_jobs_run_within_a_running_loop():
    class DrainAsync(callboard.Job):
        fails: bool
        max_attempts = 1
        ran: ClassVar[list[str]] = []

        async def handle(self) -> None:
            await asyncio.sleep(0)
            self.ran.append(self.context.job_id)
            if self.fails:
                raise ValueError("async")

    async def program() -> tuple[list[str], testing.Report]:
        queue = testing.memory_queue()
        ids = [await queue.apush(DrainAsync(fails=False)), await queue.apush(DrainAsync(fails=True))]
        return ids, testing.drain(queue)

    ids, report = asyncio.run(program())
    assert DrainAsync.ran == ids
    assert [run.error.message for run in report.failed if run.error is not None] == ["async"]


def test_a_body_that_is_none_fails_for_good(queue: callboard.Queue):
    queue.store.push([NewJob("hostile", "drain_note", "default", b"\xc1")])
    (run,) = testing.drain(queue).failed
    assert (run.id, run.arguments, run.error is None) == ("hostile", {}, False)


def test_another_queue_is_refused(tmp_path):
    queue = callboard.connect(f"memory://{tmp_path.name}")
    with pytest.raises(InvalidArgument, match=r"memory_queue\(\)"):
        testing.drain(queue)
    with pytest.raises(InvalidArgument, match=r"memory_queue\(\)"):
        testing.pushed(queue)


def test_a_full_queue_says_so():
    queue = testing.memory_queue(max_jobs=1)
    queue.push(drain_note.bind("a"))
    with pytest.raises(callboard.QueueFull):
        queue.push(drain_note.bind("b"))


def test_as_default_stands_for_the_default_queue_and_only_meanwhile(queue: callboard.Queue,
                                                                    monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUEUE_DRIVER", "memory")
    with testing.as_default(queue):
        drain_note.push("a")
        drain_note.later(5, "b")
        assert callboard.driver() is queue
        callboard.driver(queue="emails").push(drain_note.bind("c"))
        with testing.as_default(testing.memory_queue()):
            drain_note.push("elsewhere")
        assert callboard.driver() is queue
    assert callboard.driver() is not queue
    assert [job.queue for job in testing.pushed(queue)] == ["default", "default", "emails"]

"""callboard.testing.inline: jobs run when they are pushed."""

from __future__ import annotations

import asyncio
import threading

import pytest

import callboard
from callboard import Snooze, testing

WAIT_S = 20.0


@pytest.fixture
def seen() -> list[object]:
    return []


@callboard.job
def inline_double(numbers: list[int]) -> None:
    numbers[:] = [number * 2 for number in numbers]


class InlineFlaky(callboard.Job):
    good_from: int
    max_attempts = 3
    retry_after = 60

    def handle(self) -> None:
        if self.attempts < self.good_from:
            raise ConnectionError(f"down at attempt {self.attempts}")


def test_the_job_has_run_when_push_returns(seen: list[object]):
    @callboard.job(name="inline_note")
    def note(what: str) -> None:
        seen.append(what)

    with testing.inline() as queue:
        job_id = note.push("default queue")
        assert seen == ["default queue"]
        note.later(3_600, "not waited for")
        queue.push(note.bind("by the queue"))
        queue.push_many([note.bind("many"), note.bind("of them")])
        queue.named("emails").push(note.bind("named"))
        assert seen == ["default queue", "not waited for", "by the queue", "many", "of them", "named"]
        assert [run.id for run in queue.report.completed][0] == job_id  # noqa: RUF015 - the whole list shows on failure
        assert queue.report.completed[-1].queue == "emails"
        testing.assert_pushed(queue, note, count=6)


def test_arguments_cross_as_they_would_between_processes():
    numbers = [1, 2]
    with testing.inline():
        inline_double.push(numbers)
    assert numbers == [1, 2]  # the job had its own
    with testing.inline(), pytest.raises(callboard.Unserialisable):
        inline_double.push(numbers={object()})  # type: ignore[arg-type]  # what is wrong is the point


def test_retries_are_recorded_and_not_waited_for():
    with testing.inline() as queue:
        queue.push(InlineFlaky(good_from=3))
    assert [(run.attempt, run.delay_s) for run in queue.report.retried] == [(1, 60), (2, 60)]
    assert isinstance(queue.report.retried[0].exception, ConnectionError)
    assert [run.attempt for run in queue.report.completed] == [3]


def test_push_returns_when_the_job_failed_and_the_block_s_end_tells():
    block = testing.inline()
    queue = block.__enter__()
    assert queue.push(InlineFlaky(good_from=9))
    assert queue.stats().failed_jobs == 1
    with pytest.raises(AssertionError, match=r"(?s)InlineFlaky\(good_from=9\) attempt 1 .*attempt 3 failed: C") as told:
        block.__exit__(None, None, None)
    assert isinstance(told.value.__cause__, ConnectionError)


def test_failures_can_be_left_to_the_test():
    with testing.inline(allow_failures=True) as queue:
        queue.push(InlineFlaky(good_from=9))
    assert [run.attempt for run in queue.report.failed] == [3]


def test_the_block_s_own_error_is_not_covered():
    def block() -> None:
        with testing.inline() as queue:
            queue.push(InlineFlaky(good_from=9))
            raise LookupError

    with pytest.raises(LookupError):
        block()


def test_what_a_job_pushes_runs_after_it(seen: list[object]):
    @callboard.job(name="inline_inner")
    def inner() -> None:
        seen.append("inner")

    @callboard.job(name="inline_outer")
    def outer() -> None:
        inner.push()
        seen.append("outer")

    with testing.inline():
        outer.push()
        assert seen == ["outer", "inner"]


def test_a_push_from_another_thread_of_a_running_job_does_not_hang(seen: list[object]):
    @callboard.job(name="inline_leaf")
    def leaf() -> None:
        seen.append("leaf")

    @callboard.job(name="inline_threads")
    def threads() -> None:
        thread = threading.Thread(target=leaf.push)
        thread.start()
        thread.join(WAIT_S)
        seen.append(thread.is_alive())

    with testing.inline():
        threads.push()
        assert seen == [False, "leaf"]


def test_pushes_from_many_threads_have_all_run_in_the_end(seen: list[object]):
    @callboard.job(name="inline_crowd")
    def crowd(number: int) -> None:
        seen.append(number)

    with testing.inline():
        pushers = [threading.Thread(target=lambda: [crowd.push(number) for number in range(50)]) for _ in range(4)]
        for pusher in pushers:
            pusher.start()
        for pusher in pushers:
            pusher.join(WAIT_S)
    assert len(seen) == 200


def test_asyncio_programs_push_inline(seen: list[object]):
    @callboard.job(name="inline_async")
    async def work(what: str) -> None:
        await asyncio.sleep(0)
        seen.append(what)

    async def program() -> None:
        await work.apush("apush")
        work.push("push")

    with testing.inline():
        asyncio.run(program())
    assert seen == ["apush", "push"]


def test_failed_runs_and_sees_why(seen: list[object]):
    class InlineHook(callboard.Job):
        def handle(self) -> None:
            raise callboard.PermanentError("no such user")

        def failed(self, error: Exception) -> None:
            seen.append(str(error))

    with testing.inline(allow_failures=True) as queue:
        queue.push(InlineHook())
    assert seen == ["PermanentError: no such user"]
    assert len(queue.report.failed_hooks) == 1


def test_a_job_that_snoozes_for_ever_ends_the_test(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("callboard.testing.engine.RUNS_MAX", 20)

    @callboard.job(name="inline_sleepy")
    def sleepy() -> None:
        raise Snooze(after=86_400)

    with testing.inline() as queue:
        with pytest.raises(AssertionError, match="snooze"):
            sleepy.push()
        assert len(queue.report.snoozed) == 20

"""queue.failed and queue.push_many(ids=...), as a program uses them; on memory and on SQLite."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

import callboard
from callboard import testing
from callboard.core.errors import Conflict, InvalidArgument, NotFound
from callboard.core.records import JobState


class FailedListProbe(callboard.Job):
    number: int
    good: bool = False

    def handle(self) -> None:
        if not self.good and not self.context.headers.get("good"):
            raise callboard.PermanentError(f"number {self.number}")


@pytest.fixture
def queue() -> callboard.Queue:
    made = testing.memory_queue()
    made.push_many([FailedListProbe(number) for number in range(3)], ids=["a", "b", "c"])
    made.push(FailedListProbe(9), queue="other", id="d")
    testing.drain(made)
    return made


def test_it_lists_why_the_newest_first(queue: callboard.Queue):
    job = queue.failed.list()[0]
    assert (job.id, job.name, job.queue) == ("d", "FailedListProbe", "other")
    assert job.arguments == {"number": 9, "good": False}
    assert (job.attempts, job.losses, job.error_kind, job.error) == (1, 0, "PermanentError", "number 9")
    assert "raise callboard.PermanentError" in job.traceback
    assert job.failed_at == datetime(2024, 1, 1, tzinfo=UTC)
    assert [job.id for job in queue.failed.list()] == ["d", "c", "b", "a"]


def test_it_pages(queue: callboard.Queue):
    page = queue.failed.list(limit=3)
    assert [job.id for job in queue.failed.list(limit=3, before=page[-1].id)] == ["a"]
    with pytest.raises(InvalidArgument, match="limit"):
        queue.failed.list(limit=0)
    with pytest.raises(NotFound):
        queue.failed.list(before="nobody")


def test_retry_makes_it_ready_and_refuses_a_job_that_ran_again(queue: callboard.Queue):
    job = queue.failed.list()[-1]
    queue.failed.retry(job)
    assert [run.attempt for run in testing.drain(queue).failed] == [1]
    with pytest.raises(Conflict):
        queue.failed.retry(job)
    queue.failed.retry(job.id)
    assert queue.stats().pending_jobs == 1
    with pytest.raises(NotFound):
        queue.failed.retry("nobody")


def test_forget_and_flush_take_jobs_off(queue: callboard.Queue):
    newest = queue.failed.list()[0]
    assert queue.failed.forget(newest, "a", "a", "nobody") == 2
    assert [job.id for job in queue.failed.list()] == ["c", "b"]
    queue.push(FailedListProbe(1), id="a")
    assert testing.drain(queue).runs == []
    assert queue.failed.flush() == 2
    assert queue.failed.list() == ()


def test_a_named_queue_has_its_own_list(queue: callboard.Queue):
    other = queue.named("other")
    assert [job.id for job in other.failed.list()] == ["d"]
    assert other.failed.flush() == 1
    assert len(queue.failed.list()) == 3


def test_what_can_t_be_read_is_shown_as_far_as_it_can(queue: callboard.Queue, monkeypatch: pytest.MonkeyPatch):
    record = replace(queue.store.jobs(JobState.FAILED, None, 1)[0], body=b"\xc1", error=b"\xc1")
    monkeypatch.setattr(queue.store, "jobs", lambda *_: (record,))
    (job,) = queue.failed.list()
    assert (job.arguments, job.error_kind) == ({}, "Unknown")


@pytest.mark.parametrize("url", ["memory://", "sqlite:///"])
def test_many_jobs_pushed_again_under_their_ids_are_the_same_jobs(tmp_path, url: str):
    queue = callboard.connect(f"{url}{tmp_path.name}" if url.startswith("memory") else f"{url}{tmp_path}/jobs.db")
    ids = [f"job:{number}" for number in range(700)]  # two batches
    for _ in range(2):
        assert queue.push_many([FailedListProbe(number) for number in range(700)], ids=ids) == ids
    assert queue.stats().pending_jobs == 700
    queue.close()


@pytest.mark.parametrize(("given", "says"), [
    ({"ids": ["one"]}, "2 jobs and 1 ids"),
    ({"ids": ["one", "no spaces"]}, "id must be"),
    ({"id": "one"}, r"ids=\[...\]"),
])
def test_ids_that_do_not_fit_write_nothing(given: dict, says: str):
    queue = testing.memory_queue()
    with pytest.raises(InvalidArgument, match=says):
        queue.push_many([FailedListProbe(1), FailedListProbe(2)], **given)
    assert testing.pushed(queue) == []

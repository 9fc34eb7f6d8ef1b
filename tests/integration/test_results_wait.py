"""bootstrap/results.py: waiting for what a job returned, in threads and in asyncio."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from callboard.backends.clock import SystemClock
from callboard.backends.store.memory import MemoryStore
from callboard.core.errorrecord import encode_error
from callboard.core.errors import InvalidArgument, JobFailed, NotFound, ResultLost, ResultTimeout
from callboard.core.records import (
    Assignment,
    ErrorRecord,
    Held,
    NewJob,
    NodeInfo,
    Outcome,
    OutcomeKind,
    Plan,
    PoolReport,
    QueueShare,
    TermClaim,
)
from callboard.core.result import encode_result, lost_result
from callboard.results import await_result, wait_result


class Bench:
    """A store with one node, whose outcomes the test gives."""

    def __init__(self):
        self.store = MemoryStore(1_000, SystemClock())
        self.epoch = self.store.begin_term(TermClaim("c", "memory", 1, "boot"))
        pool = PoolReport("q", (QueueShare("q"),), 10, 10)
        self.session = self.store.open_session(NodeInfo("n1", "boot"), 60.0, [pool])

    def push(self, job_id, **options):
        self.store.push([NewJob(job_id, "work", "q", b"\x81\xa1a\x80", **options)])

    def run(self, kind=OutcomeKind.COMPLETED, *, result=None, error=None):
        """Run all that is ready to this end."""
        self.store.assign(self.epoch, Plan((Assignment(self.session, "q", "q", 10),)))
        jobs = self.store.take(self.session, ["q"])
        assert jobs
        self.store.finish(self.session, [Outcome(Held(job.ref, job.id, job.token), kind, 0.0, error, result)
                                         for job in jobs])


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.store.close()


def by_thread(store, job_id, timeout):
    return wait_result(store, job_id, timeout)


def by_asyncio(store, job_id, timeout):
    return asyncio.run(await_result(store, job_id, timeout))


both = pytest.mark.parametrize("wait", [by_thread, by_asyncio])


@both
@pytest.mark.parametrize("value", [None, 0, "text", {"a": [1, 2.5, b"x"]}])
def test_what_a_job_returned_comes_back(bench, wait, value):
    bench.push("j")
    bench.run(result=None if value is None else encode_result(value))
    assert wait(bench.store, "j", 0) == value


@both
def test_a_waiter_is_rung_at_the_end(bench, wait, monkeypatch):
    """Long before the next look: those are an hour apart here."""
    monkeypatch.setattr("callboard.results.LOOK_S", 3_600.0)
    bench.push("j")
    asked = threading.Event()
    await_end = bench.store.await_end

    def looks(job_id):
        record = await_end(job_id)
        asked.set()
        return record

    bench.store.await_end = looks
    ender = threading.Thread(target=lambda: (asked.wait(10), bench.run(result=encode_result(42))))
    ender.start()
    assert wait(bench.store, "j", timedelta(seconds=20)) == 42
    ender.join()


@both
def test_a_job_that_does_not_end_in_time(bench, wait):
    bench.push("j")
    with pytest.raises(ResultTimeout, match=r"it is ready; `callboard why j`"):
        wait(bench.store, "j", 0.05)
    with pytest.raises(TimeoutError):
        wait(bench.store, "j", 0)


@both
def test_a_job_that_failed_says_why_in_text(bench, wait):
    bench.push("j")
    bench.run(OutcomeKind.FAILED, error=encode_error(ErrorRecord("ValueError", "no such order", "Traceback ...")))
    with pytest.raises(JobFailed, match="failed for good: ValueError: no such order") as found:
        wait(bench.store, "j", 0)
    assert (found.value.kind, found.value.traceback, found.value.job) == ("ValueError", "Traceback ...", "j")


def test_a_cancelled_job(bench):
    bench.push("j", delay_s=100.0)
    bench.store.cancel("j")
    with pytest.raises(JobFailed, match="was cancelled"):
        wait_result(bench.store, "j", 0)


def test_a_damaged_error_is_no_reason_to_hide_the_failure(bench):
    bench.push("j")
    bench.run(OutcomeKind.FAILED, error=b"\xc1")
    with pytest.raises(JobFailed, match="failed for good"):
        wait_result(bench.store, "j", 0)


def test_results_that_are_not_kept_say_so(bench):
    bench.push("none", result_ttl_s=0)
    bench.run(result=encode_result(1))
    with pytest.raises(ResultLost, match="result_ttl=0"):
        wait_result(bench.store, "none", 0)
    bench.push("odd")
    bench.run(result=lost_result(ValueError("too odd")))
    with pytest.raises(ResultLost, match="ValueError: too odd"):
        wait_result(bench.store, "odd", 0)
    bench.push("short", result_ttl_s=0.001)
    bench.run(result=encode_result(1))
    over_ms = bench.store.job("short").result_until_ms
    while bench.store.store_now_ms() < over_ms:
        pass
    with pytest.raises(ResultLost, match="is over"):
        wait_result(bench.store, "short", 0)


def test_who_asks_wrongly_is_told(bench):
    with pytest.raises(NotFound, match="'nosuch'"):
        wait_result(bench.store, "nosuch", 1)
    with pytest.raises(InvalidArgument, match="timeout"):
        wait_result(bench.store, "nosuch", "soon")

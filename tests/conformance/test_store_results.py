"""Results: what a job returned, for a time."""

from __future__ import annotations

import pytest
from storekit import BOOM, Rig, held

from callboard.core.records import FinishReceipt, JobState, Outcome, OutcomeKind
from callboard.core.retention import Retention


def complete(rig: Rig, job_id: str = "a", result: bytes | None = b"\x2a", **options: object):
    """A job that has completed with a result; its run."""
    rig.push(job_id, **options)
    session = rig.node()
    taken = rig.run_one(session)
    rig.succeed(session, taken, result=result)
    return session, taken


def kept(rig: Rig, job_id: str = "a") -> tuple[bytes | None, int | None]:
    """The job's result, and until when it is kept."""
    seen = rig.record(job_id)
    return seen.result, seen.result_until_ms


def test_a_result_is_kept_for_an_hour(rig: Rig):
    complete(rig)
    assert rig.state("a") is JobState.COMPLETED
    assert kept(rig) == (b"\x2a", rig.store.store_now_ms() + 3_600_000)
    assert [one.result for one in rig.store.jobs(JobState.COMPLETED, None, 10)] == [b"\x2a"]


def test_a_job_may_say_how_long(rig: Rig):
    complete(rig, result_ttl_s=2.5)
    assert kept(rig) == (b"\x2a", rig.store.store_now_ms() + 2_500)


def test_a_job_may_want_none_kept(rig: Rig):
    complete(rig, result_ttl_s=0.0)
    assert kept(rig) == (None, None)


def test_none_is_a_result_too(rig: Rig):
    complete(rig, result=None)
    assert kept(rig) == (None, rig.store.store_now_ms() + 3_600_000)


def test_a_large_result_comes_back_whole(rig: Rig):
    large = bytes(range(256)) * 1024
    complete(rig, result=large)
    assert kept(rig)[0] == large


def check_a_result_ends_with_its_time(rig: Rig) -> None:
    complete(rig, "a", result_ttl_s=10.0)
    complete(rig, "b", result_ttl_s=20.0)
    until_ms = rig.record("a").result_until_ms
    rig.clock.advance(9.5)
    assert kept(rig) == (b"\x2a", until_ms)
    rig.clock.advance(0.5)
    for _ in range(2):
        assert kept(rig) == (None, until_ms), "swept or not"
        assert kept(rig, "b")[0] == b"\x2a"
        rig.store.sweep(rig.epoch, 100)
    assert rig.state("a") is JobState.COMPLETED


def test_a_result_ends_with_its_time(rig: Rig):
    check_a_result_ends_with_its_time(rig)


def test_a_sweep_counts_no_results(rig: Rig):
    complete(rig, result_ttl_s=1.0)
    rig.clock.advance(2.0)
    assert rig.store.sweep(rig.epoch, 100) == 0


def test_a_result_goes_with_its_row(rig: Rig):
    rig = rig.fresh(retention=Retention(finished_max=0))
    complete(rig)
    rig.store.sweep(rig.epoch, 100)
    assert rig.store.job("a") is None
    assert rig.store.await_end("a") is None


@pytest.mark.parametrize("kind", [kind for kind in OutcomeKind if kind is not OutcomeKind.COMPLETED])
def test_only_success_has_a_result(rig: Rig, kind: OutcomeKind):
    rig.push("a")
    session = rig.node()
    rig.succeed(session, rig.run_one(session), kind, error=BOOM, result=b"\x2a")
    assert kept(rig) == (None, None)


def test_a_failed_step_has_no_result(rig: Rig):
    rig.push("a", has_failed_hook=True)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    rig.succeed(session, rig.run_one(session), result=b"\x2a")
    assert (rig.state("a"), kept(rig)) == (JobState.FAILED, (None, None))


def check_the_result_of_a_stale_finish_is_not_kept(rig: Rig) -> None:
    rig.push("a")
    old, new = rig.node("n1"), rig.node("n2")
    first = rig.run_one(old)
    rig.end(old)
    second = rig.run_one(new)
    assert rig.finish(old, first, result=b"old") == FinishReceipt(0, (held(first),))
    assert kept(rig) == (None, None)
    rig.succeed(new, second, result=b"new")
    assert rig.finish(old, first, result=b"old") == FinishReceipt(0, (held(first),))
    assert kept(rig)[0] == b"new"


def test_the_result_of_a_stale_finish_is_not_kept(rig: Rig):
    check_the_result_of_a_stale_finish_is_not_kept(rig)


def check_the_same_finish_again_keeps_the_first_result(rig: Rig) -> None:
    session, taken = complete(rig, result=b"first", result_ttl_s=100.0)
    before = kept(rig)
    rig.clock.advance(5.0)
    rig.succeed(session, taken, result=b"second")
    assert kept(rig) == before
    assert rig.counts().completed == 1


def test_the_same_finish_again_keeps_the_first_result(rig: Rig):
    check_the_same_finish_again_keeps_the_first_result(rig)


def test_a_batch_keeps_each_jobs_own(rig: Rig):
    rig.push("a", "b", "c")
    session = rig.node()
    runs = rig.run(session, 3)
    outcomes = [Outcome(held(one), OutcomeKind.COMPLETED, result=result)
                for one, result in zip(runs, (b"1", None, b"3"), strict=True)]
    assert rig.store.finish(session, [*outcomes, outcomes[0]._replace(result=b"again")]) == FinishReceipt(4, ())
    assert [kept(rig, one.id)[0] for one in runs] == [b"1", None, b"3"]


def test_a_job_that_was_to_be_cancelled_and_completed_has_its_result(rig: Rig):
    rig.push("a")
    session = rig.node()
    taken = rig.run_one(session)
    rig.store.cancel("a")
    rig.succeed(session, taken, result=b"\x2a")
    assert kept(rig)[0] == b"\x2a"

"""What operators read and order."""

from __future__ import annotations

import pytest
from storekit import BOOM, Rig, ids, job

from callboard.core.errors import Conflict, InvalidArgument, NotFound
from callboard.core.records import CancelResult, JobState, OutcomeKind, QueueCounts, Token


def fail(rig: Rig, job_id: str, **options: object) -> Token:
    """A job on the failed list; its last token."""
    rig.push(job_id, **options)
    queue = str(options.get("queue", "q"))
    session = rig.node("failing", queue)
    taken = rig.run_one(session, queue)
    rig.succeed(session, taken, OutcomeKind.FAILED, error=BOOM)
    return taken.token


# Counts ---------------------------------------------------------------------------------------------------------------


def test_counts_by_queue_and_state(rig: Rig):
    session = rig.node()
    rig.push(*"abcdefg")
    rig.push("z", delay_s=9.0)
    done, failing, _, _ = rig.run(session, 4)
    rig.assign(session, 1)
    rig.succeed(session, done)
    rig.succeed(session, failing, OutcomeKind.FAILED, error=BOOM)
    rig.store.cancel("g")
    assert rig.counts() == QueueCounts("q", delayed=1, ready=1, assigned=1, running=2, failed=1, completed=1,
                                       cancelled=1, paused=False)


def test_counts_of_all_queues_and_of_some(rig: Rig):
    assert rig.store.counts() == ()
    rig.push("a", queue="a")
    rig.push("b", queue="b")
    rig.store.set_paused("c", paused=True)
    assert [(one.queue, one.ready, one.paused) for one in sorted(rig.store.counts())] == [
        ("a", 1, False), ("b", 1, False), ("c", 0, True)]
    assert [one.queue for one in rig.store.counts(["b"])] == ["b"]
    assert rig.counts("unknown") == QueueCounts("unknown", 0, 0, 0, 0, 0, 0, 0, paused=False)


def test_a_queue_that_a_node_serves_is_known(rig: Rig):
    session = rig.node("n1", "a", "b")
    assert sorted(one.queue for one in rig.store.counts()) == ["a", "b"]
    rig.end(session)
    assert sorted(one.queue for one in rig.store.counts()) == ["a", "b"]


# Reading jobs ---------------------------------------------------------------------------------------------------------


def test_no_such_job(rig: Rig):
    assert rig.store.job("nope") is None


def test_jobs_by_state_newest_first(rig: Rig):
    rig.push("a", "b", queue="x")
    rig.push("c", "d", queue="y")
    rig.push("late", delay_s=5.0)
    assert ids(rig.store.jobs(JobState.READY, None, 10)) == ["d", "c", "b", "a"]
    assert ids(rig.store.jobs(JobState.READY, "x", 10)) == ["b", "a"]
    assert ids(rig.store.jobs(JobState.DELAYED, None, 10)) == ["late"]
    assert rig.store.jobs(JobState.FAILED, None, 10) == ()
    assert rig.store.jobs(JobState.READY, "x", 1)[0] == rig.store.job("b")


def test_jobs_page_by_page(rig: Rig):
    rig.push(*"abcde")
    rig.push("x", queue="other")
    pages = []
    before = None
    while page := ids(rig.store.jobs(JobState.READY, "q", 2, before)):
        pages.append(page)
        before = page[-1]
    assert pages == [["e", "d"], ["c", "b"], ["a"]]


def test_a_page_goes_on_from_a_job_that_has_left_the_state(rig: Rig):
    rig.push(*"abcd")
    page = ids(rig.store.jobs(JobState.READY, None, 2))
    rig.store.cancel(page[-1])
    assert ids(rig.store.jobs(JobState.READY, None, 2, page[-1])) == ["b", "a"]


def test_a_page_goes_on_from_a_job_that_was_purged_but_not_from_one_that_never_was(rig: Rig):
    rig.push("a")
    rig.push("b", queue="purged")
    rig.store.purge("purged")
    assert ids(rig.store.jobs(JobState.READY, None, 5, "b")) == ["a"]
    with pytest.raises(NotFound):
        rig.store.jobs(JobState.READY, None, 5, "nope")


@pytest.mark.parametrize("limit", [0, -1, 1_001])
def test_a_page_has_bounds(rig: Rig, limit: int):
    with pytest.raises(InvalidArgument):
        rig.store.jobs(JobState.READY, None, limit)


def test_a_page_of_the_largest_size(rig: Rig):
    rig.store.push([job(f"j{number}") for number in range(1_005)])
    assert len(rig.store.jobs(JobState.READY, None, 1_000)) == 1_000


# The failed list ------------------------------------------------------------------------------------------------------


def test_retry_makes_a_failed_job_ready_and_counts_from_zero(rig: Rig):
    token = fail(rig, "a")
    rig.store.retry_failed("a", token)
    seen = rig.record("a")
    assert (seen.state, seen.attempts, seen.losses, seen.finished_ms) == (JobState.READY, 0, 0, None)
    assert (rig.counts().failed, rig.counts().ready) == (0, 1)
    session = rig.node()
    taken = rig.run_one(session)
    assert (taken.attempt, taken.losses) == (1, 0)
    rig.succeed(session, taken)


def test_retry_whatever_the_token_is(rig: Rig):
    fail(rig, "a")
    rig.store.retry_failed("a", None)
    assert rig.state("a") is JobState.READY


def test_retry_of_a_job_that_ran_again_is_a_conflict(rig: Rig):
    token = fail(rig, "a")
    rig.store.retry_failed("a", token)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    before = rig.record("a")
    with pytest.raises(Conflict):
        rig.store.retry_failed("a", token)
    assert rig.record("a") == before


def test_retry_of_what_is_not_failed_is_not_found(rig: Rig):
    rig.push("waiting")
    token = fail(rig, "a", queue="q", priority=5)
    rig.store.retry_failed("a", token)
    for job_id in ("a", "waiting", "nope"):
        with pytest.raises(NotFound):
            rig.store.retry_failed(job_id, None)


def test_retry_takes_the_unique_key_again(rig: Rig):
    fail(rig, "a", unique="k")
    rig.store.retry_failed("a", None)
    assert rig.push("b", unique="k").ids == ("a",)


def test_retry_while_another_job_holds_the_unique_key_is_a_conflict(rig: Rig):
    fail(rig, "a", unique="k")
    rig.push("b", unique="k")
    before = rig.record("a"), rig.store.counts()
    with pytest.raises(Conflict, match="b"):
        rig.store.retry_failed("a", None)
    assert (rig.record("a"), rig.store.counts()) == before
    rig.store.cancel("b")
    rig.store.retry_failed("a", None)


def test_forget_takes_failed_jobs_off_the_list(rig: Rig):
    for job_id in "abc":
        fail(rig, job_id)
    rig.push("waiting")
    assert rig.store.forget_failed(["a", "a", "waiting", "nope"]) == 1
    assert rig.store.job("a") is None
    assert rig.state("waiting") is JobState.READY
    assert ids(rig.store.jobs(JobState.FAILED, None, 10)) == ["c", "b"]
    assert rig.counts().failed == 2
    with pytest.raises(NotFound):
        rig.store.retry_failed("a", None)


def test_flush_takes_all_failed_jobs_off_the_list(rig: Rig):
    for job_id in "abc":
        fail(rig, job_id)
    fail(rig, "x", queue="x")
    assert rig.store.forget_failed(None, "q") == 3
    assert ids(rig.store.jobs(JobState.FAILED, None, 10)) == ["x"]
    assert rig.store.forget_failed(None) == 1
    assert rig.store.forget_failed(None) == 0


def test_forget_of_named_jobs_keeps_to_the_queue(rig: Rig):
    fail(rig, "a")
    assert rig.store.forget_failed(["a"], "other") == 0
    assert rig.store.forget_failed(["a"], "q") == 1
    assert rig.store.forget_failed([]) == 0


# Cancel ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [JobState.DELAYED, JobState.READY, JobState.ASSIGNED])
def test_a_job_that_waits_is_cancelled(rig: Rig, state: JobState):
    rig.push("a", delay_s=5.0 if state is JobState.DELAYED else 0.0)
    session = rig.node()
    if state is JobState.ASSIGNED:
        rig.assign(session)
    assert rig.state("a") is state
    assert rig.store.cancel("a") is CancelResult.CANCELLED
    seen = rig.record("a")
    assert (seen.state, seen.finished_ms) == (JobState.CANCELLED, rig.store.store_now_ms())
    assert rig.counts() == QueueCounts("q", 0, 0, 0, 0, 0, 0, 1, paused=False)
    rig.clock.advance(10.0)
    assert rig.store.promote_due(rig.epoch, 10).moved == 0
    assert rig.assign(session).assigned == {}
    assert rig.take(session, holding=()) == ()
    assert rig.store.cancel("a") is CancelResult.TOO_LATE


def test_a_job_that_runs_is_asked_to_stop(rig: Rig):
    rig.push("a")
    session = rig.node()
    taken = rig.run_one(session)
    assert rig.store.cancel("a") is CancelResult.REQUESTED
    assert rig.store.cancel("a") is CancelResult.REQUESTED
    assert rig.state("a") is JobState.RUNNING
    rig.succeed(session, taken, OutcomeKind.CANCELLED)
    assert rig.state("a") is JobState.CANCELLED
    assert rig.counts().cancelled == 1


@pytest.mark.parametrize("kind", [OutcomeKind.COMPLETED, OutcomeKind.FAILED])
def test_a_job_that_has_ended_can_not_be_cancelled(rig: Rig, kind: OutcomeKind):
    rig.push("a")
    session = rig.node()
    rig.succeed(session, rig.run_one(session), kind, error=BOOM)
    before = rig.record("a")
    assert rig.store.cancel("a") is CancelResult.TOO_LATE
    assert rig.record("a") == before


def test_a_job_that_is_not_there_can_not_be_cancelled(rig: Rig):
    rig.push("purged")
    rig.store.purge("q")
    for job_id in ("nope", "purged"):
        with pytest.raises(NotFound):
            rig.store.cancel(job_id)


# Purge ----------------------------------------------------------------------------------------------------------------


def test_purge_forgets_what_waits_and_leaves_what_runs_or_ended(rig: Rig):
    fail(rig, "failed")
    rig.push("running", "assigned", "ready")
    rig.push("delayed", delay_s=5.0)
    rig.push("other", queue="other")
    session = rig.node()
    taken = rig.run_one(session)
    rig.assign(session)
    assert rig.store.purge("q") == 3
    assert [rig.state(one) for one in ("assigned", "ready", "delayed")] == [None] * 3
    assert [rig.state(one) for one in ("failed", "running", "other")] == [
        JobState.FAILED, JobState.RUNNING, JobState.READY]
    assert rig.counts() == QueueCounts("q", 0, 0, 0, 1, 1, 0, 0, paused=False)
    assert rig.take(session) == ()
    rig.succeed(session, taken)
    assert rig.store.purge("q") == 0
    assert rig.store.purge("unknown") == 0


def test_purge_forgets_isolated_jobs(rig: Rig):
    rig.push("a")
    rig.lose("a", 2)
    assert rig.store.purge("q") == 1
    assert rig.store.survey(rig.epoch, 10).isolated == ()
    assert rig.counts().ready == 0


# Pause ----------------------------------------------------------------------------------------------------------------


def test_pausing_withdraws_what_is_assigned_uncharged(rig: Rig):
    rig.push("a", "b", "c")
    session, other = rig.node("n1"), rig.node("n2")
    taken = rig.run_one(session)
    rig.assign(session)
    rig.assign(other)
    rig.store.set_paused("q", paused=True)
    assert [rig.state(one) for one in "abc"] == [JobState.RUNNING, JobState.READY, JobState.READY]
    assert [(rig.record(one).attempts, rig.record(one).losses) for one in "bc"] == [(0, 0)] * 2
    assert rig.take(session) == ()
    assert rig.counts().paused is True
    rig.succeed(session, taken)
    rig.push("d")
    assert rig.counts().ready == 3, "a paused queue still takes jobs"
    rig.store.set_paused("q", paused=False)
    assert rig.counts().paused is False
    assert rig.assign(session, 5).assigned == {session: 3}


def test_pausing_leaves_other_queues_alone(rig: Rig):
    rig.push("a", queue="a")
    rig.push("b", queue="b")
    session = rig.node("n1", "a", "b")
    rig.assign(session, 1, "a")
    rig.assign(session, 1, "b")
    rig.store.set_paused("a", paused=True)
    assert (rig.state("a"), rig.state("b")) == (JobState.READY, JobState.ASSIGNED)


def test_pausing_and_resuming_again_is_harmless(rig: Rig):
    for paused in (False, True, True, False, False):
        rig.store.set_paused("q", paused=paused)
        assert rig.counts().paused is paused


def test_due_jobs_of_a_paused_queue_become_ready_and_stay(rig: Rig):
    rig.push("a", delay_s=1.0)
    rig.store.set_paused("q", paused=True)
    rig.clock.advance(1.0)
    assert rig.store.promote_due(rig.epoch, 10).moved == 1
    assert rig.assign(rig.node()).assigned == {}


def test_a_store_says_what_it_guarantees(rig: Rig):
    said = rig.store.characteristics
    assert said.name == rig.place.name
    assert said.durable
    assert said.shared

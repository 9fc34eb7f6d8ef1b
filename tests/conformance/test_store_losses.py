"""Losses: a job that loses node after node is isolated, then quarantined; failed() is a step of its own."""

from __future__ import annotations

import pytest
from storekit import BOOM, Rig, ids

from callboard.core.records import (
    Assignment,
    IsolatedAssignment,
    IsolatedJob,
    JobState,
    OutcomeKind,
    Plan,
    Released,
    Step,
)


def check_losses_are_counted_and_bounded(rig: Rig) -> None:
    rig.push("a")
    for losses in (1, 2):
        rig.lose("a", 1, hook=losses == 2)
        assert (rig.state("a"), rig.record("a").losses, rig.record("a").attempts) == (JobState.READY, losses, 0)
    session = rig.node("last")
    rig.run_alone(session, "a")
    assert rig.end(session) == Released(0, 1, ("a",))
    assert (rig.state("a"), rig.record("a").losses, rig.record("a").attempts) == (JobState.FAILED, 3, 0)
    assert rig.error_kind("a") == "NodeLost"
    assert rig.counts().failed == 1
    assert rig.store.survey(rig.epoch, 10).isolated == ()


def test_losses_are_counted_and_bounded(rig: Rig):
    check_losses_are_counted_and_bounded(rig)


def test_a_node_may_report_losses_of_its_own(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.LOST, error=BOOM)
    rig.succeed(session, rig.run_one(session), OutcomeKind.LOST, error=BOOM)
    receipt = rig.finish(session, rig.run_alone(session, "a"), OutcomeKind.LOST)
    assert (receipt.applied, receipt.stale, receipt.quarantined) == (1, (), ("a",))
    assert rig.state("a") is JobState.FAILED
    assert rig.error_kind("a") == "NodeLost"


def test_what_was_only_assigned_is_never_charged(rig: Rig):
    rig.push("a")
    for number in range(5):
        session = rig.node(f"n{number}")
        rig.assign(session)
        assert rig.end(session) == Released(1, 0)
    assert (rig.state("a"), rig.record("a").losses, rig.record("a").attempts) == (JobState.READY, 0, 0)


def test_losses_stay_counted_over_attempts(rig: Rig):
    rig.push("a")
    rig.lose("a", 1)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.RETRY, error=BOOM)
    assert (rig.record("a").losses, rig.record("a").attempts) == (1, 1)


# Isolation ------------------------------------------------------------------------------------------------------------


def test_after_two_losses_a_job_is_isolated(rig: Rig):
    rig.push("a")
    rig.lose("a", 2)
    rig.push("b")
    survey = rig.store.survey(rig.epoch, 10)
    assert survey.ready == {"q": 1}, "it is not among those that may run beside others"
    assert [(one.id, one.queue) for one in survey.isolated] == [("a", "q")]
    session = rig.node()
    assert rig.assign(session, 5).assigned == {session: 1}
    assert ids(rig.take(session)) == ["b"]
    assert rig.counts().ready == 1, "it is ready all the same"


def test_an_isolated_job_goes_to_a_node_that_holds_nothing(rig: Rig):
    rig.push("a")
    rig.lose("a", 2)
    rig.push("b", "c")
    session = rig.node()
    busy = rig.run_one(session)
    assert rig.assign_alone(session, "a").assigned == {}
    rig.succeed(session, busy)
    assert rig.assign_alone(session, "a").assigned == {session: 1}
    assert ids(rig.take(session)) == ["a"]


def test_beside_an_isolated_job_nothing_is_assigned(rig: Rig):
    rig.push("a")
    rig.lose("a", 2)
    rig.push("b")
    session = rig.node()
    rig.assign_alone(session, "a")
    (view,) = rig.store.sessions()
    assert view.isolating
    assert rig.assign(session).assigned == {}
    (taken,) = rig.take(session)
    assert taken.losses == 2
    assert rig.assign(session).assigned == {}
    rig.succeed(session, taken)
    (view,) = rig.store.sessions()
    assert not view.isolating
    assert rig.assign(session).assigned == {session: 1}


def test_an_isolated_job_is_alone_within_one_plan(rig: Rig):
    rig.push("a", "b")
    for _ in range(2):
        session = rig.node("doomed")
        rig.run(session, 2)
        rig.end(session)
    rig.push("c")
    session = rig.node()
    jobs = rig.store.survey(rig.epoch, 10).isolated
    assert sorted(one.id for one in jobs) == ["a", "b"]
    both = tuple(IsolatedAssignment(session, "q", one) for one in jobs)
    assert rig.store.assign(rig.epoch, Plan((Assignment(session, "q", "q", 1),), both)).assigned == {session: 1}


@pytest.mark.parametrize("how", ["draining", "paused", "ended", "no room", "other queue", "other id"])
def test_an_isolated_job_keeps_to_the_rules_of_the_others(rig: Rig, how: str):
    rig.push("a")
    rig.lose("a", 2)
    session = rig.node("n1", "x" if how == "other queue" else "q", capacity=0 if how == "no room" else 5)
    (job,) = rig.store.survey(rig.epoch, 10).isolated
    if how == "draining":
        rig.store.set_draining("n1", draining=True)
    elif how == "paused":
        rig.store.set_paused("q", paused=True)
        assert rig.store.survey(rig.epoch, 10).isolated == ()
    elif how == "ended":
        rig.end(session)
    elif how == "other id":
        job = IsolatedJob(job.ref, "b", "q")
    pool = "x" if how == "other queue" else "q"
    plan = Plan(isolated=(IsolatedAssignment(session, pool, job),))
    assert rig.store.assign(rig.epoch, plan).assigned == {}
    assert rig.state("a") is JobState.READY


def test_a_job_that_is_not_isolated_is_not_assigned_as_one(rig: Rig):
    rig.push("a")
    rig.lose("a", 2)
    (job,) = rig.store.survey(rig.epoch, 10).isolated
    session, other = rig.node("n1"), rig.node("n2")
    rig.assign_alone(session, "a")
    late = rig.store.assign(rig.epoch, Plan(isolated=(IsolatedAssignment(other, "q", job),)))
    assert late.assigned == {}
    assert rig.record("a").node == "n1"


def test_isolated_and_taken_in_one_call(rig: Rig):
    rig.push("a")
    rig.lose("a", 2)
    session = rig.node()
    (job,) = rig.store.survey(rig.epoch, 10).isolated
    receipt = rig.store.assign(rig.epoch, Plan(isolated=(IsolatedAssignment(session, "q", job),)), session)
    assert ids(receipt.taken) == ["a"]
    rig.succeed(session, receipt.taken[0])


def test_an_isolated_job_can_be_cancelled_purged_and_put_off(rig: Rig):
    rig.push("a")
    rig.lose("a", 2)
    session = rig.node()
    rig.succeed(session, rig.run_alone(session, "a"), OutcomeKind.SNOOZED, delay_s=5.0)
    assert rig.store.survey(rig.epoch, 10).isolated == ()
    rig.clock.advance(5.0)
    rig.store.promote_due(rig.epoch, 10)
    assert len(rig.store.survey(rig.epoch, 10).isolated) == 1, "it is isolated for good"
    rig.store.cancel("a")
    assert rig.store.survey(rig.epoch, 10).isolated == ()
    assert rig.counts().ready == 0


# failed() -------------------------------------------------------------------------------------------------------------


def failed(rig: Rig) -> None:
    """A job with a failed() that has just failed for good."""
    rig.push("a", has_failed_hook=True)
    session = rig.node("first")
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)


def test_a_job_with_failed_runs_it_after_it_failed(rig: Rig):
    failed(rig)
    assert (rig.state("a"), rig.record("a").attempts) == (JobState.READY, 1)
    session = rig.node()
    taken = rig.run_one(session)
    assert (taken.step, taken.error, taken.attempt) == (Step.FAILED_HOOK, BOOM, 1)


@pytest.mark.parametrize("kind", [OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.RETRY, OutcomeKind.CANCELLED])
def test_whatever_comes_of_failed_the_job_has_failed_as_it_did(rig: Rig, kind: OutcomeKind):
    failed(rig)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), kind, error=b"another")
    seen = rig.record("a")
    assert (seen.state, seen.attempts, seen.error) == (JobState.FAILED, 1, BOOM)
    assert rig.counts().failed == 1
    assert rig.counts().completed == 0


@pytest.mark.parametrize("kind", [OutcomeKind.HANDED_BACK, OutcomeKind.SNOOZED])
def test_failed_that_did_not_run_is_still_due(rig: Rig, kind: OutcomeKind):
    failed(rig)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), kind)
    taken = rig.run_one(session)
    assert (taken.step, taken.error, taken.attempt) == (Step.FAILED_HOOK, BOOM, 1)


def test_failed_that_loses_its_node_is_charged_and_bounded(rig: Rig):
    failed(rig)
    rig.lose("a", 2)
    assert (rig.state("a"), rig.record("a").losses) == (JobState.READY, 2)
    session = rig.node()
    assert rig.run_alone(session, "a").step is Step.FAILED_HOOK
    assert rig.end(session) == Released(0, 1, ("a",))
    seen = rig.record("a")
    assert (seen.state, seen.losses, seen.error) == (JobState.FAILED, 3, BOOM), "it keeps why it failed"


def test_a_quarantined_job_does_not_run_failed(rig: Rig):
    rig.push("a", has_failed_hook=True)
    rig.lose("a", 3)
    assert rig.state("a") is JobState.FAILED


def test_cancelling_failed_leaves_the_job_failed(rig: Rig):
    failed(rig)
    rig.store.cancel("a")
    assert (rig.state("a"), rig.record("a").error) == (JobState.FAILED, BOOM)


def test_an_operators_retry_starts_from_handle(rig: Rig):
    failed(rig)
    rig.lose("a", 1)
    session = rig.node()
    rig.succeed(session, rig.run_one(session))
    rig.store.retry_failed("a", None)
    taken = rig.run_one(session)
    assert (taken.step, taken.attempt, taken.losses, taken.error) == (Step.HANDLE, 1, 0, None)

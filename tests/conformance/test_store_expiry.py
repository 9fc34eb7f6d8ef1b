"""Expiry: a run that was not assigned in time never is."""

from __future__ import annotations

import pytest
from storekit import BOOM, Rig, ids

from callboard.core.records import (
    Assignment,
    CancelResult,
    IsolatedAssignment,
    JobState,
    OutcomeKind,
    Plan,
    SessionId,
    Step,
)
from callboard.core.retention import Retention


def expired(rig: Rig, job_id: str = "a") -> bool:
    """The job was cancelled because its time was up, now."""
    seen = rig.record(job_id)
    if seen.state is not JobState.CANCELLED:
        return False
    assert rig.error_kind(job_id) == "Expired"
    assert seen.finished_ms == rig.store.store_now_ms()
    return True


def assign_and_take(rig: Rig, session: SessionId, count: int = 1) -> list[str]:
    """One assignment and take_for in one call."""
    receipt = rig.store.assign(rig.epoch, Plan((Assignment(session, "q", "q", count),)), session)
    assert sum(receipt.assigned.values()) == len(receipt.taken)
    return ids(receipt.taken)


def test_it_is_seen(rig: Rig):
    rig.push("a", expires_s=2.5, delay_s=1.0)
    rig.push("b")
    assert rig.record("a").expires_ms == rig.record("a").pushed_ms + 2_500
    assert rig.record("b").expires_ms is None


# At an assign ---------------------------------------------------------------------------------------------------------


def check_an_expired_job_is_not_assigned(rig: Rig, take_for: bool = False) -> None:  # noqa: FBT001, FBT002 - for partial
    rig.push("a", expires_s=5.0)
    session = rig.node()
    rig.clock.advance(5.0)
    if take_for:
        assert assign_and_take(rig, session) == []
    else:
        assert rig.assign(session).assigned == {}
        assert rig.take(session) == ()
    assert expired(rig)
    assert (rig.counts().ready, rig.counts().assigned, rig.counts().cancelled) == (0, 0, 1)
    seen = rig.record("a")
    assert (seen.token, seen.attempts, seen.losses) == (None, 0, 0)
    assert [view.held for view in rig.store.sessions()] == [0]


@pytest.mark.parametrize("take_for", [True, False])
def test_an_expired_job_is_not_assigned(rig: Rig, take_for: bool):  # noqa: FBT001 - a parameter of the test
    check_an_expired_job_is_not_assigned(rig, take_for)


def test_until_then_it_is(rig: Rig):
    rig.push("a", expires_s=5.0)
    rig.clock.advance(4.99)
    assert ids(rig.run(rig.node())) == ["a"]


def test_others_are_assigned_in_their_place(rig: Rig):
    for number in range(5):
        rig.push(f"short-{number}", expires_s=5.0, priority=2)
    rig.push("a", "b", "c", expires_s=50.0)
    rig.push("d")
    session = rig.node(capacity=3)
    rig.clock.advance(5.0)
    assert rig.assign(session, 2).assigned == {session: 2}
    assert sorted(ids(rig.take(session))) == ["a", "b"]
    assert rig.assign(session, 9).assigned == {session: 1}, "never more than the capacity"
    assert ids(rig.take(session)) == ["c"]
    assert rig.counts().cancelled == 5


def test_what_was_assigned_in_time_runs(rig: Rig):
    rig.push("a", "b", expires_s=5.0)
    session = rig.node()
    rig.assign(session, 2)
    rig.clock.advance(100.0)
    assert rig.store.promote_due(rig.epoch, 10).expired == 0
    one, two = rig.take(session)
    rig.clock.advance(100.0)
    assert rig.store.promote_due(rig.epoch, 10).expired == 0
    rig.succeed(session, one)
    rig.succeed(session, two, OutcomeKind.FAILED, error=BOOM)
    assert {rig.state("a"), rig.state("b")} == {JobState.COMPLETED, JobState.FAILED}


def test_an_isolated_job_expires_too(rig: Rig):
    rig.push("a", expires_s=5.0)
    rig.lose("a", 2)
    (job,) = rig.store.survey(rig.epoch, 10).isolated
    rig.clock.advance(5.0)
    session = rig.node()
    plan = Plan(isolated=(IsolatedAssignment(session, "q", job),))
    assert rig.store.assign(rig.epoch, plan).assigned == {}
    assert expired(rig)
    assert rig.store.survey(rig.epoch, 10).isolated == ()


def test_nothing_is_left_to_assign(rig: Rig):
    rig.push("a", "b", expires_s=5.0)
    session = rig.node()
    rig.clock.advance(5.0)
    rig.assign(session, 5)
    assert rig.store.survey(rig.epoch, 10).ready == {}
    assert rig.look().idle


# Before an assign -----------------------------------------------------------------------------------------------------


def check_promote_expires_what_waits(rig: Rig) -> None:
    rig.push("ready", expires_s=5.0)
    rig.push("delayed", expires_s=5.0, delay_s=60.0)
    rig.push("due", expires_s=5.0, delay_s=1.0)
    rig.push("other", expires_s=5.0, queue="r")
    rig.push("later", expires_s=6.0)
    rig.push("never", delay_s=60.0)
    rig.store.set_paused("r", paused=True)
    rig.clock.advance(5.0)
    done = rig.store.promote_due(rig.epoch, 10)
    assert (done.moved, done.next_due_s, done.expired) == (0, 55.0, 4)
    assert all(expired(rig, name) for name in ("ready", "delayed", "due", "other"))
    assert [rig.state("later"), rig.state("never")] == [JobState.READY, JobState.DELAYED]
    assert (rig.counts().cancelled, rig.counts("r").cancelled) == (3, 1)
    assert (rig.counts().ready, rig.counts().delayed, rig.counts("r").ready) == (1, 1, 0)


def test_promote_expires_what_waits(rig: Rig):
    check_promote_expires_what_waits(rig)


def test_a_limit_holds_for_what_expires_too(rig: Rig):
    rig.push("a", "b", "c", expires_s=5.0)
    rig.push("d", delay_s=1.0)
    rig.clock.advance(5.0)
    assert rig.store.promote_due(rig.epoch, 2) == (1, None, 2)
    assert rig.store.promote_due(rig.epoch, 2) == (0, None, 1)
    assert rig.store.promote_due(rig.epoch, 2) == (0, None, 0)
    assert (rig.counts().cancelled, rig.counts().ready) == (3, 1)


# Later in its life ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [OutcomeKind.RETRY, OutcomeKind.SNOOZED, OutcomeKind.HANDED_BACK, OutcomeKind.LOST])
@pytest.mark.parametrize("delay_s", [0.0, 5.0])
def test_what_is_to_run_again_expires(rig: Rig, kind: OutcomeKind, delay_s: float):
    rig.push("a", expires_s=5.0)
    session = rig.node()
    taken = rig.run_one(session)
    rig.clock.advance(5.0)
    rig.succeed(session, taken, kind, delay_s=delay_s, error=BOOM)
    before = rig.record("a")
    assert rig.assign(session).assigned == {}
    assert before.state is JobState.DELAYED or expired(rig)
    done = rig.store.promote_due(rig.epoch, 10)
    assert (done.moved, expired(rig)) == (0, True), "a delayed one now, or by the assign"
    after = rig.record("a")
    assert (after.attempts, after.losses, after.token) == (before.attempts, before.losses, before.token)


@pytest.mark.parametrize("begun", [True, False])
def test_what_a_lost_node_had_expires(rig: Rig, begun: bool):  # noqa: FBT001 - a parameter of the test
    rig.push("a", expires_s=5.0)
    session = rig.node()
    (rig.run_one if begun else rig.get_one)(session)
    rig.clock.advance(5.0)
    rig.end(session)
    assert rig.state("a") is JobState.READY
    assert rig.store.promote_due(rig.epoch, 10).expired == 1
    assert expired(rig)


@pytest.mark.parametrize("snoozed_s", [0.0, 5.0])
def test_a_failed_step_never_expires(rig: Rig, snoozed_s: float):
    rig.push("a", expires_s=5.0, has_failed_hook=True)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    if snoozed_s:
        rig.succeed(session, rig.run_one(session), OutcomeKind.SNOOZED, delay_s=snoozed_s)
    rig.clock.advance(50.0)
    assert rig.store.promote_due(rig.epoch, 10) == (bool(snoozed_s), None, 0)
    assert rig.run_one(session).step is Step.FAILED_HOOK


def test_an_operators_retry_goes_above_it(rig: Rig):
    rig.push("a", expires_s=5.0)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    rig.clock.advance(50.0)
    rig.store.retry_failed("a", None)
    assert rig.record("a").expires_ms is None
    assert rig.store.promote_due(rig.epoch, 10).expired == 0
    assert ids(rig.run(session)) == ["a"]


# What has expired -----------------------------------------------------------------------------------------------------


def test_it_frees_its_key_and_its_place(rig: Rig):
    rig = rig.fresh(max_jobs=1)
    rig.push("a", expires_s=5.0, unique="k")
    rig.clock.advance(5.0)
    rig.store.promote_due(rig.epoch, 10)
    assert rig.push("b", unique="k").ids == ("b",)


def test_it_has_ended_for_good(rig: Rig):
    rig.push("a", expires_s=5.0)
    rig.clock.advance(5.0)
    rig.store.promote_due(rig.epoch, 10)
    assert rig.store.cancel("a") is CancelResult.TOO_LATE
    assert rig.push("a").new == 0
    assert rig.store.forget_failed(None) == 0
    assert ids(rig.store.jobs(JobState.CANCELLED, "q", 10)) == ["a"]
    assert rig.record("a").history == ()
    assert rig.record("a").result_until_ms is None


def test_it_is_swept_like_what_was_cancelled(rig: Rig):
    rig = rig.fresh(retention=Retention(finished_max=1))
    rig.push("a", "b", expires_s=5.0)
    rig.clock.advance(5.0)
    rig.store.promote_due(rig.epoch, 10)
    assert rig.store.sweep(rig.epoch, 10) == 1
    assert rig.counts().cancelled == 2


def test_a_jump_of_the_wall_clock_expires_nothing(rig: Rig):
    rig.push("a", expires_s=60.0)
    rig.clock.jump_wall(3_600.0)
    assert rig.store.promote_due(rig.epoch, 10).expired == 0
    assert ids(rig.run(rig.node())) == ["a"]

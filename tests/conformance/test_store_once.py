"""at_most_once: a job whose handle() never starts twice; where others would run again, it fails for good."""

from __future__ import annotations

import pytest
from storekit import BOOM, Rig

from callboard.core.records import JobState, OutcomeKind, Released, Step

HOW = pytest.mark.parametrize("how", ["its own", "by the leader"])


def lose(rig: Rig, session, how: str) -> Released:
    """End the session."""
    return rig.store.close_session(session) if how == "its own" else rig.end(session)


def test_it_is_told_and_careful(rig: Rig):
    rig.push("a", at_most_once=True)
    rig.push("b")
    one, two = rig.get(rig.node(), 2)
    assert (one.at_most_once, one.careful, two.at_most_once, two.careful) == (True, True, False, False)
    assert (rig.record("a").at_most_once, rig.record("b").at_most_once) == (True, False)


def check_once_fails_when_it_is_lost(rig: Rig, how: str = "by the leader") -> None:
    rig.push("a", at_most_once=True)
    rig.run_one(session := rig.node())
    assert lose(rig, session, how) == Released(0, 1)
    seen = rig.record("a")
    assert (seen.state, seen.attempts, seen.losses) == (JobState.FAILED, 0, 1)
    assert rig.error_kind("a") == "NodeLost"
    assert (rig.counts().failed, rig.counts().ready) == (1, 0)


@HOW
def test_it_fails_when_it_is_lost(rig: Rig, how: str):
    check_once_fails_when_it_is_lost(rig, how)


@HOW
def test_it_goes_back_when_it_never_began(rig: Rig, how: str):
    rig.push("a", at_most_once=True)
    for number in range(3):
        rig.get_one(session := rig.node(f"n{number}"))
        assert lose(rig, session, how) == Released(1, 0)
        assert (rig.state("a"), rig.record("a").doubts) == (JobState.READY, 0), "it is careful anyway"


ENDS = {OutcomeKind.RETRY: (1, 0, "ValueError"), OutcomeKind.SNOOZED: (1, 0, "Snooze"),
        OutcomeKind.LOST: (0, 1, "NodeLost"), OutcomeKind.FAILED: (1, 0, "ValueError")}


def check_once_does_not_run_again(rig: Rig, kind: OutcomeKind) -> None:
    rig.push("a", at_most_once=True, max_attempts=5)
    session = rig.node()
    own = BOOM if kind in {OutcomeKind.RETRY, OutcomeKind.FAILED} else None
    rig.succeed(session, rig.run_one(session), kind, delay_s=5.0, error=own)
    seen = rig.record("a")
    assert (seen.state, (seen.attempts, seen.losses, rig.error_kind("a"))) == (JobState.FAILED, ENDS[kind])
    assert rig.counts().delayed == 0


@pytest.mark.parametrize("kind", ENDS)
def test_it_does_not_run_again(rig: Rig, kind: OutcomeKind):
    check_once_does_not_run_again(rig, kind)


@pytest.mark.parametrize("kind", ENDS)
def test_its_failed_step_runs(rig: Rig, kind: OutcomeKind):
    rig.push("a", at_most_once=True, has_failed_hook=True)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), kind, delay_s=5.0, error=BOOM)
    taken = rig.run_one(session)
    assert (taken.step, taken.error, taken.losses) == (Step.FAILED_HOOK, BOOM, kind is OutcomeKind.LOST)
    rig.succeed(session, taken)
    assert rig.state("a") is JobState.FAILED


@HOW
def test_its_failed_step_runs_after_a_lost_node_and_more_than_once(rig: Rig, how: str):
    rig.push("a", at_most_once=True, has_failed_hook=True)
    rig.run_one(session := rig.node("n1"))
    now_ms = rig.store.store_now_ms()
    assert lose(rig, session, how) == Released(0, 1)
    seen = rig.record("a")
    assert (seen.state, seen.losses, seen.due_ms) == (JobState.READY, 1, now_ms)
    taken = rig.run_one(session := rig.node("n2"))
    assert (taken.step, rig.error_kind("a"), taken.attempt) == (Step.FAILED_HOOK, "NodeLost", 0)
    assert lose(rig, session, how) == Released(0, 1)
    assert (rig.state("a"), rig.record("a").losses) == (JobState.READY, 2), "only handle() runs at most once"


@pytest.mark.parametrize("begun", [True, False])
def test_a_hand_back_says_that_it_never_began(rig: Rig, begun: bool):  # noqa: FBT001 - a parameter of the test
    rig.push("a", at_most_once=True)
    session = rig.node()
    rig.succeed(session, (rig.run_one if begun else rig.get_one)(session), OutcomeKind.HANDED_BACK)
    assert (rig.state("a"), rig.record("a").attempts, rig.record("a").losses) == (JobState.READY, 0, 0)


def test_it_completes_and_is_cancelled_as_others(rig: Rig):
    rig.push("a", "b", "c", at_most_once=True)
    session = rig.node()
    one, two, _ = rig.run(session, 3)
    rig.succeed(session, one)
    rig.store.cancel("b")
    rig.succeed(session, two, OutcomeKind.RETRY, error=BOOM)
    rig.store.cancel("c")
    rig.end(session)
    assert [rig.state(name) for name in "abc"] == [JobState.COMPLETED, JobState.CANCELLED, JobState.CANCELLED]


def test_an_operator_may_let_it_start_again(rig: Rig):
    rig.push("a", at_most_once=True)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    rig.store.retry_failed("a", None)
    assert rig.run_one(session).careful
    rig.end(session)
    assert rig.state("a") is JobState.FAILED


def test_the_same_finish_again_is_one_success(rig: Rig):
    rig.push("a", at_most_once=True)
    session = rig.node()
    taken = rig.run_one(session)
    for _ in range(2):
        rig.succeed(session, taken, OutcomeKind.RETRY, error=BOOM)
    assert (rig.record("a").attempts, rig.counts().failed) == (1, 1)

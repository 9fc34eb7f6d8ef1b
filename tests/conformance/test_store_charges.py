"""What an act costs a job, and what it leaves alone: attempts, losses, the reason of the last failure, its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from storekit import BOOM, Rig

from callboard.core.records import CancelResult, JobState, OutcomeKind, SessionId, Step


def worn(rig: Rig, *, hook: bool = False) -> SessionId:
    """A job "a" with a loss, an attempt and an error behind it, delayed or waiting for its failed(); and a session."""
    rig.push("a", has_failed_hook=hook)
    rig.lose("a", 1)
    session = rig.node()
    rig.clock.advance(2.0)
    if hook:
        rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    else:
        rig.succeed(session, rig.run_one(session), OutcomeKind.RETRY, delay_s=10.0, error=BOOM)
    rig.clock.advance(3.0)
    return session


def due(rig: Rig) -> None:
    """What is delayed is ready."""
    rig.clock.advance(60.0)
    assert rig.store.promote_due(rig.epoch, 10).moved == 1


def promote(rig: Rig, _session: SessionId) -> None:
    due(rig)


def assign(rig: Rig, session: SessionId) -> None:
    due(rig)
    rig.assign(session)


def take(rig: Rig, session: SessionId) -> None:
    due(rig)
    rig.run_one(session)


def hand_back(rig: Rig, session: SessionId) -> None:
    due(rig)
    rig.succeed(session, rig.run_one(session), OutcomeKind.HANDED_BACK, error=b"not this")


def pause(rig: Rig, session: SessionId) -> None:
    assign(rig, session)
    rig.store.set_paused("q", paused=True)


def end_unstarted(rig: Rig, session: SessionId) -> None:
    assign(rig, session)
    rig.end(session)


def cancel_delayed(rig: Rig, _session: SessionId) -> None:
    assert rig.store.cancel("a") is CancelResult.CANCELLED


def cancel_ready(rig: Rig, session: SessionId) -> None:
    promote(rig, session)
    assert rig.store.cancel("a") is CancelResult.CANCELLED


def cancel_assigned(rig: Rig, session: SessionId) -> None:
    assign(rig, session)
    assert rig.store.cancel("a") is CancelResult.CANCELLED


def cancel_running(rig: Rig, session: SessionId) -> None:
    due(rig)
    taken = rig.run_one(session)
    assert rig.store.cancel("a") is CancelResult.REQUESTED
    rig.succeed(session, taken, OutcomeKind.CANCELLED)


Act = Callable[[Rig, SessionId], None]
FREE: dict[Act, JobState] = {
    promote: JobState.READY,
    assign: JobState.ASSIGNED,
    take: JobState.RUNNING,
    hand_back: JobState.READY,
    pause: JobState.READY,
    end_unstarted: JobState.READY,
    cancel_delayed: JobState.CANCELLED,
    cancel_ready: JobState.CANCELLED,
    cancel_assigned: JobState.CANCELLED,
    cancel_running: JobState.CANCELLED,
}


@pytest.mark.parametrize("act", FREE, ids=lambda act: act.__name__)
def test_it_costs_nothing_and_leaves_the_rest_alone(rig: Rig, act: Act):
    session = worn(rig)
    before = rig.record("a")
    assert (before.attempts, before.losses, before.error) == (1, 1, BOOM)
    act(rig, session)
    after = rig.record("a")
    assert after.state is FREE[act]
    assert (after.attempts, after.losses, after.error, after.due_ms) == (1, 1, BOOM, before.due_ms)


COSTS = {
    OutcomeKind.COMPLETED: (2, 1, None),
    OutcomeKind.RETRY: (2, 1, b"new"),
    OutcomeKind.FAILED: (2, 1, b"new"),
    OutcomeKind.SNOOZED: (1, 1, BOOM),
    OutcomeKind.LOST: (1, 2, BOOM),
}


@pytest.mark.parametrize("kind", COSTS)
def test_what_the_end_of_a_run_costs(rig: Rig, kind: OutcomeKind):
    session = worn(rig)
    due(rig)
    before = rig.record("a")
    rig.succeed(session, rig.run_one(session), kind, delay_s=5.0, error=b"new")
    after = rig.record("a")
    assert (after.attempts, after.losses, after.error) == COSTS[kind]
    later = kind in {OutcomeKind.RETRY, OutcomeKind.SNOOZED}
    assert after.due_ms == (rig.store.store_now_ms() + 5_000 if later else before.due_ms)


def test_a_lost_node_costs_a_loss_alone(rig: Rig):
    session = worn(rig)
    due(rig)
    before = rig.record("a")
    rig.run_one(session)
    rig.end(session)
    after = rig.record("a")
    assert (after.attempts, after.losses, after.error, after.due_ms) == (1, 2, BOOM, before.due_ms)


def test_failed_is_due_at_once(rig: Rig):
    worn(rig, hook=True)
    record = rig.record("a")
    assert record.state is JobState.READY
    assert record.due_ms == rig.store.store_now_ms() - 3_000, "when the job failed"


@pytest.mark.parametrize("state", [JobState.DELAYED, JobState.READY, JobState.ASSIGNED, JobState.RUNNING])
def test_a_job_that_has_failed_is_failed_when_its_failed_is_cancelled(rig: Rig, state: JobState):
    session = worn(rig, hook=True)
    if state is JobState.DELAYED:
        rig.succeed(session, rig.run_one(session), OutcomeKind.SNOOZED, delay_s=5.0)
    elif state is not JobState.READY:
        rig.assign(session)
    taken = rig.take(session) if state is JobState.RUNNING else ()
    assert rig.state("a") is state
    rig.store.cancel("a")
    for one in taken:
        rig.succeed(session, one, OutcomeKind.CANCELLED)
    after = rig.record("a")
    assert (after.state, after.attempts, after.losses, after.error) == (JobState.FAILED, 1, 1, BOOM)
    assert (rig.counts().failed, rig.counts().cancelled) == (1, 0)


@pytest.mark.parametrize("how", ["pause", "end", "hand back", "snooze", "snooze for long"])
def test_failed_that_comes_back_is_still_due_and_costs_nothing(rig: Rig, how: str):
    session = worn(rig, hook=True)
    due_ms = rig.record("a").due_ms
    rig.assign(session)
    if how == "pause":
        rig.store.set_paused("q", paused=True)
        rig.store.set_paused("q", paused=False)
    elif how == "end":
        rig.end(session)
        session = rig.node("n2")
    else:
        kind = OutcomeKind.HANDED_BACK if how == "hand back" else OutcomeKind.SNOOZED
        delay_s = 9.0 if how == "snooze for long" else 0.0
        rig.succeed(session, rig.take(session)[0], kind, delay_s=delay_s, error=b"not this")
        due_ms = due_ms if how == "hand back" else rig.store.store_now_ms() + round(delay_s * 1000)
    if how == "snooze for long":
        due(rig)
    taken = rig.run_one(session)
    assert rig.record("a").due_ms == due_ms
    assert (taken.step, taken.attempt, taken.losses, taken.error) == (Step.FAILED_HOOK, 1, 1, BOOM)


@pytest.mark.parametrize("hook", [False, True])
def test_a_failed_job_is_retried_from_nothing(rig: Rig, hook: bool):  # noqa: FBT001 - a parameter of the test
    session = worn(rig, hook=hook)
    if not hook:
        due(rig)
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    rig.clock.advance(7.0)
    rig.store.retry_failed("a", None)
    after = rig.record("a")
    assert (after.attempts, after.losses, after.error) == (0, 0, None)
    assert after.due_ms == rig.store.store_now_ms()

"""Waiting for a job's end: its bell rings when it has ended for good, whatever became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from storekit import BOOM, Rig
from test_store_bells import Ear

from callboard.core.records import JobRecord, JobState, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Callable


def await_end(rig: Rig, job_id: str = "a") -> tuple[Ear, JobRecord | None]:
    """Listen from another client, then ask."""
    store = rig.another()
    ear = Ear(store, f"job-{job_id}")
    return ear, store.await_end(job_id)


def silent(rig: Rig, ear: Ear) -> bool:
    """It has not been rung: a later ring, of another topic, has come."""
    after = Ear(ear.store, "after")
    rig.store.ring("after")
    return after.hears() and not ear.heard()


def test_a_job_that_is_unknown(rig: Rig):
    assert await_end(rig)[1] is None


@pytest.mark.parametrize("kind", [OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.CANCELLED])
def test_a_job_that_has_ended_is_told_at_once(rig: Rig, kind: OutcomeKind):
    rig.push("a")
    session = rig.node()
    rig.succeed(session, rig.run_one(session), kind, error=BOOM, result=b"\x2a")
    ear, seen = await_end(rig)
    assert seen == rig.record("a")
    assert seen.finished_ms is not None
    assert silent(rig, ear)


def test_the_job_now_is_told(rig: Rig):
    rig.push("a", delay_s=9.0)
    assert await_end(rig)[1] == rig.record("a")


def finish_as(kind: OutcomeKind) -> Callable[[Rig], None]:
    def end(rig: Rig) -> None:
        session = rig.node()
        rig.succeed(session, rig.run_one(session), kind, error=BOOM)

    return end


def cancel(rig: Rig) -> None:
    rig.store.cancel("a")


def purge(rig: Rig) -> None:
    rig.store.purge("q")


def quarantine(rig: Rig) -> None:
    rig.lose("a", 3)


def cancel_and_lose(rig: Rig) -> None:
    rig.run_one(session := rig.node())
    rig.store.cancel("a")
    rig.end(session)


def cancel_assigned(rig: Rig) -> None:
    rig.assign(rig.node())
    rig.store.cancel("a")


def expire_at_assign(rig: Rig) -> None:
    rig.clock.advance(100.0)
    rig.assign(rig.node())


def expire_when_promoted(rig: Rig) -> None:
    rig.clock.advance(100.0)
    rig.store.promote_due(rig.epoch, 10)


ENDS: dict[str, tuple[Callable[[Rig], None], JobState | None]] = {
    "completed": (finish_as(OutcomeKind.COMPLETED), JobState.COMPLETED),
    "failed": (finish_as(OutcomeKind.FAILED), JobState.FAILED),
    "cancelled": (finish_as(OutcomeKind.CANCELLED), JobState.CANCELLED),
    "cancelled while it waited": (cancel, JobState.CANCELLED),
    "cancelled when assigned": (cancel_assigned, JobState.CANCELLED),
    "cancelled and lost": (cancel_and_lose, JobState.CANCELLED),
    "purged": (purge, None),
    "quarantined": (quarantine, JobState.FAILED),
    "expired at an assign": (expire_at_assign, JobState.CANCELLED),
    "expired before": (expire_when_promoted, JobState.CANCELLED),
}


def check_each_end_rings(rig: Rig, how: str = "completed") -> None:
    rig.push("a", expires_s=90.0)
    ear, seen = await_end(rig)
    assert seen is not None
    end, state = ENDS[how]
    end(rig)
    assert ear.hears()
    assert rig.state("a") is state


@pytest.mark.parametrize("how", ENDS)
def test_each_end_rings(rig: Rig, how: str):
    check_each_end_rings(rig, how)


@pytest.mark.parametrize("kind", [OutcomeKind.RETRY, OutcomeKind.SNOOZED, OutcomeKind.HANDED_BACK, OutcomeKind.LOST])
@pytest.mark.parametrize("delay_s", [0.0, 5.0])
def test_what_is_no_end_does_not_ring_and_the_end_does(rig: Rig, kind: OutcomeKind, delay_s: float):
    rig.push("a")
    ear, _ = await_end(rig)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), kind, delay_s=delay_s, error=BOOM)
    lost = rig.node("lost")
    rig.assign(lost)
    rig.take(lost)
    rig.end(lost)
    assert silent(rig, ear)
    rig.clock.advance(5.0)
    rig.store.promote_due(rig.epoch, 10)
    rig.succeed(session, rig.run_one(session))
    assert ear.hears(), "it was asked for once, and holds until the end"


def test_a_job_with_a_failed_step_has_ended_after_that(rig: Rig):
    rig.push("a", has_failed_hook=True)
    ear, _ = await_end(rig)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    assert silent(rig, ear)
    rig.succeed(session, rig.run_one(session))
    assert ear.hears()
    assert rig.state("a") is JobState.FAILED


def test_several_wait_for_one(rig: Rig):
    rig.push("a")
    ears = [await_end(rig)[0] for _ in range(3)]
    cancel(rig)
    assert all(ear.hears() for ear in ears)


def test_each_hears_of_its_own(rig: Rig):
    rig.push("a", "b")
    one, two = await_end(rig, "a")[0], await_end(rig, "b")[0]
    rig.store.cancel("b")
    assert two.hears()
    assert silent(rig, one)


def test_an_operators_retry_is_waited_for_anew(rig: Rig):
    rig.push("a")
    ear, _ = await_end(rig)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    assert ear.hears()
    rig.store.retry_failed("a", None)
    ear, seen = await_end(rig)
    assert seen is not None
    assert seen.state is JobState.READY
    rig.succeed(session, rig.run_one(session))
    assert ear.hears()

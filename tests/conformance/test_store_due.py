"""Delays and retries: due by the store's clock, which no jump of the wall clock moves."""

from __future__ import annotations

import pytest
from storekit import BOOM, Rig, ids

from callboard.core.records import JobState, OutcomeKind, Promoted


def promote(rig: Rig, limit: int = 100) -> Promoted:
    """Move what is due."""
    return rig.store.promote_due(rig.epoch, limit)


def test_a_job_is_promoted_when_it_is_due(rig: Rig):
    rig.push("a", delay_s=10.0)
    assert promote(rig) == Promoted(0, 10.0)
    rig.clock.advance(9.5)
    assert promote(rig) == Promoted(0, 0.5)
    assert rig.state("a") is JobState.DELAYED
    rig.clock.advance(0.5)
    assert promote(rig) == Promoted(1, None)
    assert rig.state("a") is JobState.READY
    assert (rig.counts().delayed, rig.counts().ready) == (0, 1)


def test_nothing_waits(rig: Rig):
    assert promote(rig) == Promoted(0, None)


def test_at_most_limit_are_promoted_the_earliest_first(rig: Rig):
    rig.push("late", delay_s=3.0)
    rig.push("early", delay_s=1.0)
    rig.push("middle", delay_s=2.0, queue="other")
    rig.push("next week", delay_s=7 * 86_400.0)
    rig.clock.advance(60.0)
    assert promote(rig, 2) == Promoted(2, 0.0)
    assert [rig.state(one) for one in ("early", "middle", "late")] == [JobState.READY, JobState.READY, JobState.DELAYED]
    assert promote(rig, 2) == Promoted(1, 7 * 86_400.0 - 60.0)


def test_a_promoted_job_has_its_place_by_when_it_was_due(rig: Rig):
    rig.push("later", delay_s=5.0)
    rig.clock.advance(3.0)
    rig.push("sooner")
    rig.clock.advance(4.0)
    rig.push("last")
    promote(rig)
    session = rig.node()
    assert [rig.run_one(session).id for _ in range(3)] == ["sooner", "later", "last"]


def test_a_cancelled_job_is_not_promoted(rig: Rig):
    rig.push("a", "b", delay_s=1.0)
    rig.store.cancel("a")
    rig.clock.advance(2.0)
    assert promote(rig).moved == 1
    assert rig.state("a") is JobState.CANCELLED


@pytest.mark.parametrize("kind", [OutcomeKind.RETRY, OutcomeKind.SNOOZED])
def test_what_is_to_run_again_waits_its_delay(rig: Rig, kind: OutcomeKind):
    rig.push("a")
    session = rig.node()
    rig.succeed(session, rig.run_one(session), kind, delay_s=30.0, error=BOOM)
    assert rig.state("a") is JobState.DELAYED
    rig.clock.advance(29.75)
    assert promote(rig).moved == 0
    rig.clock.advance(0.25)
    assert promote(rig) == Promoted(1, None)
    rig.run_one(session)


def test_no_delay_is_ready_at_once(rig: Rig):
    rig.push("a", "b")
    session = rig.node()
    one, two = rig.run(session, 2)
    rig.succeed(session, one, OutcomeKind.RETRY, error=BOOM)
    rig.succeed(session, two, OutcomeKind.SNOOZED)
    assert rig.counts().ready == 2


@pytest.mark.parametrize("jump_s", [3_600.0, -3_600.0])
def test_a_jump_of_the_wall_clock_moves_nothing(rig: Rig, jump_s: float):
    rig.push("a", delay_s=10.0)
    before_ms = rig.store.store_now_ms()
    rig.clock.jump_wall(jump_s)
    assert rig.store.store_now_ms() == before_ms
    rig.store.sweep(rig.epoch, 10)
    assert promote(rig) == Promoted(0, 10.0)
    rig.clock.advance(10.0)
    assert rig.store.store_now_ms() == before_ms + 10_000
    assert promote(rig).moved == 1


def test_a_wall_clock_that_stays_elsewhere_is_believed_in_the_end(rig: Rig):
    if rig.place.own_clock:
        pytest.skip("its time is the server's: no clock of a node's machine moves it")
    rig.store.sweep(rig.epoch, 10)
    rig.clock.jump_wall(3_600.0)
    for _ in range(200):
        rig.clock.advance(5.0)
        rig.store.sweep(rig.epoch, 10)
    assert rig.store.store_now_ms() == round(rig.clock.wall_s() * 1000)


def test_the_clock_starts_with_the_wall_and_goes_on(rig: Rig):
    start_ms = rig.store.store_now_ms()
    assert start_ms == round(rig.clock.wall_s() * 1000)
    rig.clock.advance(1.5)
    assert rig.store.store_now_ms() == start_ms + 1_500


def test_times_are_the_stores(rig: Rig):
    rig.push("a")
    rig.clock.advance(2.0)
    session = rig.node()
    (taken,) = rig.run(session)
    rig.clock.advance(3.0)
    rig.succeed(session, taken)
    seen = rig.record("a")
    assert seen.finished_ms == rig.store.store_now_ms()
    assert seen.finished_ms - seen.pushed_ms == 5_000
    assert ids(rig.store.jobs(JobState.COMPLETED, None, 10)) == ["a"]

"""An operator's limits for one queue: how many jobs may wait, and how waiting makes up for priority."""

from __future__ import annotations

import pytest
from storekit import BOOM, Rig, job

from callboard.core.errors import QueueFull
from callboard.core.records import JobState, OutcomeKind, QueueLimits, ScheduleRow


def limit(rig: Rig, max_depth: int | None = None, aging_s: float | None = None, queue: str = "q") -> None:
    """Order limits."""
    rig.store.set_limits(queue, QueueLimits(max_depth, aging_s))


def test_limits_are_seen(rig: Rig):
    rig.push("a")
    assert (rig.counts().max_depth, rig.counts().aging_s) == (None, None)
    limit(rig, 5, 2.5)
    assert (rig.counts().max_depth, rig.counts().aging_s) == (5, 2.5)
    limit(rig, None, 0.0)
    assert (rig.counts().max_depth, rig.counts().aging_s) == (None, 0.0)
    limit(rig, queue="new")
    limit(rig, 0, queue="other")
    assert [(one.queue, one.max_depth) for one in rig.store.counts()] == [("new", None), ("other", 0), ("q", None)]
    rig.store.set_paused("q", paused=True)
    limit(rig, 3)
    assert (rig.counts().paused, rig.counts().max_depth) == (True, 3)
    rig.store.set_paused("q", paused=False)
    assert rig.counts().max_depth == 3


# Depth ----------------------------------------------------------------------------------------------------------------


def check_a_push_beyond_the_depth_is_refused_whole(rig: Rig) -> None:
    limit(rig, 3)
    rig.push("a")
    rig.push("b", delay_s=9.0)
    before = rig.store.counts()
    with pytest.raises(QueueFull):
        rig.push("c", "d")
    assert rig.store.counts() == before
    assert rig.state("c") is None
    rig.push("c")
    with pytest.raises(QueueFull):
        rig.push("d", delay_s=1.0)
    assert (rig.counts().ready, rig.counts().delayed) == (2, 1)
    rig.push("d", queue="r")


def test_a_push_beyond_the_depth_is_refused_whole(rig: Rig):
    check_a_push_beyond_the_depth_is_refused_whole(rig)


def test_one_full_queue_refuses_a_batch_for_many(rig: Rig):
    limit(rig, 1, queue="r")
    with pytest.raises(QueueFull):
        rig.store.push([job("a"), job("b", "r"), job("c", "r")])
    assert [rig.state(name) for name in "abc"] == [None] * 3
    rig.store.push([job("a"), job("b", "r")])


def test_none_may_wait(rig: Rig):
    limit(rig, 0)
    with pytest.raises(QueueFull):
        rig.push("a")
    limit(rig, None)
    assert rig.push("a").new == 1


def test_what_the_store_has_already_is_answered(rig: Rig):
    limit(rig, 2)
    rig.push("a", unique="k")
    rig.push("b")
    receipt = rig.store.push([job("b"), job("a"), job("c", unique="k")])
    assert (receipt.ids, receipt.new) == (("b", "a", "a"), 0)
    limit(rig, 0)
    assert rig.push("b").new == 0
    rig.store.purge("q")
    assert rig.push("a").new == 0, "known though gone"


def test_a_refused_push_holds_no_key(rig: Rig):
    limit(rig, 0)
    with pytest.raises(QueueFull):
        rig.push("a", unique="k")
    assert rig.push("b", queue="r", unique="k").ids == ("b",)


def test_only_what_waits_counts(rig: Rig):
    limit(rig, 1)
    session = rig.node()
    rig.push("a")
    rig.assign(session)
    rig.push("b")
    rig.take(session)
    with pytest.raises(QueueFull):
        rig.push("c")
    rig.store.cancel("b")
    assert rig.push("c").new == 1


def test_lowering_it_leaves_what_waits(rig: Rig):
    rig.push("a", "b", "c")
    limit(rig, 1)
    assert rig.counts().ready == 3
    session = rig.node()
    rig.run(session, 2)
    with pytest.raises(QueueFull):
        rig.push("d")
    rig.get_one(session)
    assert rig.push("d").new == 1


@pytest.mark.parametrize("kind", [OutcomeKind.RETRY, OutcomeKind.SNOOZED, OutcomeKind.HANDED_BACK, OutcomeKind.LOST])
@pytest.mark.parametrize("delay_s", [0.0, 5.0])
def test_what_runs_again_is_never_refused(rig: Rig, kind: OutcomeKind, delay_s: float):
    limit(rig, 1)
    rig.push("a")
    session = rig.node()
    taken = rig.run_one(session)
    rig.push("b")
    rig.succeed(session, taken, kind, delay_s=delay_s, error=BOOM)
    assert rig.counts().ready + rig.counts().delayed == 2


def test_promotions_releases_and_operators_are_never_refused(rig: Rig):
    rig.push("delayed", delay_s=1.0)
    rig.push("failed", priority=9)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    rig.push("lost")
    rig.run_one(session)
    limit(rig, 0)
    rig.clock.advance(2.0)
    assert rig.store.promote_due(rig.epoch, 10).moved == 1
    rig.end(session)
    rig.store.retry_failed("failed", None)
    assert rig.counts().ready == 3


def test_a_tick_into_a_full_queue_is_not_spent(rig: Rig):
    limit(rig, 0)
    rig.store.put_schedule(ScheduleRow("s", "* * * * *", "UTC", "skip", 1.0, job("t"), 1_000))
    with pytest.raises(QueueFull):
        rig.store.fire_tick(rig.epoch, "s", 1_000, 2_000, [job("a")])
    assert rig.store.schedules()[0].last_tick_ms == 1_000
    limit(rig, 1)
    assert rig.store.fire_tick(rig.epoch, "s", 1_000, 2_000, [job("a")])
    assert rig.store.fire_tick(rig.epoch, "s", 2_000, 3_000, []), "a skipped tick pushes nothing"


# Aging ----------------------------------------------------------------------------------------------------------------


def order(rig: Rig, count: int) -> list[str]:
    """The order in which jobs are taken, one at a time."""
    session = rig.node(capacity=100)
    return [rig.run_one(session).id for _ in range(count)]


def test_waiting_makes_up_for_priority(rig: Rig):
    limit(rig, aging_s=10.0)
    rig.push("old")
    rig.clock.advance(5.0)
    rig.push("high", priority=1)
    rig.clock.advance(5.5)
    rig.push("later", priority=1)
    assert order(rig, 3) == ["high", "old", "later"]


def test_no_aging_is_first_come_first_served(rig: Rig):
    limit(rig, aging_s=0.0)
    rig.push("a", priority=-5)
    rig.clock.advance(0.5)
    rig.push("b", priority=5)
    assert order(rig, 2) == ["a", "b"]


def test_other_queues_keep_strict_priority(rig: Rig):
    limit(rig, aging_s=0.0, queue="r")
    rig.push("a", priority=-5)
    rig.clock.advance(0.5)
    rig.push("b", priority=5)
    assert order(rig, 2) == ["b", "a"]


def test_without_the_order_it_is_as_before(rig: Rig):
    limit(rig, aging_s=0.0)
    limit(rig)
    rig.push("a", priority=-5)
    rig.clock.advance(0.5)
    rig.push("b", priority=5)
    assert order(rig, 2) == ["b", "a"]
    assert rig.state("a") is JobState.RUNNING


def test_what_comes_back_keeps_the_place_that_it_had_before_the_order(rig: Rig):
    rig.push("high", priority=1)
    session = rig.node(capacity=100)
    taken = rig.get_one(session)
    limit(rig, aging_s=0.0)
    rig.push("later")
    rig.clock.advance(5.0)
    rig.succeed(session, taken, OutcomeKind.HANDED_BACK)
    assert [rig.get_one(session).id for _ in range(2)] == ["high", "later"]


def test_what_is_due_again_has_the_place_that_the_order_gives(rig: Rig):
    rig.push("high", priority=1)
    session = rig.node(capacity=100)
    taken = rig.get_one(session)
    limit(rig, aging_s=0.0)
    rig.push("later")
    rig.clock.advance(5.0)
    rig.succeed(session, taken, OutcomeKind.SNOOZED)
    assert [rig.get_one(session).id for _ in range(2)] == ["later", "high"]

"""Pushing: durable ids, once each; unique keys; bounds."""

from __future__ import annotations

import pytest
from storekit import BOOM, Rig, held, ids, job

from callboard.core.errors import QueueFull
from callboard.core.records import Backoff, JobState, NewJob, OutcomeKind, Step


def test_a_pushed_job_is_ready_and_answers_with_its_id(rig: Rig):
    receipt = rig.push("a", "b")
    assert receipt.ids == ("a", "b")
    assert receipt.new == 2
    assert rig.state("a") is JobState.READY
    assert rig.counts().ready == 2


def test_nothing_to_push_is_nothing_written(rig: Rig):
    assert rig.store.push([]).ids == ()
    assert rig.store.counts() == ()


def test_a_delayed_job_waits(rig: Rig):
    rig.push("a", delay_s=60.0)
    assert rig.state("a") is JobState.DELAYED
    assert rig.counts().delayed == 1
    assert rig.record("a").due_ms == rig.store.store_now_ms() + 60_000


def test_every_field_reaches_the_node_and_the_operator(rig: Rig):
    new = NewJob("a", "app.mail", "q", b"\x81\xa1a\x01", priority=7, max_attempts=4, timeout_s=2.5,
                 backoff=Backoff(1.5, 2.0, 60.0, 0.25), unique="key", has_failed_hook=True)
    pushed_ms = rig.store.store_now_ms()
    rig.store.push([new])
    taken = rig.run_one(rig.node())
    assert (taken.id, taken.name, taken.queue, taken.body) == ("a", "app.mail", "q", b"\x81\xa1a\x01")
    assert (taken.max_attempts, taken.timeout_s, taken.backoff) == (4, 2.5, Backoff(1.5, 2.0, 60.0, 0.25))
    assert (taken.attempt, taken.losses, taken.step, taken.error) == (1, 0, Step.HANDLE, None)
    assert (taken.has_failed_hook, taken.pushed_ms) == (True, pushed_ms)
    seen = rig.record("a")
    assert (seen.id, seen.name, seen.queue, seen.body, seen.priority) == ("a", "app.mail", "q", new.body, 7)
    assert (seen.max_attempts, seen.unique, seen.pushed_ms, seen.due_ms) == (4, "key", pushed_ms, pushed_ms)
    assert (seen.state, seen.node, seen.token, seen.finished_ms) == (JobState.RUNNING, "n1", taken.token, None)


def test_none_stays_none(rig: Rig):
    rig.push("a")
    taken = rig.run_one(rig.node())
    assert (taken.max_attempts, taken.timeout_s, taken.backoff, taken.error) == (None, None, None, None)
    assert rig.record("a").unique is None


def test_large_bodies_and_odd_strings_come_back_whole(rig: Rig):
    body = bytes(range(256)) * 4096
    rig.store.push([NewJob("id-'\"%;--\u00e9", "n", "q", body, unique="key '\"; \U0001f600")])
    taken = rig.run_one(rig.node())
    assert taken.body == body
    assert taken.id == "id-'\"%;--\u00e9"
    assert rig.record(taken.id).unique == "key '\"; \U0001f600"


# The same id again ----------------------------------------------------------------------------------------------------


def again(rig: Rig, job_id: str = "a") -> None:
    """Push the id again: nothing is written, and the id is answered."""
    before = rig.store.counts(), rig.store.job(job_id)
    receipt = rig.push(job_id, priority=3)
    assert receipt.ids == (job_id,)
    assert receipt.new == 0
    assert (rig.store.counts(), rig.store.job(job_id)) == before


def test_a_waiting_job_pushed_again_is_one_job(rig: Rig):
    rig.push("a")
    again(rig)
    rig.push("b", delay_s=5.0)
    again(rig, "b")


def test_one_batch_with_the_same_id_twice_is_one_job(rig: Rig):
    receipt = rig.push("a", "a", "b")
    assert receipt.ids == ("a", "a", "b")
    assert receipt.new == 2
    assert rig.counts().ready == 2


@pytest.mark.parametrize("kind", [OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.CANCELLED])
def test_a_finished_job_pushed_again_stays_finished(rig: Rig, kind: OutcomeKind):
    rig.push("a")
    session = rig.node()
    rig.succeed(session, rig.run_one(session), kind, error=BOOM)
    again(rig)


def test_a_job_that_is_held_pushed_again_is_one_job(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.assign(session)
    again(rig)
    rig.take(session)
    again(rig)


def test_a_purged_id_is_remembered(rig: Rig):
    rig.push("a", "b")
    rig.store.purge("q")
    again(rig)
    assert rig.state("a") is None


def test_a_forgotten_id_is_remembered(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    assert rig.store.forget_failed(["a"]) == 1
    again(rig)


# Unique keys ----------------------------------------------------------------------------------------------------------


def check_unique_key_is_held_by_one_job(rig: Rig) -> None:
    rig.push("a", unique="k")
    receipt = rig.push("b", unique="k")
    assert receipt.ids == ("a",)
    assert receipt.new == 0
    assert rig.state("b") is None
    assert rig.counts().ready == 1


def test_a_unique_key_is_held_by_one_job(rig: Rig):
    check_unique_key_is_held_by_one_job(rig)


def test_a_unique_key_twice_in_one_batch_is_one_job(rig: Rig):
    receipt = rig.push("a", "b", unique="k")
    assert receipt.ids == ("a", "a")
    assert receipt.new == 1


def test_a_unique_key_is_held_while_the_job_lives(rig: Rig):
    rig.push("a", unique="k", delay_s=1.0, has_failed_hook=True)
    session = rig.node()

    def holds() -> bool:
        return rig.push("b", unique="k").ids == ("a",)

    assert holds(), "delayed"
    rig.clock.advance(1.0)
    rig.store.promote_due(rig.epoch, 10)
    assert holds(), "ready"
    rig.assign(session)
    assert holds(), "assigned"
    (taken,) = rig.take(session)
    assert holds(), "running"
    rig.finish(session, taken, OutcomeKind.FAILED, error=BOOM)
    assert holds(), "its failed() is due"


@pytest.mark.parametrize("kind", [OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.CANCELLED])
def test_a_unique_key_is_free_after_the_end(rig: Rig, kind: OutcomeKind):
    rig.push("a", unique="k")
    session = rig.node()
    rig.succeed(session, rig.run_one(session), kind, error=BOOM)
    assert rig.push("b", unique="k").ids == ("b",)


def test_a_unique_key_is_free_after_cancel_and_purge(rig: Rig):
    rig.push("a", unique="k")
    rig.store.cancel("a")
    assert rig.push("b", unique="k").ids == ("b",)
    rig.store.purge("q")
    assert rig.push("c", unique="k").ids == ("c",)


def test_a_known_id_wins_over_a_unique_key(rig: Rig):
    rig.push("a", unique="k")
    rig.push("b")
    assert rig.push("b", unique="k").ids == ("b",)


# Bounds ---------------------------------------------------------------------------------------------------------------


def test_a_full_store_refuses_a_batch_whole(rig: Rig):
    small = rig.fresh(max_jobs=3)
    small.push("a", "b")
    with pytest.raises(QueueFull):
        small.push("c", "d")
    assert small.counts().ready == 2
    assert small.state("c") is None
    small.push("c")
    with pytest.raises(QueueFull):
        small.push("d", delay_s=9.0)


def test_a_full_store_answers_a_push_that_it_has(rig: Rig):
    small = rig.fresh(max_jobs=2)
    small.push("a", "b")
    assert small.push("a", "b").ids == ("a", "b")


def test_what_runs_counts_and_what_ended_does_not(rig: Rig):
    small = rig.fresh(max_jobs=1)
    session = small.node()
    small.push("a")
    taken = small.run_one(session)
    with pytest.raises(QueueFull):
        small.push("b")
    small.succeed(session, taken)
    assert small.push("b").new == 1


# Order ----------------------------------------------------------------------------------------------------------------


def order(rig: Rig, count: int) -> list[str]:
    """The order in which jobs are taken, one at a time."""
    session = rig.node(capacity=100)
    return [rig.run_one(session).id for _ in range(count)]


def test_first_pushed_goes_first(rig: Rig):
    rig.push("c", "a")
    rig.push("b")
    rig.clock.advance(1.0)
    rig.push("d")
    assert order(rig, 4) == ["c", "a", "b", "d"]


def test_higher_priority_goes_first_whatever_waits(rig: Rig):
    rig.push("low", priority=-5)
    rig.clock.advance(86_400.0)
    rig.push("plain-1", "plain-2")
    rig.push("high-1", "high-2", priority=1)
    rig.push("highest", priority=100)
    assert order(rig, 6) == ["highest", "high-1", "high-2", "plain-1", "plain-2", "low"]


def test_one_assignment_takes_the_first_by_rank(rig: Rig):
    rig.store.push([job("a"), job("b", priority=2), job("c", priority=1)])
    session = rig.node()
    rig.assign(session, 2)
    assert sorted(ids(rig.take(session))) == ["b", "c"]


def test_a_job_handed_back_keeps_its_place(rig: Rig):
    rig.push("a", "b")
    session = rig.node()
    taken = rig.run_one(session)
    rig.clock.advance(5.0)
    rig.succeed(session, taken, OutcomeKind.HANDED_BACK)
    assert held(rig.run_one(session)).id == "a"


def test_a_job_that_is_tried_again_goes_behind_those_that_were_due_before(rig: Rig):
    rig.push("a", "b")
    session = rig.node()
    taken = rig.run_one(session)
    rig.clock.advance(5.0)
    rig.succeed(session, taken, OutcomeKind.RETRY, error=BOOM)
    assert ids(rig.run(session, 1)) == ["b"]

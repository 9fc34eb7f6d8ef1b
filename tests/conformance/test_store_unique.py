"""Unique keys in their three forms: until it has started, until it is done, for a period."""

from __future__ import annotations

import pytest
from storekit import BOOM, Rig, job

from callboard.core.errors import Conflict, QueueFull
from callboard.core.records import Assignment, JobState, OutcomeKind, Plan, QueueLimits, UniqueUntil
from callboard.core.retention import Retention

STARTED, DONE, PERIOD = UniqueUntil.STARTED, UniqueUntil.DONE, UniqueUntil.PERIOD
FORMS = pytest.mark.parametrize("form", UniqueUntil)


def push(rig: Rig, job_id: str, form: UniqueUntil, **options: object) -> str:
    """Push a job with the key "k"; the id that was answered."""
    period_s = 100.0 if form is PERIOD else None
    (answered,) = rig.push(job_id, unique="k", unique_until=form, **{"unique_period_s": period_s, **options}).ids
    return answered


def free(rig: Rig, job_id: str = "probe", form: UniqueUntil = DONE) -> bool:
    """Whether nobody holds the key: a job that is pushed with it is a new one; it is cancelled at once."""
    took = push(rig, job_id, form, queue="probes", unique_period_s=1e-3) == job_id
    if took:
        rig.store.cancel(job_id)
    return took


# Any form -------------------------------------------------------------------------------------------------------------


@FORMS
@pytest.mark.parametrize("other", UniqueUntil)
def test_one_job_holds_it_whatever_form_the_next_one_has(rig: Rig, form: UniqueUntil, other: UniqueUntil):
    assert push(rig, "a", form) == "a"
    assert push(rig, "b", other) == "a"
    assert rig.state("b") is None
    assert rig.record("a").unique == "k"


@FORMS
def test_it_holds_within_one_batch(rig: Rig, form: UniqueUntil):
    options = {"unique": "k", "unique_until": form, "unique_period_s": 5.0}
    receipt = rig.store.push([job("a", **options), job("b", **options), job("c", "r", **options)])
    assert (receipt.ids, receipt.new) == (("a", "a", "a"), 1)


@FORMS
def test_it_is_held_while_the_job_waits(rig: Rig, form: UniqueUntil):
    push(rig, "a", form, delay_s=1.0)
    assert push(rig, "b", form) == "a"
    rig.clock.advance(1.0)
    rig.store.promote_due(rig.epoch, 10)
    assert push(rig, "b", form) == "a"
    session = rig.node()
    rig.assign(session)
    assert push(rig, "b", form) == "a"
    rig.store.set_paused("q", paused=True)
    assert push(rig, "b", form) == "a", "withdrawn"


@FORMS
def test_a_known_id_wins(rig: Rig, form: UniqueUntil):
    push(rig, "a", form)
    rig.push("b")
    assert push(rig, "b", form) == "b"


@FORMS
def test_a_push_that_was_refused_holds_nothing(rig: Rig, form: UniqueUntil):
    rig.store.set_limits("q", QueueLimits(0))
    with pytest.raises(QueueFull):
        push(rig, "a", form)
    assert free(rig)


@FORMS
def test_the_same_push_again_is_the_same_job(rig: Rig, form: UniqueUntil):
    assert [push(rig, "a", form) for _ in range(2)] == ["a", "a"]
    session = rig.node()
    rig.succeed(session, rig.run_one(session))
    assert push(rig, "a", form) == "a", "its reply may have been lost for long"
    assert rig.state("a") is JobState.COMPLETED


def test_keys_are_apart(rig: Rig):
    rig.push("a", unique="k", unique_until=PERIOD, unique_period_s=50.0)
    assert rig.push("b", unique="K").new == 1
    assert rig.push("c", unique="k ").new == 1


# Until it has started -------------------------------------------------------------------------------------------------


def check_it_is_free_once_it_was_taken(rig: Rig) -> None:
    push(rig, "a", STARTED)
    session = rig.node()
    rig.assign(session)
    assert push(rig, "b", STARTED) == "a"
    (taken,) = rig.take(session)
    assert push(rig, "b", STARTED) == "b"
    rig.succeed(session, taken)
    assert push(rig, "c", STARTED) == "b", "the end of the first frees nothing of the second"


def test_it_is_free_once_it_was_taken(rig: Rig):
    check_it_is_free_once_it_was_taken(rig)


def test_it_is_free_once_it_was_assigned_and_taken_in_one_call(rig: Rig):
    push(rig, "a", STARTED)
    session = rig.node()
    rig.store.assign(rig.epoch, Plan((Assignment(session, "q", "q", 1),)), session)
    assert push(rig, "b", STARTED) == "b"


@pytest.mark.parametrize("kind", [OutcomeKind.RETRY, OutcomeKind.SNOOZED, OutcomeKind.HANDED_BACK, OutcomeKind.LOST])
@pytest.mark.parametrize("delay_s", [0.0, 5.0])
def test_it_is_free_for_good(rig: Rig, kind: OutcomeKind, delay_s: float):
    push(rig, "a", STARTED)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), kind, delay_s=delay_s, error=BOOM)
    assert push(rig, "b", STARTED) == "b"
    rig.clock.advance(5.0)
    rig.store.promote_due(rig.epoch, 10)
    for taken in rig.run(session, 2):
        rig.succeed(session, taken)
    assert push(rig, "c", STARTED) == "c"


@pytest.mark.parametrize("begun", [True, False])
def test_it_is_free_for_good_after_a_lost_node(rig: Rig, begun: bool):  # noqa: FBT001 - a parameter of the test
    push(rig, "a", STARTED)
    session = rig.node()
    (rig.run_one if begun else rig.get_one)(session)
    rig.end(session)
    assert push(rig, "b", STARTED) == "b"
    rig.store.cancel("a")
    assert push(rig, "c", STARTED) == "b"


def test_what_was_only_assigned_holds_it_when_it_comes_back(rig: Rig):
    push(rig, "a", STARTED)
    session = rig.node()
    rig.assign(session)
    rig.end(session)
    assert push(rig, "b", STARTED) == "a"


@pytest.mark.parametrize("how", ["cancel", "purge", "expire"])
def test_a_job_that_ends_before_it_started_frees_it(rig: Rig, how: str):
    push(rig, "a", STARTED, expires_s=5.0)
    if how == "cancel":
        rig.store.cancel("a")
    elif how == "purge":
        rig.store.purge("q")
    else:
        rig.clock.advance(5.0)
        rig.store.promote_due(rig.epoch, 10)
    assert free(rig)


def test_an_operators_retry_neither_takes_it_nor_minds(rig: Rig):
    push(rig, "a", STARTED)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    rig.store.retry_failed("a", None)
    assert push(rig, "b", STARTED) == "b"
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    rig.store.retry_failed("a" if rig.state("a") is JobState.FAILED else "b", None)
    assert rig.counts().ready == 2


# Until it is done -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [DONE, PERIOD])
def test_it_is_held_while_the_job_runs(rig: Rig, form: UniqueUntil):
    push(rig, "a", form)
    rig.run_one(rig.node())
    assert push(rig, "b", form) == "a"


def test_an_operators_retry_takes_it_again(rig: Rig):
    push(rig, "a", DONE)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    assert free(rig)
    rig.store.retry_failed("a", None)
    assert not free(rig, "probe-2")


@FORMS
def test_an_operators_retry_of_what_another_holds_is_a_conflict(rig: Rig, form: UniqueUntil):
    push(rig, "a", DONE)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    push(rig, "b", form)
    before = rig.record("a")
    with pytest.raises(Conflict):
        rig.store.retry_failed("a", None)
    assert rig.record("a") == before
    rig.store.cancel("b")
    if form is PERIOD:
        with pytest.raises(Conflict):
            rig.store.retry_failed("a", None)
        rig.clock.advance(100.0)
    rig.store.retry_failed("a", None)


# For a period ---------------------------------------------------------------------------------------------------------


def check_it_is_held_for_its_period(rig: Rig) -> None:
    push(rig, "a", PERIOD)
    session = rig.node()
    rig.succeed(session, rig.run_one(session))
    rig.clock.advance(99.0)
    assert push(rig, "b", PERIOD) == "a"
    rig.clock.advance(1.0)
    assert push(rig, "b", PERIOD) == "b"
    rig.clock.advance(99.0)
    assert push(rig, "c", PERIOD) == "b", "a period of its own"


def test_it_is_held_for_its_period(rig: Rig):
    check_it_is_held_for_its_period(rig)


def complete(rig: Rig) -> None:
    rig.succeed(session := rig.node(), rig.run_one(session))


def fail_and_forget(rig: Rig) -> None:
    rig.succeed(session := rig.node(), rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    assert rig.store.forget_failed(["a"]) == 1


def cancel(rig: Rig) -> None:
    rig.store.cancel("a")


def purge(rig: Rig) -> None:
    rig.store.purge("q")


def complete_and_prune(rig: Rig) -> None:
    complete(rig)
    rig.store.sweep(rig.epoch, 100)
    assert rig.store.job("a") is None


@pytest.mark.parametrize("end", [complete, fail_and_forget, cancel, purge, complete_and_prune],
                         ids=lambda end: end.__name__)
def test_its_period_outlives_its_job(rig: Rig, end):
    rig = rig.fresh(retention=Retention(finished_max=0)) if end is complete_and_prune else rig
    push(rig, "a", PERIOD)
    end(rig)
    rig.store.sweep(rig.epoch, 100)
    rig.clock.advance(99.0)
    rig.store.sweep(rig.epoch, 100)
    assert push(rig, "b", PERIOD) == "a"
    rig.clock.advance(1.0)
    assert push(rig, "b", DONE) == "b"


@pytest.mark.parametrize("swept", [True, False])
def test_a_job_that_waits_longer_than_its_period_holds_nothing(rig: Rig, swept: bool):  # noqa: FBT001 - as above
    push(rig, "a", PERIOD, delay_s=500.0)
    rig.clock.advance(100.0)
    if swept:
        rig.store.sweep(rig.epoch, 100)
    assert push(rig, "b", DONE) == "b"
    rig.store.cancel("a")
    assert push(rig, "c", DONE) == "b", "its end frees nobody else's key"
    rig.store.sweep(rig.epoch, 100)
    assert push(rig, "c", DONE) == "b"


def test_a_period_that_is_over_frees_no_newer_one(rig: Rig):
    push(rig, "a", PERIOD, unique_period_s=10.0)
    rig.clock.advance(10.0)
    push(rig, "b", PERIOD)
    rig.store.sweep(rig.epoch, 100)
    assert push(rig, "c", PERIOD) == "b"


def test_an_operators_retry_begins_no_new_period(rig: Rig):
    push(rig, "a", PERIOD)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    rig.clock.advance(60.0)
    rig.store.retry_failed("a", None)
    assert push(rig, "b", PERIOD) == "a"
    rig.clock.advance(40.0)
    assert push(rig, "b", PERIOD) == "b"
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    rig.store.retry_failed("a", None)
    assert push(rig, "c", PERIOD) == "b", "and it minds nobody else's"

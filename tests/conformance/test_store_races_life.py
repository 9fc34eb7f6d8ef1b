"""Two clients at the same moment, in the rest of a job's life: there is one answer, and both clients agree on it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from storekit import BOOM, Rig, held, job
from test_store_races import ROUNDS, kinds, race

from callboard.core.errors import Conflict, QueueFull, StaleEpoch, TermRefused
from callboard.core.records import (
    Assignment,
    CancelResult,
    JobState,
    Outcome,
    OutcomeKind,
    Plan,
    Progress,
    QueueLimits,
    Released,
    UniqueUntil,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from callboard.core.ports import JobStore


class Round:
    """One round: a number, the rig, and two clients."""

    def __init__(self, number: int, rig: Rig, other: JobStore) -> None:
        self.number, self.rig, self.other = number, rig, other
        self.name = f"a{number}"

    def node(self, part: str = "") -> Any:
        """A session of this round."""
        return self.rig.node(f"n{self.number}{part}")


@pytest.fixture
def rounds(rig: Rig) -> Iterator[list[Round]]:
    """As many rounds on one store."""
    other = rig.another()
    return [Round(number, rig, other) for number in range(ROUNDS)]


# Marks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False])
def test_a_mark_and_the_end_of_the_session(rounds: list[Round], own: bool):  # noqa: FBT001 - a parameter of the test
    for it in rounds:
        rig, session = it.rig, it.node()
        rig.push(it.name)
        taken, epoch = rig.get_one(session), rig.epoch
        end = partial(rig.store.close_session, session) if own else partial(rig.store.end_session, epoch, session, "x")
        refused, released = race(partial(it.other.mark_started, session, [held(taken)]), end)
        seen = rig.record(it.name)
        if refused:
            assert (refused, released) == ((held(taken),), Released(0, 0, doubted=1))
            assert (seen.losses, seen.doubts, seen.history[-1].started_ms) == (0, 1, None)
        else:
            assert released == Released(0, 1), "who was told that it may start is charged"
            assert (seen.losses, seen.doubts) == (1, 0)
            assert seen.history[-1].started_ms is not None
        rig.store.cancel(it.name)


def test_a_careful_job_starts_or_is_given_to_another_but_not_both(rounds: list[Round]):
    for it in rounds:
        rig, session = it.rig, it.node()
        rig.push(it.name, at_most_once=True)
        taken, epoch = rig.get_one(session), rig.epoch
        refused, released = race(partial(rig.store.mark_started, session, [held(taken)]),
                                 partial(it.other.end_session, epoch, session, "x"))
        if refused:
            assert (released, rig.state(it.name)) == (Released(1, 0), JobState.READY)
            rig.store.cancel(it.name)
        else:
            assert (released, rig.state(it.name)) == (Released(0, 1), JobState.FAILED)


def test_two_marks_of_one_run(rounds: list[Round]):
    for it in rounds:
        rig, session = it.rig, it.node()
        rig.push(it.name)
        taken = rig.get_one(session)
        mark = [held(taken)]
        assert race(partial(rig.store.mark_started, session, mark),
                    partial(it.other.mark_started, session, mark)) == [(), ()]
        rig.succeed(session, taken)


def test_marks_of_many_runs_in_two_orders(rounds: list[Round]):
    for it in rounds:
        rig, session = it.rig, it.node()
        rig.push(*(f"{it.number}-{part}" for part in range(8)))
        runs = [held(one) for one in rig.get(session, 8)]
        refused, receipt = race(partial(rig.store.mark_started, session, runs),
                                partial(it.other.finish, session,
                                        [Outcome(one, OutcomeKind.COMPLETED) for one in reversed(runs)]))
        assert (receipt.applied, receipt.stale) == (8, ())
        assert set(refused) <= set(runs)
        for one in runs:
            assert rig.state(one.id) is JobState.COMPLETED
            assert (rig.record(one.id).started_ms is None) == (one in refused)


def test_progress_and_the_end_of_the_run(rounds: list[Round]):
    for it in rounds:
        rig, session = it.rig, it.node()
        rig.push(it.name)
        taken = rig.run_one(session)
        _, receipt = race(partial(it.other.report_progress, session, [Progress(held(taken), 0.5, "half")]),
                          partial(rig.finish, session, taken, result=b"\x2a"))
        assert receipt.applied == 1
        seen = rig.record(it.name)
        assert (seen.state, seen.result) == (JobState.COMPLETED, b"\x2a")
        assert seen.progress is None or seen.progress.message == "half"


# Ends -----------------------------------------------------------------------------------------------------------------


def test_a_finish_and_a_cancel(rounds: list[Round]):
    for it in rounds:
        rig, session = it.rig, it.node()
        rig.push(it.name)
        taken = rig.run_one(session)
        receipt, cancelled = race(partial(rig.finish, session, taken, OutcomeKind.RETRY, error=BOOM),
                                  partial(it.other.cancel, it.name))
        assert receipt.applied == 1
        assert cancelled in {CancelResult.REQUESTED, CancelResult.CANCELLED}, "it had not ended"
        seen = rig.record(it.name)
        assert seen.state is JobState.CANCELLED, "whoever was first, it does not run again"
        assert seen.attempts == (1 if cancelled is CancelResult.CANCELLED else 0)
    assert rig.counts().cancelled == ROUNDS


def test_a_success_and_a_cancel(rounds: list[Round]):
    for it in rounds:
        rig, session = it.rig, it.node()
        rig.push(it.name)
        taken = rig.run_one(session)
        receipt, cancelled = race(partial(rig.finish, session, taken, result=b"\x2a"),
                                  partial(it.other.cancel, it.name))
        assert receipt.applied == 1
        assert cancelled in {CancelResult.REQUESTED, CancelResult.TOO_LATE}
        assert (rig.state(it.name), rig.record(it.name).result) == (JobState.COMPLETED, b"\x2a")


def test_the_same_finish_with_two_results(rounds: list[Round]):
    for it in rounds:
        rig, session = it.rig, it.node()
        rig.push(it.name)
        run = held(rig.run_one(session))
        results = race(partial(rig.store.finish, session, [Outcome(run, OutcomeKind.COMPLETED, result=b"1")]),
                       partial(it.other.finish, session, [Outcome(run, OutcomeKind.COMPLETED, result=b"2")]))
        assert [(receipt.applied, receipt.stale) for receipt in results] == [(1, ())] * 2
        assert rig.record(it.name).result in {b"1", b"2"}
    assert rig.counts().completed == ROUNDS


def test_who_awaits_an_end_is_told_of_it_or_rung(rounds: list[Round]):
    from test_store_bells import Ear  # noqa: PLC0415 - its tests are not to be collected here

    for it in rounds:
        rig, session = it.rig, it.node()
        rig.push(it.name)
        taken = rig.run_one(session)
        ear = Ear(it.other, f"job-{it.name}")
        seen, receipt = race(partial(it.other.await_end, it.name), partial(rig.finish, session, taken))
        assert receipt.applied == 1
        assert seen is not None
        assert seen.state is JobState.COMPLETED or ear.hears()


# Expiry ---------------------------------------------------------------------------------------------------------------


def test_two_leaders_acts_on_what_has_expired(rounds: list[Round]):
    for it in rounds:
        rig, session = it.rig, it.node()
        rig.push(it.name, expires_s=1.0, unique="k")
        rig.clock.advance(1.0)
        epoch = rig.epoch
        receipt, done = race(
            partial(rig.store.assign, epoch, Plan((Assignment(session, "q", "q", 1),)), session),
            partial(it.other.promote_due, epoch, 10))
        assert receipt.assigned == {}
        assert done.expired <= 1
        assert rig.state(it.name) is JobState.CANCELLED
        assert rig.counts().cancelled == it.number + 1, "it is counted once"


def test_an_expiry_and_a_cancel(rounds: list[Round]):
    for it in rounds:
        rig = it.rig
        rig.push(it.name, expires_s=1.0)
        rig.clock.advance(1.0)
        done, cancelled = race(partial(rig.store.promote_due, rig.epoch, 10), partial(it.other.cancel, it.name))
        assert (done.expired, cancelled) in {(1, CancelResult.TOO_LATE), (0, CancelResult.CANCELLED)}
        assert (rig.record(it.name).error is None) == (cancelled is CancelResult.CANCELLED)
        assert rig.counts().cancelled == it.number + 1


def test_a_take_and_an_expiry(rounds: list[Round]):
    for it in rounds:
        rig, session = it.rig, it.node()
        rig.push(it.name, expires_s=1.0)
        rig.assign(session)
        rig.clock.advance(5.0)
        taken, done = race(partial(rig.take, session), partial(it.other.promote_due, rig.epoch, 10))
        assert ([one.id for one in taken], done.expired) == ([it.name], 0), "it was assigned in time"
        rig.succeed(session, taken[0])


# Keys -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", UniqueUntil)
@pytest.mark.parametrize("two", UniqueUntil)
def test_two_pushes_of_one_key(rounds: list[Round], one: UniqueUntil, two: UniqueUntil):
    for it in rounds[:8]:
        key = f"k{it.number}"
        results = race(
            partial(it.rig.store.push, [job(f"a{it.number}", unique=key, unique_until=one, unique_period_s=9.0)]),
            partial(it.other.push, [job(f"b{it.number}", unique=key, unique_until=two, unique_period_s=9.0)]))
        assert sum(receipt.new for receipt in results) == 1
        assert results[0].ids == results[1].ids
    assert rounds[0].rig.counts().ready == 8


def test_two_pushes_of_a_key_whose_period_is_over(rounds: list[Round]):
    for it in rounds:
        rig = it.rig
        form = {"unique": "k", "unique_until": UniqueUntil.PERIOD, "unique_period_s": 10.0}
        assert rig.push(f"{it.number}", **form).new == 1
        rig.clock.advance(10.0)
        results = race(partial(rig.store.push, [job(f"a{it.number}", **form)]),
                       partial(it.other.push, [job(f"b{it.number}", **form)]))
        assert sum(receipt.new for receipt in results) == 1
        assert results[0].ids == results[1].ids
        rig.clock.advance(10.0)


def test_a_push_and_the_take_that_frees_its_key(rounds: list[Round]):
    for it in rounds:
        rig, session = it.rig, it.node()
        form = {"unique": f"k{it.number}", "unique_until": UniqueUntil.STARTED}
        rig.push(it.name, **form)
        rig.assign(session)
        taken, pushed = race(partial(rig.take, session), partial(it.other.push, [job(f"b{it.number}", **form)]))
        assert [one.id for one in taken] == [it.name]
        assert (pushed.new, pushed.ids) in {(0, (it.name,)), (1, (f"b{it.number}",))}
        again = rig.push(f"c{it.number}", **form)
        assert again.new == 1 - pushed.new, "one waits with the key"
        rig.store.purge("q")
        rig.succeed(session, taken[0])


def test_a_push_and_the_end_that_frees_its_key(rounds: list[Round]):
    for it in rounds:
        rig, session = it.rig, it.node()
        key = f"k{it.number}"
        rig.push(it.name, unique=key)
        taken = rig.run_one(session)
        receipt, pushed = race(partial(rig.finish, session, taken),
                               partial(it.other.push, [job(f"b{it.number}", unique=key)]))
        assert receipt.applied == 1
        assert (pushed.new, pushed.ids) in {(0, (it.name,)), (1, (f"b{it.number}",))}
        assert rig.push(f"c{it.number}", unique=key).new == 1 - pushed.new
        rig.store.purge("q")


@pytest.mark.parametrize("form", UniqueUntil)
def test_an_operators_retry_and_a_push_of_its_key(rounds: list[Round], form: UniqueUntil):
    for it in rounds:
        rig, session = it.rig, it.node()
        key = f"k{it.number}"
        rig.push(it.name, unique=key)
        rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
        retried, pushed = race(partial(rig.store.retry_failed, it.name, None),
                               partial(it.other.push, [job(f"b{it.number}", unique=key, unique_until=form,
                                                           unique_period_s=9.0)]))
        if pushed.new:
            assert isinstance(retried, Conflict)
        else:
            assert (retried, pushed.ids) == (None, (it.name,))
        assert rig.counts().ready == 1
        rig.store.purge("q")


# Limits ---------------------------------------------------------------------------------------------------------------


def test_two_pushes_share_the_depth(rounds: list[Round]):
    rig = rounds[0].rig
    rig.store.set_limits("q", QueueLimits(3, None))
    for it in rounds:
        results = race(partial(rig.store.push, [job(f"a{it.number}"), job(f"b{it.number}")]),
                       partial(it.other.push, [job(f"c{it.number}"), job(f"d{it.number}", delay_s=9.0)]))
        assert kinds(results) == ["PushReceipt", "QueueFull"]
        assert rig.counts().ready + rig.counts().delayed == 2
        rig.store.purge("q")


def test_a_push_and_new_limits(rounds: list[Round]):
    for it in rounds:
        rig = it.rig
        rig.store.set_limits("q", QueueLimits())
        pushed, _ = race(partial(rig.store.push, [job(it.name)]),
                         partial(it.other.set_limits, "q", QueueLimits(0, None)))
        assert (rig.state(it.name) is None) == isinstance(pushed, QueueFull)
        with pytest.raises(QueueFull):
            rig.push(f"b{it.number}")
        rig.store.purge("q")


def test_two_orders_of_limits(rounds: list[Round]):
    for it in rounds:
        race(partial(it.rig.store.set_limits, "q", QueueLimits(3, 1.0)),
             partial(it.other.set_limits, "q", QueueLimits(7, None)))
        counts = it.rig.counts()
        assert (counts.max_depth, counts.aging_s) in {(3, 1.0), (7, None)}, "one of them, whole"


# Terms ----------------------------------------------------------------------------------------------------------------


def test_an_adoption_and_a_term_of_the_old_cluster(rounds: list[Round]):
    from storekit import claim  # noqa: PLC0415 - beside its use

    for it in rounds:
        rig = it.rig
        old = claim(it.number + 1, f"boot-{it.number}", f"c{it.number}")
        new = claim(1, "next", f"c{it.number + 1}")
        if it.number:
            rig.store.adopt(old.cluster_id, old.backend)
        begun, _ = race(partial(rig.store.begin_term, old), partial(it.other.adopt, new.cluster_id, new.backend))
        with pytest.raises(TermRefused):
            rig.store.begin_term(old._replace(number=99))
        epoch = rig.store.begin_term(new)
        if not isinstance(begun, TermRefused):
            assert epoch.number == begun.number + 1
            with pytest.raises(StaleEpoch):
                rig.store.assign(begun, Plan())

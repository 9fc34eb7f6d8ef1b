"""Two clients at the same moment: the store decides who wins, and there is always exactly one answer."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from storekit import BOOM, WAIT_S, Rig, claim, held, ids, info, job, pools

from callboard.core.errors import Conflict, NotFound, QueueError, SessionEnded, StaleEpoch, TermRefused
from callboard.core.records import (
    Assignment,
    CancelResult,
    JobState,
    Outcome,
    OutcomeKind,
    Plan,
    QueueLimits,
    Released,
    ScheduleRow,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 20


def race(*acts: Callable[[], Any]) -> list[Any]:
    """Let each act run in a thread of its own, all from the same moment; their results, or the errors they raised."""
    barrier = threading.Barrier(len(acts), timeout=WAIT_S)
    results: list[Any] = [None] * len(acts)

    def run(place: int, act: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            results[place] = act()
        except QueueError as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place, act)) for place, act in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive(), "an act did not return"
    return results


def kinds(results: list[Any]) -> list[str]:
    """Names of the results' types, sorted."""
    return sorted(type(result).__name__ for result in results)


@pytest.fixture
def rounds(rig: Rig):
    """The rig and a second client, for each round; names with the round's number keep the rounds apart."""
    other = rig.another()
    return [(number, rig, other) for number in range(ROUNDS)]


def test_two_pushes_of_one_unique_key(rounds):
    for number, rig, other in rounds:
        key = f"k{number}"
        results = race(partial(rig.store.push, [job(f"a{number}", unique=key)]),
                       partial(other.push, [job(f"b{number}", unique=key)]))
        assert sum(receipt.new for receipt in results) == 1
        assert results[0].ids == results[1].ids
    assert rig.counts().ready == ROUNDS


def test_two_pushes_of_one_id(rounds):
    for number, rig, other in rounds:
        batch = [job(f"{number}-{part}") for part in range(5)]
        results = race(partial(rig.store.push, batch), partial(other.push, batch[::-1]))
        assert sum(receipt.new for receipt in results) == 5
    assert rig.counts().ready == 5 * ROUNDS


def test_two_takes_of_one_session(rounds):
    for number, rig, other in rounds:
        session = rig.node(f"n{number}")
        rig.push(*(f"{number}-{part}" for part in range(4)))
        rig.assign(session, 4)
        one, two = race(partial(rig.take, session), partial(other.take, session, ["q"]))
        assert sorted(ids(one + two)) == [f"{number}-{part}" for part in range(4)]


def test_take_and_the_end_of_the_session(rounds):
    for number, rig, other in rounds:
        session = rig.node(f"n{number}")
        rig.push(f"a{number}")
        rig.assign(session)
        epoch = rig.epoch
        taken, released = race(partial(rig.take, session), partial(other.end_session, epoch, session, "x"))
        if isinstance(taken, SessionEnded):
            assert released == Released(1, 0)
        else:
            assert len(taken) == 1
            assert released == Released(0, 0, doubted=1)
        assert rig.state(f"a{number}") is JobState.READY
        assert rig.record(f"a{number}").losses == released.lost
        rig.store.cancel(f"a{number}")


def test_finish_and_the_end_of_the_session(rounds):
    for number, rig, other in rounds:
        session = rig.node(f"n{number}")
        rig.push(f"a{number}")
        taken = rig.run_one(session)
        epoch = rig.epoch
        receipt, released = race(partial(rig.finish, session, taken), partial(other.end_session, epoch, session, "x"))
        if receipt.stale:
            assert (released, rig.state(taken.id)) == (Released(0, 1), JobState.READY)
            rig.store.cancel(taken.id)
        else:
            assert (released, rig.state(taken.id)) == (Released(0, 0), JobState.COMPLETED)


def test_two_ends_of_one_session(rounds):
    for number, rig, other in rounds:
        session = rig.node(f"n{number}")
        rig.push(f"a{number}")
        rig.run_one(session)
        epoch = rig.epoch
        one, two = race(partial(rig.store.close_session, session), partial(other.end_session, epoch, session, "x"))
        assert one.lost + two.lost == 1
        assert rig.record(f"a{number}").losses == 1
        rig.store.cancel(f"a{number}")


def test_the_same_finish_from_two_threads(rounds):
    for number, rig, other in rounds:
        session = rig.node(f"n{number}")
        rig.push(f"a{number}")
        outcome = Outcome(held(rig.run_one(session)), OutcomeKind.FAILED, 0.0, BOOM)
        results = race(partial(rig.store.finish, session, [outcome]), partial(other.finish, session, [outcome]))
        assert [(receipt.applied, receipt.stale) for receipt in results] == [(1, ())] * 2
        assert rig.record(f"a{number}").attempts == 1
    assert rig.counts().failed == ROUNDS


def test_two_leaders_of_one_term(rounds):
    for number, rig, other in rounds:
        results = race(partial(rig.store.begin_term, claim(number + 1, "boot-1")),
                       partial(other.begin_term, claim(number + 1, "boot-2")))
        assert kinds(results) == ["Epoch", "TermRefused"]
        (won,) = [result for result in results if not isinstance(result, TermRefused)]
        assert (rig.store.fence().epoch, rig.store.fence().owner) == won
        assert won.number == number + 1


def test_assign_and_a_new_term(rounds):
    for number, rig, other in rounds:
        session = rig.node(f"n{number}")
        rig.push(f"a{number}")
        old = rig.epoch
        plan = Plan((Assignment(session, "q", "q", 1),))
        receipt, _ = race(partial(rig.store.assign, old, plan), partial(other.begin_term, claim(number + 2, "next")))
        seen = rig.record(f"a{number}")
        if isinstance(receipt, StaleEpoch):
            assert (seen.state, seen.token) == (JobState.READY, None)
        else:
            assert (seen.state, seen.token.epoch) == (JobState.ASSIGNED, old.number)
        with pytest.raises(StaleEpoch):
            rig.store.assign(old, plan)
        rig.depose(number + 2, "next")
        rig.store.cancel(f"a{number}")


def test_a_deposed_leader_changes_nothing_once_the_new_term_has_begun(rounds):
    for number, rig, other in rounds:
        session = rig.node(f"n{number}")
        rig.push(f"a{number}")
        plan, old = Plan((Assignment(session, "q", "q", 1),)), rig.epoch

        def begin(number=number, other=other):
            other.begin_term(claim(number + 2, "next"))
            return other.job(f"a{number}")

        seen, _ = race(begin, partial(rig.store.assign, old, plan))
        assert rig.record(f"a{number}") == seen
        rig.depose(number + 2, "next")
        rig.store.cancel(f"a{number}")


def test_two_assigns_share_the_capacity(rounds):
    for number, rig, other in rounds:
        session = rig.node(f"n{number}", capacity=3)
        rig.push(*(f"{number}-{part}" for part in range(6)))
        plan, epoch = Plan((Assignment(session, "q", "q", 2),)), rig.epoch
        results = race(partial(rig.store.assign, epoch, plan), partial(other.assign, epoch, plan))
        assert sum(receipt.assigned.get(session, 0) for receipt in results) == 3
        tokens = [one.token for one in rig.take(session)]
        assert len(set(tokens)) == 3
        rig.store.purge("q")


def test_two_firings_of_one_tick(rounds):
    for number, rig, other in rounds:
        rig.store.put_schedule(ScheduleRow(f"s{number}", "* * * * *", "UTC", "skip", 1.0, job("t"), 1_000))
        epoch = rig.epoch
        results = race(
            partial(rig.store.fire_tick, epoch, f"s{number}", 1_000, 2_000, [job(f"a{number}")]),
            partial(other.fire_tick, epoch, f"s{number}", 1_000, 2_000, [job(f"b{number}")]))
        assert sorted(results) == [False, True]
    assert rig.counts().ready == ROUNDS


def test_two_operators_retry_one_job(rounds):
    for number, rig, other in rounds:
        session = rig.node(f"n{number}")
        rig.push(f"a{number}")
        taken = rig.run_one(session)
        rig.succeed(session, taken, OutcomeKind.FAILED, error=BOOM)
        results = race(partial(rig.store.retry_failed, taken.id, taken.token),
                       partial(other.retry_failed, taken.id, taken.token))
        assert kinds(results) == ["NoneType", "NotFound"]
        rig.store.cancel(taken.id)


def test_an_operators_retry_and_a_push_of_the_same_unique_key(rounds):
    for number, rig, other in rounds:
        session = rig.node(f"n{number}")
        rig.push(f"a{number}", unique="k")
        rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
        retried, pushed = race(partial(rig.store.retry_failed, f"a{number}", None),
                               partial(other.push, [job(f"b{number}", unique="k")]))
        if pushed.new:
            assert isinstance(retried, Conflict)
        else:
            assert (retried, pushed.ids) == (None, (f"a{number}",))
        assert rig.counts().ready == 1
        rig.store.purge("q")


def test_cancel_and_take(rounds):
    for number, rig, other in rounds:
        session = rig.node(f"n{number}")
        rig.push(f"a{number}")
        rig.assign(session)
        taken, cancelled = race(partial(rig.take, session), partial(other.cancel, f"a{number}"))
        assert (len(taken), cancelled) in {(0, CancelResult.CANCELLED), (1, CancelResult.REQUESTED)}
        if taken:
            rig.succeed(session, taken[0], OutcomeKind.CANCELLED)


def test_two_lives_of_one_node(rounds):
    for number, rig, other in rounds:
        results = race(partial(rig.store.open_session, info(f"n{number}", "life-1"), 5.0, pools("q")),
                       partial(other.open_session, info(f"n{number}", "life-2"), 5.0, pools("q")))
        assert kinds(results) == ["Conflict", "int"]
    assert len(rig.store.sessions()) == ROUNDS


def test_forget_and_retry_of_one_job(rounds):
    for number, rig, other in rounds:
        session = rig.node(f"n{number}")
        rig.push(f"a{number}")
        rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
        forgotten, retried = race(partial(rig.store.forget_failed, [f"a{number}"]),
                                  partial(other.retry_failed, f"a{number}", None))
        if forgotten:
            assert isinstance(retried, NotFound)
            assert rig.state(f"a{number}") is None
        else:
            assert rig.state(f"a{number}") is JobState.READY
            rig.store.cancel(f"a{number}")


def test_pushes_into_a_limited_queue_do_not_exceed_it_together(rounds):
    for number, rig, other in rounds:
        queue = f"limited-{number}"
        rig.store.set_limits(queue, QueueLimits(max_depth=3))
        results = race(partial(rig.store.push, [job(f"a{number}-{part}", queue) for part in range(2)]),
                       partial(other.push, [job(f"b{number}-{part}", queue) for part in range(2)]))
        assert kinds(results) == ["PushReceipt", "QueueFull"]
        assert rig.counts(queue).ready == 2

"""Bells: hints that wake who waits; a leader that found nothing is rung once, by the first job that it could use."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from storekit import BOOM, WAIT_S, Rig, pools

from callboard.core.records import Assignment, Desired, OutcomeKind, Plan

if TYPE_CHECKING:
    from callboard.core.ports import JobStore


class Ear:
    """Listens to a topic of a store."""

    def __init__(self, store: JobStore, topic: str) -> None:
        self._rung = threading.Semaphore(0)
        self.store = store
        self.thread: threading.Thread | None = None
        self.bell = store.listen(topic, self._hear)

    def _hear(self) -> None:
        self.thread = threading.current_thread()
        self._rung.release()

    def hears(self) -> bool:
        """Whether it is rung before the deadline."""
        return self._rung.acquire(timeout=WAIT_S)

    def heard(self) -> bool:
        """Whether it was rung since it was last asked."""
        return self._rung.acquire(blocking=False)


# Ringing and listening ------------------------------------------------------------------------------------------------


def test_who_listens_hears_of_another_client(rig: Rig):
    ear = Ear(rig.store, "leader")
    rig.another().ring("leader")
    assert ear.hears()
    assert ear.thread is not threading.current_thread()


def test_who_listens_hears_of_the_same_client(rig: Rig):
    ear = Ear(rig.store, "nodes")
    rig.store.ring("nodes")
    assert ear.hears()


def test_topics_are_apart(rig: Rig):
    one, two, other = Ear(rig.store, "session-1"), Ear(rig.another(), "session-2"), Ear(rig.store, "session-3")
    rig.store.ring("session-2")
    assert two.hears()
    rig.store.ring("session-1")
    assert one.hears()
    assert not other.heard(), "nobody rang for it"


def test_several_listeners_hear_one_ring(rig: Rig):
    ears = [Ear(rig.store, "leader"), Ear(rig.store, "leader"), Ear(rig.another(), "leader")]
    rig.store.ring("leader")
    assert all(ear.hears() for ear in ears)


def test_a_closed_bell_is_silent(rig: Rig):
    silent, ear = Ear(rig.store, "leader"), Ear(rig.store, "leader")
    silent.bell.close()
    silent.bell.close()
    rig.store.ring("leader")
    assert ear.hears()
    assert not silent.heard()


def test_a_callback_may_use_the_store(rig: Rig):
    heard = threading.Event()

    def callback() -> None:
        rig.store.counts()
        rig.store.ring("nodes")
        heard.set()

    ear = Ear(rig.store, "nodes")
    rig.store.listen("leader", callback)
    rig.store.ring("leader")
    assert heard.wait(WAIT_S)
    assert ear.hears()


def test_a_ring_during_a_callback_is_not_lost(rig: Rig):
    entered, go_on = threading.Semaphore(0), threading.Event()

    def callback() -> None:
        entered.release()
        go_on.wait(WAIT_S)

    rig.store.listen("leader", callback)
    rig.store.ring("leader")
    assert entered.acquire(timeout=WAIT_S)
    rig.store.ring("leader")
    go_on.set()
    assert entered.acquire(timeout=WAIT_S)


def test_a_callback_that_raises_does_not_silence_the_others(rig: Rig):
    def callback() -> None:
        raise ValueError("planted")

    rig.store.listen("leader", callback)
    ear = Ear(rig.store, "leader")
    for _ in range(3):
        rig.store.ring("leader")
        assert ear.hears()


def test_ringing_never_raises(rig: Rig):
    rig.store.ring("nobody listens")
    rig.store.close()
    rig.store.ring("leader")
    rig.store.close()


# The leader waits -----------------------------------------------------------------------------------------------------


def test_a_push_rings_only_after_an_assign_found_nothing(rig: Rig):
    ear = Ear(rig.store, "leader")
    assert rig.look().idle is True
    assert rig.another().push([]).rang is False
    assert rig.push("a").rang is True
    assert ear.hears()
    assert rig.push("b").rang is False, "it is awake"
    assert rig.look().idle is False, "there are jobs"


def test_a_push_of_a_known_job_rings_nobody(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.succeed(session, rig.run_one(session))
    rig.look()
    assert rig.push("a").rang is False
    assert rig.push("b").rang is True


def test_an_assignment_that_found_nothing_waits_as_an_empty_plan_does(rig: Rig):
    session = rig.node()
    assert rig.assign(session).idle is True
    assert rig.push("a").rang is True


def test_an_assignment_that_found_something_does_not_wait(rig: Rig):
    session = rig.node()
    rig.look()
    rig.push("a")
    assert rig.assign(session).idle is False
    assert rig.push("b").rang is False


def test_a_backlog_rings_nobody_and_silences_no_other_queue(rig: Rig):
    rig.push("a")
    assert rig.look().idle is False
    assert rig.push("b").rang is False, "the leader saw jobs of this queue: it lacks room, not jobs"
    assert rig.push("c", queue="other").rang is True


def test_jobs_that_came_while_the_leader_looked_ring_at_once(rig: Rig):
    rig.store.survey(rig.epoch, 10)
    ear = Ear(rig.store, "leader")
    assert rig.push("a").rang is False
    assert rig.store.assign(rig.epoch, Plan()).idle is False
    assert ear.hears()


def test_a_job_that_must_wait_rings_nobody(rig: Rig):
    rig.store.set_paused("paused", paused=True)
    rig.look()
    assert rig.push("a", delay_s=60.0).rang is False
    assert rig.push("b", queue="paused").rang is False
    assert rig.push("c").rang is True


def test_a_paused_backlog_is_idle(rig: Rig):
    rig.push("a")
    rig.store.set_paused("q", paused=True)
    assert rig.look().idle is True


@pytest.mark.parametrize("how", ["finish", "hand back", "close", "cancel", "resume", "capacity", "retry"])
def test_who_makes_room_or_work_rings_a_leader_that_waits(rig: Rig, how: str):
    session = rig.node(capacity=1)
    rig.push("a")
    taken = rig.run_one(session)
    if how == "retry":
        rig.succeed(session, taken, OutcomeKind.FAILED, error=BOOM)
    else:
        rig.push("b")
    if how == "cancel":
        rig.succeed(session, taken, OutcomeKind.HANDED_BACK)
        rig.assign(session)
    if how == "resume":
        rig.store.set_paused("q", paused=True)
    rig.look()
    ear = Ear(rig.store, "leader")
    other = rig.another()
    acts = {
        "finish": lambda: rig.succeed(session, taken),
        "hand back": lambda: rig.succeed(session, taken, OutcomeKind.HANDED_BACK),
        "close": lambda: other.close_session(session),
        "cancel": lambda: other.cancel("a"),
        "resume": lambda: other.set_paused("q", paused=False),
        "capacity": lambda: other.report(session, pools("q", capacity=2)),
        "retry": lambda: other.retry_failed("a", None),
    }
    acts[how]()
    assert ear.hears()


# Nodes --------------------------------------------------------------------------------------------------------------


def test_assigning_rings_the_session(rig: Rig):
    rig.push("a")
    session = rig.node()
    ear = Ear(rig.another(), f"session-{session}")
    rig.assign(session)
    assert ear.hears()


def test_the_leaders_own_session_is_not_rung_for_what_it_took(rig: Rig):
    rig.push("a", "b")
    mine, other = rig.node("n1", capacity=1), rig.node("n2", capacity=1)
    own, others = Ear(rig.store, f"session-{mine}"), Ear(rig.store, f"session-{other}")
    rig.store.assign(rig.epoch, Plan((Assignment(mine, "q", "q", 1), Assignment(other, "q", "q", 1))), mine)
    assert others.hears()
    assert not own.heard()


def test_asking_a_job_to_stop_rings_its_session(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.run_one(session)
    ear = Ear(rig.store, f"session-{session}")
    rig.another().cancel("a")
    assert ear.hears()


def test_orders_ring_the_nodes(rig: Rig):
    ear = Ear(rig.store, "nodes")
    rig.another().set_desired(Desired("q", "*", 3))
    assert ear.hears()
    rig.another().set_draining("n1", draining=True)
    assert ear.hears()

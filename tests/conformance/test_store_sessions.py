"""Sessions: one life of a node; ending one releases its rows in the same act."""

from __future__ import annotations

import pytest
from storekit import BOOM, Rig, info, pools

from callboard.core.errors import Conflict, SessionEnded
from callboard.core.records import Desired, JobState, OutcomeKind, Released, SessionId


def test_a_session_is_shown_while_it_lives(rig: Rig):
    session = rig.node("n1", "a", "b", capacity=4)
    (view,) = rig.store.sessions()
    assert (view.session, view.info, view.counter, view.ttl_s, view.held) == (session, info("n1"), 0, 5.0, 0)
    assert tuple(pool.report for pool in view.pools) == pools("a", "b", capacity=4)
    rig.end(session)
    assert rig.store.sessions() == ()


def test_the_same_life_again_is_the_same_session(rig: Rig):
    rig.push("a")
    session = rig.node("n1", capacity=2)
    rig.assign(session)
    assert rig.store.open_session(info("n1"), 5.0, pools("q", capacity=3)) == session
    (view,) = rig.store.sessions()
    assert (view.held, view.pools[0].report.capacity) == (1, 3)


def test_another_life_of_the_same_name_is_refused_while_the_first_lives(rig: Rig):
    session = rig.node("n1")
    with pytest.raises(Conflict, match="n1"):
        rig.node("n1", boot_id="another")
    rig.end(session)
    assert rig.node("n1", boot_id="another") > session


def test_after_its_end_the_same_life_gets_a_new_session(rig: Rig):
    session = rig.node("n1")
    rig.end(session)
    again = rig.node("n1")
    assert again > session
    with pytest.raises(SessionEnded):
        rig.store.beat(session, pools("q"))


def test_sessions_of_several_nodes_are_different(rig: Rig):
    numbers = [rig.node(f"n{number}") for number in range(5)]
    assert sorted(set(numbers)) == numbers
    assert len(rig.store.sessions()) == 5


# Heartbeats -----------------------------------------------------------------------------------------------------------


def test_a_beat_moves_the_counter_and_replaces_the_pools(rig: Rig):
    session = rig.node()
    other = rig.node("n2")
    rig.store.beat(session, pools("q", capacity=7))
    rig.store.beat(session, pools("x", "y"))
    views = {view.session: view for view in rig.store.sessions()}
    assert (views[session].counter, views[other].counter) == (2, 0)
    assert tuple(pool.report for pool in views[session].pools) == pools("x", "y")


def test_a_report_replaces_the_pools_and_moves_no_counter(rig: Rig):
    session = rig.node()
    rig.store.report(session, pools("q", capacity=7))
    (view,) = rig.store.sessions()
    assert (view.counter, view.pools[0].report.capacity) == (0, 7)


def test_a_beat_tells_what_waits(rig: Rig):
    rig.push("a", "b")
    session = rig.node()
    rig.assign(session, 2)
    assert rig.store.beat(session, pools("q")).waiting == 2
    rig.take(session)
    assert rig.store.beat(session, pools("q")).waiting == 0


def test_a_beat_tells_which_jobs_to_stop(rig: Rig):
    rig.push("a", "b")
    session, other = rig.node("n1"), rig.node("n2")
    one, _ = rig.run(session, 2)
    rig.store.cancel("a")
    assert rig.store.beat(session, pools("q")).cancels == ((one.id, one.token),)
    assert rig.store.beat(session, pools("q")).cancels == ((one.id, one.token),), "until it is done"
    assert rig.store.beat(other, pools("q")).cancels == ()
    rig.finish(session, one, OutcomeKind.CANCELLED)
    assert rig.store.beat(session, pools("q")).cancels == ()


def test_a_cancel_is_for_one_run(rig: Rig):
    rig.push("a", has_failed_hook=True)
    session = rig.node()
    taken = rig.run_one(session)
    rig.store.cancel("a")
    rig.succeed(session, taken, OutcomeKind.FAILED, error=BOOM)
    rig.run_one(session)  # its failed()
    assert rig.store.beat(session, pools("q")).cancels == ()


def test_a_beat_tells_what_is_desired_of_this_node(rig: Rig):
    session = rig.node("n1", "a", "b")
    for desired in (Desired("a", "n1", 3), Desired("b", "*", 5), Desired("a", "n2", 7), Desired("c", "*", 9)):
        rig.store.set_desired(desired)
    reply = rig.store.beat(session, pools("a", "b"))
    assert set(reply.desired) == {Desired("a", "n1", 3), Desired("b", "*", 5)}
    rig.store.set_desired(Desired("a", "n1", 4))
    assert Desired("a", "n1", 4) in rig.store.beat(session, pools("a")).desired
    late = rig.node("n3", "b")
    assert rig.store.beat(late, pools("b")).desired == (Desired("b", "*", 5),)


def test_an_order_for_all_nodes_replaces_those_for_single_ones(rig: Rig):
    session = rig.node("n1", "a")
    for desired in (Desired("a", "n1", 3), Desired("b", "n1", 4), Desired("a", "*", 5)):
        rig.store.set_desired(desired)
    assert rig.store.beat(session, pools("a")).desired == (Desired("a", "*", 5),)
    rig.store.set_desired(Desired("a", "n1", 6))
    assert set(rig.store.beat(session, pools("a")).desired) == {Desired("a", "n1", 6), Desired("a", "*", 5)}


def test_a_beat_tells_of_draining_in_every_life_of_the_node(rig: Rig):
    session = rig.node("n1")
    assert rig.store.beat(session, pools("q")).draining is False
    rig.store.set_draining("n1", draining=True)
    rig.store.set_draining("n1", draining=True)
    assert rig.store.beat(session, pools("q")).draining is True
    rig.end(session)
    session = rig.node("n1", boot_id="next")
    assert rig.store.beat(session, pools("q")).draining is True
    rig.store.set_draining("n1", draining=False)
    assert rig.store.beat(session, pools("q")).draining is False


@pytest.mark.parametrize("how", ["ended", "closed", "never"])
def test_an_ended_session_is_told_so(rig: Rig, how: str):
    session = rig.node()
    if how == "ended":
        rig.end(session)
    elif how == "closed":
        rig.store.close_session(session)
    else:
        session = SessionId(4711)
    with pytest.raises(SessionEnded):
        rig.store.beat(session, pools("q"))
    with pytest.raises(SessionEnded):
        rig.store.report(session, pools("q"))


# The end --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False], ids=["its own", "by the leader"])
def test_an_end_releases_rows_in_the_same_act(rig: Rig, own: bool):  # noqa: FBT001 - a parameter of the test
    rig.push("a", "b", "c", "d")
    session, other = rig.node("n1"), rig.node("n2")
    rig.run(session, 2)
    rig.assign(session, 1)
    rig.assign(other, 1)
    released = rig.store.close_session(session) if own else rig.end(session)
    assert released == Released(handed_back=1, lost=2)
    assert [rig.state(one) for one in "abcd"] == [JobState.READY] * 3 + [JobState.ASSIGNED]
    assert [rig.record(one).losses for one in "abc"] == [1, 1, 0], "what never started costs nothing"
    assert [rig.record(one).attempts for one in "abc"] == [0, 0, 0]
    assert [view.held for view in rig.store.sessions()] == [1]


def test_an_end_twice_releases_nothing_twice(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.run_one(session)
    assert rig.end(session) == Released(0, 1)
    before = rig.record("a"), rig.store.counts()
    assert rig.end(session) == Released(0, 0)
    assert rig.store.close_session(session) == Released(0, 0)
    assert rig.end(SessionId(4711)) == Released(0, 0)
    assert (rig.record("a"), rig.store.counts()) == before


def test_an_end_that_names_a_counter_spares_a_session_that_beat_since(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.run_one(session)
    (view,) = rig.store.sessions()
    rig.store.beat(session, pools("q"))
    released = rig.store.end_session(rig.epoch, session, "stood still", view.counter)
    assert (released, rig.state("a")) == (Released(0, 0, ended=False), JobState.RUNNING)
    (view,) = rig.store.sessions()
    assert rig.store.end_session(rig.epoch, session, "stood still", view.counter) == Released(0, 1)
    assert rig.store.end_session(rig.epoch, session, "stood still", view.counter) == Released(0, 0)


def test_opening_the_same_life_again_moves_the_counter(rig: Rig):
    rig.node("n1")
    (before,) = rig.store.sessions()
    rig.node("n1")
    (after,) = rig.store.sessions()
    assert (after.session, after.counter > before.counter) == (before.session, True)


def test_an_end_of_the_old_session_leaves_the_new_one_alone(rig: Rig):
    rig.push("a")
    old = rig.node("n1")
    rig.end(old)
    new = rig.node("n1")
    rig.run_one(new)
    assert rig.end(old) == Released(0, 0)
    assert rig.state("a") is JobState.RUNNING


def test_what_was_released_runs_elsewhere(rig: Rig):
    rig.push("a")
    old, new = rig.node("n1"), rig.node("n2")
    first = rig.run_one(old)
    rig.end(old)
    second = rig.run_one(new)
    assert second.token > first.token
    rig.succeed(new, second)
    assert rig.record("a").attempts == 1


def test_sessions_end_in_any_term(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.run_one(session)
    rig.depose()
    assert rig.end(session) == Released(0, 1)

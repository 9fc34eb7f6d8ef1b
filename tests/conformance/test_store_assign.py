"""Assigning: never more than a pool may hold, never to whom must not get anything; survey: what the leader sees."""

from __future__ import annotations

import pytest
from storekit import Rig, ids, info, pools

from callboard.core.records import (
    Assignment,
    AssignReceipt,
    JobState,
    OutcomeKind,
    Plan,
    PoolReport,
    QueueShare,
    SessionId,
)


def test_assign_moves_a_job_to_the_session(rig: Rig):
    rig.push("a", "b")
    session = rig.node()
    assert rig.assign(session) == AssignReceipt({session: 1})
    seen = rig.record("a")
    assert (seen.state, seen.node) == (JobState.ASSIGNED, "n1")
    assert seen.token is not None
    assert seen.token.epoch == rig.epoch.number
    assert (rig.counts().assigned, rig.counts().ready) == (1, 1)


def test_each_token_is_higher_than_any_before(rig: Rig):
    rig.push("a", "b", "c")
    session = rig.node()
    tokens = [taken.token for taken in rig.run(session, 2)]
    rig.depose()
    tokens.append(rig.run_one(session).token)
    assert tokens == sorted(set(tokens))
    assert len({token.seq for token in tokens}) == 3


def test_capacity_is_never_exceeded(rig: Rig):
    rig.push(*"abcdefgh")
    session = rig.node(capacity=3)
    assert rig.assign(session, 2).assigned == {session: 2}
    assert rig.assign(session, 5).assigned == {session: 1}
    assert rig.assign(session, 5).assigned == {}
    taken = rig.take(session)
    assert rig.assign(session, 5).assigned == {}, "running rows are held as well"
    rig.succeed(session, taken[0])
    assert rig.assign(session, 5).assigned == {session: 1}


def test_capacity_holds_within_one_plan(rig: Rig):
    rig.push(*"abcdef")
    session = rig.node(capacity=3)
    plan = Plan((Assignment(session, "q", "q", 2), Assignment(session, "q", "q", 2)))
    assert rig.store.assign(rig.epoch, plan).assigned == {session: 3}


def test_a_pool_of_two_queues_has_one_capacity(rig: Rig):
    rig.push("a1", "a2", queue="a")
    rig.push("b1", "b2", queue="b")
    report = PoolReport("a", (QueueShare("a", 2), QueueShare("b")), 3, 3)
    session = rig.store.open_session(info("n1"), 5.0, (report,))
    assert rig.assign(session, 2, "a", "a").assigned == {session: 2}
    assert rig.assign(session, 2, "b", "a").assigned == {session: 1}
    (view,) = rig.store.sessions()
    assert view.pools[0].held == 3
    assert view.pools[0].held_by_queue == {"a": 2, "b": 1}


def test_two_pools_of_a_node_do_not_share_capacity(rig: Rig):
    rig.push("a1", "a2", queue="a")
    rig.push("b1", "b2", queue="b")
    session = rig.node("n1", "a", "b", capacity=1)
    plan = Plan((Assignment(session, "a", "a", 2), Assignment(session, "b", "b", 2)))
    assert rig.store.assign(rig.epoch, plan).assigned == {session: 2}


def test_one_plan_serves_several_sessions(rig: Rig):
    rig.push(*"abcde")
    one, two = rig.node("n1", capacity=2), rig.node("n2", capacity=2)
    plan = Plan((Assignment(one, "q", "q", 2), Assignment(two, "q", "q", 2)))
    assert rig.store.assign(rig.epoch, plan).assigned == {one: 2, two: 2}
    assert not {*ids(rig.take(one))} & {*ids(rig.take(two))}


def test_no_capacity_no_job(rig: Rig):
    rig.push("a")
    session = rig.node(capacity=0)
    assert rig.assign(session).assigned == {}
    rig.store.report(session, pools("q", capacity=1))
    assert rig.assign(session).assigned == {session: 1}


def refused(rig: Rig, session: SessionId, queue: str = "q", pool: str | None = None) -> None:
    """Nothing is assigned, and nothing is changed."""
    before = rig.store.counts()
    assert rig.assign(session, 5, queue, pool).assigned == {}
    assert rig.store.counts() == before


def test_an_ended_session_gets_nothing(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.end(session)
    refused(rig, session)


def test_a_closed_session_gets_nothing(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.store.close_session(session)
    refused(rig, session)


def test_a_session_that_never_was_gets_nothing(rig: Rig):
    rig.push("a")
    refused(rig, SessionId(4711))


def test_a_draining_node_gets_nothing(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.store.set_draining("n1", draining=True)
    refused(rig, session)
    rig.store.set_draining("n1", draining=False)
    assert rig.assign(session).assigned == {session: 1}


def test_a_paused_queue_gives_nothing(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.store.set_paused("q", paused=True)
    refused(rig, session)
    rig.store.set_paused("q", paused=False)
    assert rig.assign(session).assigned == {session: 1}


def test_a_pool_gets_jobs_of_its_queues_only(rig: Rig):
    rig.push("a", queue="other")
    session = rig.node("n1", "q")
    refused(rig, session, "other", "q")
    refused(rig, session, "other", "other")


def test_delayed_and_ended_jobs_are_not_assigned(rig: Rig):
    rig.push("a", delay_s=1.0)
    rig.push("b")
    rig.store.cancel("b")
    rig.clock.advance(60.0)
    refused(rig, rig.node())


def test_assign_and_take_in_one_call(rig: Rig):
    rig.push("a", "b", "c")
    mine, other = rig.node("n1", capacity=1), rig.node("n2", capacity=1)
    plan = Plan((Assignment(other, "q", "q", 1), Assignment(mine, "q", "q", 1)))
    receipt = rig.store.assign(rig.epoch, plan, mine)
    assert receipt.assigned == {mine: 1, other: 1}
    assert ids(receipt.taken) == ["b"]
    assert rig.state("a") is JobState.ASSIGNED
    assert rig.state("b") is JobState.RUNNING
    assert rig.take(mine) == ()
    rig.succeed(mine, receipt.taken[0])


def test_assign_and_take_for_an_ended_session_takes_nothing(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.end(session)
    receipt = rig.store.assign(rig.epoch, Plan((Assignment(session, "q", "q", 1),)), session)
    assert (receipt.assigned, receipt.taken) == ({}, ())
    assert rig.state("a") is JobState.READY


# What the leader sees -------------------------------------------------------------------------------------------------


def test_survey_counts_ready_jobs_up_to_the_limit(rig: Rig):
    rig.push(*"abc")
    rig.push("d", queue="other")
    rig.push("e", queue="paused")
    rig.push("f", queue="late", delay_s=9.0)
    rig.store.set_paused("paused", paused=True)
    assert rig.store.survey(rig.epoch, 100).ready == {"q": 3, "other": 1}
    assert rig.store.survey(rig.epoch, 2).ready == {"q": 2, "other": 1}


def test_survey_forgets_a_queue_that_is_empty(rig: Rig):
    rig.push("a")
    rig.assign(rig.node())
    assert rig.store.survey(rig.epoch, 100).ready == {}


def test_survey_shows_what_sessions_hold(rig: Rig):
    rig.push("a", "b", "c")
    session = rig.node(capacity=5)
    rig.assign(session, 2)
    (view,) = rig.store.survey(rig.epoch, 100).sessions
    assert (view.session, view.info, view.ttl_s, view.counter) == (session, info("n1"), 5.0, 0)
    assert [pool.report for pool in view.pools] == list(pools("q", capacity=5))
    assert (view.held, view.pools[0].held_by_queue) == (2, {"q": 2})
    assert (view.draining, view.isolating) == (False, False)
    one, _ = rig.take(session)
    assert rig.store.survey(rig.epoch, 100).sessions[0].held == 2
    rig.succeed(session, one)
    assert rig.store.survey(rig.epoch, 100).sessions[0].held == 1
    assert rig.store.sessions() == rig.store.survey(rig.epoch, 100).sessions


@pytest.mark.parametrize("how", ["finish", "hand back", "pause", "purge", "cancel"])
def test_every_way_out_frees_the_slot(rig: Rig, how: str):
    rig.push("a")
    session = rig.node(capacity=1)
    rig.assign(session)
    if how == "finish":
        rig.succeed(session, rig.take(session)[0])
    elif how == "hand back":
        rig.succeed(session, rig.take(session)[0], OutcomeKind.HANDED_BACK)
    elif how == "pause":
        rig.store.set_paused("q", paused=True)
    elif how == "purge":
        assert rig.store.purge("q") == 1
    else:
        rig.store.cancel("a")
    (view,) = rig.store.sessions()
    assert view.held == 0
    rig.push("b", queue="q")
    rig.store.set_paused("q", paused=False)
    assert rig.assign(session).assigned == {session: 1}


def test_a_draining_node_is_shown_as_such(rig: Rig):
    rig.node("n1")
    rig.node("n2")
    rig.store.set_draining("n1", draining=True)
    shown = {view.info.node: view.draining for view in rig.store.survey(rig.epoch, 10).sessions}
    assert shown == {"n1": True, "n2": False}

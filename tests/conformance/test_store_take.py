"""Taking: a node's own assigned rows, in one act; a lost reply heals itself."""

from __future__ import annotations

import pytest
from storekit import Rig, held, ids

from callboard.core.errors import SessionEnded
from callboard.core.records import JobState, OutcomeKind, SessionId


def test_take_moves_what_is_assigned(rig: Rig):
    rig.push("a", "b", "c")
    session = rig.node()
    rig.assign(session, 2)
    taken = rig.take(session)
    assert ids(taken) == ["a", "b"]
    assert [rig.record(one.id).token for one in taken] == [one.token for one in taken]
    assert (rig.state("a"), rig.state("c")) == (JobState.RUNNING, JobState.READY)
    assert (rig.counts().running, rig.counts().assigned) == (2, 0)
    assert rig.take(session) == ()


def test_take_of_one_queue_leaves_the_others(rig: Rig):
    rig.push("a", queue="a")
    rig.push("b", queue="b")
    session = rig.node("n1", "a", "b")
    rig.assign(session, 1, "a")
    rig.assign(session, 1, "b")
    assert ids(rig.take(session, "b")) == ["b"]
    assert rig.state("a") is JobState.ASSIGNED
    assert rig.store.take(session, []) == ()
    assert ids(rig.take(session, "a", "b", "c")) == ["a"]


def test_take_gets_nothing_of_another_session(rig: Rig):
    rig.push("a")
    one, two = rig.node("n1"), rig.node("n2")
    rig.assign(one)
    assert rig.take(two, holding=()) == ()
    assert ids(rig.take(one)) == ["a"]


def test_a_lost_reply_heals_itself(rig: Rig):
    rig.push("a", "b", "c")
    session = rig.node()
    first = rig.run_one(session)
    rig.assign(session, 1)
    lost = rig.take(session)  # the reply never came: the node knows of `first` only
    rig.assign(session, 1)
    again = rig.take(session, holding=(held(first),))
    assert sorted(ids(again)) == ["b", "c"]
    assert [one for one in again if one.id == "b"] == list(lost), "the same token: it is the same run"
    assert rig.take(session, holding=tuple(map(held, (first, *again)))) == ()


def test_without_holding_nothing_is_returned_twice(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.run_one(session)
    assert rig.take(session) == ()
    assert ids(rig.take(session, holding=())) == ["a"]


def test_holding_an_older_token_of_a_job_is_not_holding_it(rig: Rig):
    rig.push("a")
    session = rig.node()
    old = rig.run_one(session)
    rig.succeed(session, old, OutcomeKind.HANDED_BACK)
    new = rig.run_one(session)
    assert [one.token for one in rig.take(session, holding=(held(old),))] == [new.token]


def test_healing_keeps_to_the_queues_asked_for(rig: Rig):
    rig.push("a", queue="a")
    rig.push("b", queue="b")
    session = rig.node("n1", "a", "b")
    rig.run_one(session, "a")
    rig.run_one(session, "b")
    assert ids(rig.take(session, "b", holding=())) == ["b"]


@pytest.mark.parametrize("how", ["ended", "closed", "never"])
def test_an_ended_session_takes_nothing(rig: Rig, how: str):
    rig.push("a")
    session = rig.node()
    rig.assign(session)
    if how == "ended":
        rig.end(session)
    elif how == "closed":
        rig.store.close_session(session)
    else:
        session = SessionId(4711)
    before = rig.store.counts()
    with pytest.raises(SessionEnded):
        rig.take(session)
    with pytest.raises(SessionEnded):
        rig.take(session, holding=())
    assert rig.store.counts() == before


def test_a_withdrawn_job_is_not_taken(rig: Rig):
    rig.push("a", "b", "c")
    session = rig.node()
    rig.assign(session, 3)
    rig.store.cancel("a")
    assert ids(rig.take(session)) == ["b", "c"]
    rig.push("d")
    rig.assign(session, 1)
    rig.store.set_paused("q", paused=True)
    assert rig.take(session) == ()
    assert rig.state("d") is JobState.READY


def test_a_draining_node_takes_what_it_was_given(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.assign(session)
    rig.store.set_draining("n1", draining=True)
    assert ids(rig.take(session)) == ["a"]


def test_attempt_and_losses_are_told(rig: Rig):
    rig.push("a")
    rig.lose("a", 1)
    session = rig.node()
    first = rig.run_one(session)
    assert (first.attempt, first.losses) == (1, 1)
    rig.succeed(session, first, OutcomeKind.RETRY)
    second = rig.run_one(session)
    assert (second.attempt, second.losses) == (2, 1)
    rig.succeed(session, second, OutcomeKind.SNOOZED)
    assert rig.run_one(session).attempt == 2, "snoozing costs nothing"

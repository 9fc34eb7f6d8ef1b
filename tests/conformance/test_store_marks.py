"""Start marks: what has begun is charged when its node is lost; what has not is not."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from storekit import BOOM, Rig, held, ids

from callboard.core.records import (
    Assignment,
    CancelResult,
    Held,
    JobState,
    OutcomeKind,
    Plan,
    Released,
    SessionId,
    Token,
)


def mark(rig: Rig, session: SessionId, *jobs) -> tuple[Held, ...]:
    """Mark these; those that were refused."""
    return rig.store.mark_started(session, [held(one) for one in jobs])


def release(rig: Rig, session: SessionId, how: str) -> Released:
    """End a session."""
    return rig.store.close_session(session) if how == "its own" else rig.end(session)


HOW = pytest.mark.parametrize("how", ["its own", "by the leader"])


# Marking --------------------------------------------------------------------------------------------------------------


def test_a_mark_is_an_instant_and_the_first_one_stays(rig: Rig):
    rig.push("a")
    session = rig.node()
    taken = rig.get_one(session)
    assert rig.record("a").started_ms is None
    rig.clock.advance(0.25)
    began_ms = rig.store.store_now_ms()
    assert mark(rig, session, taken) == ()
    assert rig.record("a").started_ms == began_ms
    rig.clock.advance(1.0)
    assert mark(rig, session, taken) == (), "sent again, for the reply was lost"
    assert mark(rig, session, taken, taken) == ()
    assert rig.record("a").started_ms == began_ms


def test_a_mark_changes_nothing_else(rig: Rig):
    rig.push("a", "b")
    session = rig.node()
    one, _ = rig.get(session, 2)
    before, others = astuple(rig.record("a")), (rig.record("b"), rig.store.counts(), rig.store.sessions())
    mark(rig, session, one)
    after = astuple(rig.record("a"))
    assert sum(was != now for was, now in zip(before, after, strict=True)) == 1
    assert (rig.record("b"), rig.store.counts(), rig.store.sessions()) == others


def test_nothing_to_mark(rig: Rig):
    assert mark(rig, rig.node()) == ()
    assert rig.store.mark_started(SessionId(4711), []) == ()


def test_a_batch_is_marked_but_for_what_is_refused(rig: Rig):
    rig.push("a", "b", "c")
    session = rig.node()
    one, two, three = rig.get(session, 3)
    rig.succeed(session, two)
    assert mark(rig, session, one, two, three) == (held(two),)
    assert [rig.record(name).started_ms is not None for name in "abc"] == [True, False, True]


def test_what_is_only_assigned_is_refused(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.assign(session)
    token = rig.record("a").token
    assert token is not None
    (ref,) = {taken.ref for taken in _peek(rig, session)}
    known = Held(ref, "a", token)
    rig.assign(session)
    known = known._replace(token=rig.record("a").token)
    assert mark(rig, session, known) == (known,)
    assert (rig.state("a"), rig.record("a").started_ms) == (JobState.ASSIGNED, None)


def _peek(rig: Rig, session: SessionId):
    """Take what is assigned and hand it back: so its ref is known."""
    taken = rig.take(session)
    for one in taken:
        rig.succeed(session, one, OutcomeKind.HANDED_BACK)
    return taken


def check_a_mark_of_an_older_run_is_refused(rig: Rig) -> None:
    rig.push("a")
    old, new = rig.node("n1"), rig.node("n2")
    first = rig.get_one(old)
    rig.end(old)
    second = rig.get_one(new)
    assert mark(rig, new, first) == (held(first),)
    assert mark(rig, old, first) == (held(first),)
    assert rig.record("a").started_ms is None
    assert mark(rig, new, second) == ()


def test_a_mark_of_an_older_run_is_refused(rig: Rig):
    check_a_mark_of_an_older_run_is_refused(rig)


def test_a_mark_of_what_never_was_is_refused(rig: Rig):
    rig.push("a")
    session, other = rig.node("n1"), rig.node("n2")
    taken = held(rig.get_one(session))
    for wrong in (taken._replace(token=Token(taken.token.epoch, taken.token.seq + 1)),
                  taken._replace(token=Token(taken.token.epoch + 1, taken.token.seq)),
                  taken._replace(id="b"), taken._replace(ref=taken.ref + 1_000)):
        assert rig.store.mark_started(session, [wrong]) == (wrong,)
    assert rig.store.mark_started(other, [taken]) == (taken,), "it is not that session's"
    assert rig.record("a").started_ms is None


@pytest.mark.parametrize("kind", OutcomeKind)
def test_a_mark_of_a_run_that_has_ended_is_refused(rig: Rig, kind: OutcomeKind):
    rig.push("a")
    session = rig.node()
    taken = rig.get_one(session)
    rig.succeed(session, taken, kind, error=BOOM)
    assert mark(rig, session, taken) == (held(taken),)
    assert rig.record("a").started_ms is None


@HOW
def test_a_mark_after_the_end_of_the_session_is_refused(rig: Rig, how: str):
    rig.push("a")
    session = rig.node()
    taken = rig.get_one(session)
    release(rig, session, how)
    assert mark(rig, session, taken) == (held(taken),), "and nothing is raised"
    assert rig.record("a").started_ms is None


def test_a_new_run_is_not_marked_by_the_one_before(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.RETRY, error=BOOM)
    again = rig.get_one(session)
    assert rig.record("a").started_ms is None
    rig.end(session)
    assert (rig.record("a").losses, rig.record("a").doubts) == (0, 1)
    assert again.token == rig.record("a").token


def test_what_is_taken_again_keeps_its_mark(rig: Rig):
    rig.push("a", "b")
    session = rig.node()
    one, _ = rig.get(session, 2)
    mark(rig, session, one)
    began_ms = rig.record("a").started_ms
    rig.clock.advance(1.0)
    assert sorted(ids(rig.take(session, holding=()))) == ["a", "b"]
    assert (rig.record("a").started_ms, rig.record("b").started_ms) == (began_ms, None)
    assert rig.end(session) == Released(0, 1, doubted=1)


def test_what_the_leaders_node_takes_in_one_call_is_not_marked(rig: Rig):
    rig.push("a")
    session = rig.node()
    receipt = rig.store.assign(rig.epoch, Plan((Assignment(session, "q", "q", 1),)), session)
    assert rig.record("a").started_ms is None
    assert mark(rig, session, *receipt.taken) == ()
    assert rig.end(session) == Released(0, 1)


# The end of a session -------------------------------------------------------------------------------------------------


def check_what_never_began_is_not_charged(rig: Rig, how: str) -> None:
    rig.push("begun", "taken", "assigned")
    session = rig.node()
    begun, _ = rig.get(session, 2)
    rig.assign(session)
    mark(rig, session, begun)
    assert release(rig, session, how) == Released(handed_back=1, lost=1, doubted=1)
    told = {name: (rig.state(name), rig.record(name).attempts, rig.record(name).losses, rig.record(name).doubts)
            for name in ("begun", "taken", "assigned")}
    assert told == {"begun": (JobState.READY, 0, 1, 0), "taken": (JobState.READY, 0, 0, 1),
                    "assigned": (JobState.READY, 0, 0, 0)}


@HOW
def test_what_never_began_is_not_charged(rig: Rig, how: str):
    check_what_never_began_is_not_charged(rig, how)


def check_a_doubt_is_told_and_makes_careful(rig: Rig) -> None:
    rig.push("a")
    session = rig.node()
    assert not rig.get_one(session).careful
    rig.end(session)
    again = rig.get_one(rig.node("n2"))
    assert (again.doubts, again.losses, again.attempt, again.careful) == (1, 0, 1, True)


def test_a_doubt_is_told_and_makes_careful(rig: Rig):
    check_a_doubt_is_told_and_makes_careful(rig)


def check_a_careful_job_without_a_mark_has_not_begun(rig: Rig, how: str) -> None:
    rig.push("a")
    rig.get_one(session := rig.node())
    rig.end(session)
    for number in range(4):
        session = rig.node(f"n{number}")
        rig.get_one(session)
        assert release(rig, session, how) == Released(1, 0)
        assert (rig.state("a"), rig.record("a").losses, rig.record("a").doubts) == (JobState.READY, 0, 1)


@HOW
def test_a_careful_job_without_a_mark_has_not_begun(rig: Rig, how: str):
    check_a_careful_job_without_a_mark_has_not_begun(rig, how)


def test_what_kills_its_node_costs_a_doubt_and_three_losses(rig: Rig):
    rig.push("a")
    rig.get_one(session := rig.node("first"))
    assert rig.end(session) == Released(0, 0, doubted=1)
    rig.lose("a", 2)
    rig.run_alone(session := rig.node("last"), "a")
    assert rig.end(session) == Released(0, 1, ("a",))
    seen = rig.record("a")
    assert (seen.state, seen.losses, seen.doubts) == (JobState.FAILED, 3, 1)


def test_an_isolated_job_without_a_mark_is_not_quarantined(rig: Rig):
    rig.push("a")
    rig.lose("a", 2)
    rig.assign_alone(session := rig.node(), "a")
    rig.take(session)
    assert rig.end(session) == Released(0, 0, doubted=1)
    assert (rig.state("a"), rig.record("a").losses) == (JobState.READY, 2)
    assert [one.id for one in rig.store.survey(rig.epoch, 10).isolated] == ["a"]


def test_what_is_given_back_in_doubt_keeps_the_rest(rig: Rig):
    rig.push("a", priority=3)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.RETRY, error=BOOM)
    before = rig.record("a")
    rig.clock.advance(1.0)
    rig.get_one(session)
    rig.end(session)
    after = rig.record("a")
    assert (after.attempts, after.losses, after.error, after.due_ms) == (1, 0, BOOM, before.due_ms)


@HOW
def test_a_job_that_is_to_be_cancelled_and_never_began_is_cancelled(rig: Rig, how: str):
    rig.push("a", "b")
    session = rig.node()
    one, _ = rig.get(session, 2)
    mark(rig, session, one)
    assert [rig.store.cancel(name) for name in "ab"] == [CancelResult.REQUESTED] * 2
    assert release(rig, session, how) == Released(handed_back=1, lost=1)
    for name in "ab":
        seen = rig.record(name)
        assert (seen.state, seen.losses, seen.doubts) == (JobState.CANCELLED, 0, 0)


def test_a_failed_step_is_in_doubt_too(rig: Rig):
    rig.push("a", has_failed_hook=True)
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    rig.get_one(session)
    assert rig.end(session) == Released(0, 0, doubted=1)
    again = rig.get_one(session := rig.node("n2"))
    assert (again.doubts, again.careful, again.error) == (1, True, BOOM)
    assert rig.end(session) == Released(1, 0)


def test_an_operators_retry_forgets_doubts(rig: Rig):
    rig.push("a")
    rig.get_one(session := rig.node())
    rig.end(session)
    session = rig.node("n2")
    rig.succeed(session, rig.run_one(session), OutcomeKind.FAILED, error=BOOM)
    rig.store.retry_failed("a", None)
    assert rig.record("a").doubts == 0
    assert not rig.get_one(session).careful


@pytest.mark.parametrize("kind", [OutcomeKind.RETRY, OutcomeKind.SNOOZED, OutcomeKind.HANDED_BACK, OutcomeKind.LOST])
def test_a_doubt_stays_over_other_ends(rig: Rig, kind: OutcomeKind):
    rig.push("a")
    rig.get_one(session := rig.node())
    rig.end(session)
    session = rig.node("n2")
    rig.succeed(session, rig.run_one(session), kind, error=BOOM)
    assert rig.get_one(session).doubts == 1


def test_a_node_may_report_a_loss_of_what_it_did_not_mark(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.succeed(session, rig.get_one(session), OutcomeKind.LOST, error=BOOM)
    assert (rig.record("a").losses, rig.record("a").doubts) == (1, 0), "it knows"

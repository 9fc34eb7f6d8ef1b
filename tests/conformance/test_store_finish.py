"""Finishing: by token and state, each outcome once, whatever is sent twice or late."""

from __future__ import annotations

import pytest
from storekit import BOOM, Rig, held

from callboard.core.records import CancelResult, FinishReceipt, Held, JobState, Outcome, OutcomeKind, Token

LANDINGS = {
    OutcomeKind.COMPLETED: (JobState.COMPLETED, 1),
    OutcomeKind.RETRY: (JobState.READY, 1),
    OutcomeKind.FAILED: (JobState.FAILED, 1),
    OutcomeKind.SNOOZED: (JobState.READY, 0),
    OutcomeKind.HANDED_BACK: (JobState.READY, 0),
    OutcomeKind.LOST: (JobState.READY, 0),
    OutcomeKind.CANCELLED: (JobState.CANCELLED, 0),
}


@pytest.mark.parametrize("kind", OutcomeKind)
def test_where_each_outcome_leads(rig: Rig, kind: OutcomeKind):
    rig.push("a")
    session = rig.node()
    taken = rig.run_one(session)
    rig.succeed(session, taken, kind, error=BOOM)
    seen = rig.record("a")
    assert (seen.state, seen.attempts) == LANDINGS[kind]
    assert seen.losses == (1 if kind is OutcomeKind.LOST else 0)
    assert seen.node == "n1", "whose run it was"
    assert (seen.finished_ms is not None) == (seen.state not in {JobState.READY, JobState.DELAYED})
    assert rig.counts().running == 0


def test_a_failure_keeps_its_reason(rig: Rig):
    rig.push("a", "b")
    session = rig.node()
    one, two = rig.run(session, 2)
    rig.succeed(session, one, OutcomeKind.FAILED, error=BOOM)
    rig.succeed(session, two, OutcomeKind.RETRY, delay_s=9.0, error=BOOM)
    assert rig.record("a").error == BOOM
    assert rig.record("b").error == BOOM


def test_success_after_a_retry_counts_two_attempts(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.succeed(session, rig.run_one(session), OutcomeKind.RETRY, error=BOOM)
    rig.succeed(session, rig.run_one(session))
    assert (rig.record("a").state, rig.record("a").attempts) == (JobState.COMPLETED, 2)
    assert rig.record("a").error is None


# Twice ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OutcomeKind)
def test_the_same_finish_twice_is_one_success(rig: Rig, kind: OutcomeKind):
    rig.push("a")
    session = rig.node()
    taken = rig.run_one(session)
    rig.succeed(session, taken, kind, error=BOOM)
    before = rig.record("a"), rig.store.counts()
    rig.succeed(session, taken, kind, error=BOOM)
    assert (rig.record("a"), rig.store.counts()) == before


def test_twice_in_one_batch_is_one_success(rig: Rig):
    rig.push("a")
    session = rig.node()
    outcome = Outcome(held(rig.run_one(session)), OutcomeKind.RETRY, 5.0, BOOM)
    assert rig.store.finish(session, [outcome, outcome]) == FinishReceipt(2, ())
    assert rig.record("a").attempts == 1
    assert rig.counts().delayed == 1


def test_twice_with_another_outcome_is_stale(rig: Rig):
    rig.push("a")
    session = rig.node()
    taken = rig.run_one(session)
    rig.succeed(session, taken)
    assert rig.finish(session, taken, OutcomeKind.FAILED, error=BOOM) == FinishReceipt(0, (held(taken),))
    assert rig.state("a") is JobState.COMPLETED


# Stale ----------------------------------------------------------------------------------------------------------------


def check_stale(rig: Rig, session, what: Held) -> None:
    """No outcome of this token changes anything."""
    before = rig.store.job(what.id), rig.store.counts(), rig.store.sessions()
    for kind in OutcomeKind:
        receipt = rig.finish(session, what, kind, error=BOOM)
        assert receipt == FinishReceipt(0, (what,)), f"{kind!r} was accepted"
    assert (rig.store.job(what.id), rig.store.counts(), rig.store.sessions()) == before


def check_a_token_of_an_older_run_is_stale(rig: Rig) -> None:
    rig.push("a")
    old = rig.node("n1")
    taken = rig.run_one(old)
    rig.end(old)
    new = rig.node("n2")
    rig.run_one(new)
    check_stale(rig, old, held(taken))
    check_stale(rig, new, held(taken))


def test_a_token_of_an_older_run_is_stale(rig: Rig):
    check_a_token_of_an_older_run_is_stale(rig)


def test_a_token_of_an_older_run_is_stale_after_the_newer_ones_end(rig: Rig):
    rig.push("a")
    old, new = rig.node("n1"), rig.node("n2")
    taken = rig.run_one(old)
    rig.end(old)
    rig.succeed(new, rig.run_one(new))
    check_stale(rig, old, held(taken))


def test_a_released_token_is_stale_before_anybody_runs_it(rig: Rig):
    rig.push("a")
    session = rig.node()
    taken = rig.run_one(session)
    rig.end(session)
    check_stale(rig, session, held(taken))


def check_a_token_is_dead_after_hand_back(rig: Rig) -> None:
    rig.push("a")
    session = rig.node()
    first = rig.run_one(session)
    rig.succeed(session, first, OutcomeKind.HANDED_BACK)
    second = rig.run_one(session)
    assert second.token > first.token
    check_stale(rig, session, held(first))


def test_a_token_is_dead_after_hand_back(rig: Rig):
    check_a_token_is_dead_after_hand_back(rig)


def test_a_token_is_dead_after_a_retry(rig: Rig):
    rig.push("a")
    session = rig.node()
    first = rig.run_one(session)
    rig.succeed(session, first, OutcomeKind.RETRY, error=BOOM)
    assert rig.run_one(session).token > first.token
    check_stale(rig, session, held(first))


def test_a_token_is_dead_after_an_operators_retry(rig: Rig):
    rig.push("a")
    session = rig.node()
    first = rig.run_one(session)
    rig.succeed(session, first, OutcomeKind.FAILED, error=BOOM)
    rig.store.retry_failed("a", first.token)
    assert rig.run_one(session).token > first.token
    check_stale(rig, session, held(first))


def test_a_token_is_dead_after_a_purge(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.assign(session)
    token = rig.record("a").token
    rig.store.purge("q")
    assert rig.take(session, holding=()) == ()
    rig.push("b")
    taken = rig.run_one(session)
    assert taken.token > token
    check_stale(rig, session, Held(taken.ref, "a", token))


def test_a_token_that_never_was_is_stale(rig: Rig):
    rig.push("a")
    session = rig.node()
    taken = rig.run_one(session)
    check_stale(rig, session, Held(taken.ref, "a", Token(taken.token.epoch, taken.token.seq + 1)))
    check_stale(rig, session, Held(taken.ref, "a", Token(taken.token.epoch + 1, taken.token.seq)))
    check_stale(rig, session, Held(taken.ref, "b", taken.token))
    check_stale(rig, session, Held(taken.ref + 1_000, "a", taken.token))
    rig.succeed(session, taken)


def test_a_batch_is_applied_but_for_what_is_stale(rig: Rig):
    rig.push("a", "b", "c")
    session = rig.node()
    one, two, three = rig.run(session, 3)
    rig.succeed(session, two, OutcomeKind.HANDED_BACK)
    rig.run_one(session)
    receipt = rig.store.finish(session, [Outcome(held(taken), OutcomeKind.COMPLETED) for taken in (one, two, three)])
    assert receipt == FinishReceipt(2, (held(two),))
    assert rig.counts().completed == 2
    assert rig.state("b") is JobState.RUNNING


def test_nothing_to_finish(rig: Rig):
    assert rig.store.finish(rig.node(), []) == FinishReceipt(0, ())


# State ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in OutcomeKind if kind is not OutcomeKind.HANDED_BACK])
def test_what_was_not_taken_can_only_be_handed_back(rig: Rig, kind: OutcomeKind):
    rig.push("a")
    session = rig.node()
    rig.assign(session)
    taken = Held(ref_of(rig, session), "a", rig.record("a").token)
    assert rig.finish(session, taken, kind, error=BOOM) == FinishReceipt(0, (taken,))
    assert rig.state("a") is JobState.ASSIGNED


def test_a_hand_back_of_what_was_not_taken(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.assign(session)
    rig.succeed(session, Held(ref_of(rig, session), "a", rig.record("a").token), OutcomeKind.HANDED_BACK)
    assert rig.state("a") is JobState.READY
    assert (rig.record("a").attempts, rig.record("a").losses) == (0, 0)
    assert rig.take(session) == ()


def ref_of(rig: Rig, session) -> int:
    """The row's ref: a run of the same job tells it."""
    rig.store.set_paused("q", paused=True)
    rig.store.set_paused("q", paused=False)
    taken = rig.run_one(session)
    rig.succeed(session, taken, OutcomeKind.HANDED_BACK)
    rig.assign(session)
    return taken.ref


def test_finish_works_after_the_nodes_session_as_long_as_the_token_holds(rig: Rig):
    rig.push("a")
    one, other = rig.node("n1"), rig.node("n2")
    taken = rig.run_one(one)
    rig.end(other)
    rig.succeed(other, taken)
    assert rig.state("a") is JobState.COMPLETED


# Cancelled while it ran -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [OutcomeKind.RETRY, OutcomeKind.SNOOZED, OutcomeKind.HANDED_BACK, OutcomeKind.LOST,
                                  OutcomeKind.CANCELLED])
def test_a_job_that_is_to_be_cancelled_does_not_run_again(rig: Rig, kind: OutcomeKind):
    rig.push("a")
    session = rig.node()
    taken = rig.run_one(session)
    assert rig.store.cancel("a") is CancelResult.REQUESTED
    rig.succeed(session, taken, kind, error=BOOM)
    assert rig.state("a") is JobState.CANCELLED


@pytest.mark.parametrize(("kind", "state"), [(OutcomeKind.COMPLETED, JobState.COMPLETED),
                                             (OutcomeKind.FAILED, JobState.FAILED)])
def test_a_job_that_ended_before_the_cancel_reached_it_has_ended(rig: Rig, kind: OutcomeKind, state: JobState):
    rig.push("a")
    session = rig.node()
    taken = rig.run_one(session)
    rig.store.cancel("a")
    rig.succeed(session, taken, kind, error=BOOM)
    assert rig.state("a") is state


def test_a_cancelled_job_whose_node_is_lost_does_not_run_again(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.run_one(session)
    rig.store.cancel("a")
    rig.end(session)
    assert rig.state("a") is JobState.CANCELLED

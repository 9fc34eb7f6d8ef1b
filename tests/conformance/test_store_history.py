"""What became of a job's runs: its last one on its row, those that did not complete it in its history."""

from __future__ import annotations

import pytest
from storekit import BOOM, Rig

from callboard.core.errorrecord import decode_error
from callboard.core.history import HISTORY_MAX
from callboard.core.lifecycle import Event
from callboard.core.records import Assignment, JobState, OutcomeKind, Plan, RunRecord

ENDS = {
    OutcomeKind.RETRY: Event.RETRY,
    OutcomeKind.FAILED: Event.FAIL,
    OutcomeKind.SNOOZED: Event.SNOOZE,
    OutcomeKind.HANDED_BACK: Event.HAND_BACK,
    OutcomeKind.LOST: Event.LOSE,
    OutcomeKind.CANCELLED: Event.CANCEL,
}


def timed_run(rig: Rig, name: str = "n1", *, mark: bool = True):
    """A session and a run whose instants differ: assigned, taken 10 ms later, begun 20 ms after that."""
    session = rig.node(name)
    rig.assign(session)
    rig.clock.advance(0.01)
    (taken,) = rig.take(session)
    if mark:
        rig.clock.advance(0.02)
        rig.begin(session, taken)
    rig.clock.advance(0.03)
    return session, taken


def last_run(rig: Rig) -> tuple[object, ...]:
    """What the row says of its last run."""
    seen = rig.record("a")
    return seen.token, seen.node, seen.assigned_ms, seen.taken_ms, seen.started_ms


# The last run ---------------------------------------------------------------------------------------------------------


def test_a_job_that_was_never_assigned_has_no_run(rig: Rig):
    rig.push("a")
    assert last_run(rig) == (None,) * 5
    assert rig.record("a").history == ()


def test_the_run_under_way_is_told_step_by_step(rig: Rig):
    rig.push("a")
    start_ms = rig.store.store_now_ms()
    session = rig.node()
    rig.assign(session)
    token = rig.record("a").token
    assert last_run(rig) == (token, "n1", start_ms, None, None)
    rig.clock.advance(0.01)
    (taken,) = rig.take(session)
    assert last_run(rig) == (token, "n1", start_ms, start_ms + 10, None)
    rig.clock.advance(0.02)
    rig.begin(session, taken)
    assert last_run(rig) == (token, "n1", start_ms, start_ms + 10, start_ms + 30)
    assert rig.record("a").history == ()


def test_assigned_and_taken_in_one_call_is_one_instant(rig: Rig):
    rig.push("a")
    session = rig.node()
    rig.store.assign(rig.epoch, Plan((Assignment(session, "q", "q", 1),)), session)
    now_ms = rig.store.store_now_ms()
    assert last_run(rig)[1:] == ("n1", now_ms, now_ms, None)


def test_a_run_taken_again_keeps_its_instants(rig: Rig):
    rig.push("a")
    session, _ = timed_run(rig)
    before = last_run(rig)
    rig.clock.advance(1.0)
    assert len(rig.take(session, holding=())) == 1
    assert last_run(rig) == before


@pytest.mark.parametrize("kind", OutcomeKind)
def test_the_last_run_stays_when_it_has_ended(rig: Rig, kind: OutcomeKind):
    rig.push("a")
    session, taken = timed_run(rig)
    before = last_run(rig)
    rig.succeed(session, taken, kind, delay_s=5.0, error=BOOM)
    assert last_run(rig) == before
    rig.end(session)
    assert last_run(rig) == before, "the node's name does not go with its session"


def test_a_new_run_takes_its_place(rig: Rig):
    rig.push("a")
    session, taken = timed_run(rig)
    rig.succeed(session, taken, OutcomeKind.HANDED_BACK)
    rig.assign(rig.node("n2"))
    assert last_run(rig)[1:] == ("n2", rig.store.store_now_ms(), None, None)


# Runs that did not complete it ----------------------------------------------------------------------------------------


def check_a_run_is_told_as_it_ended(rig: Rig, kind: OutcomeKind, mark: bool = True) -> None:  # noqa: FBT001, FBT002
    rig.push("a")
    start_ms = rig.store.store_now_ms()
    session, taken = timed_run(rig, mark=mark)
    rig.succeed(session, taken, kind, delay_s=5.0, error=BOOM)
    ended_ms = start_ms + (60 if mark else 40)
    assert rig.store.store_now_ms() == ended_ms
    expected = RunRecord(taken.token, "n1", start_ms, start_ms + 10, start_ms + 30 if mark else None, ended_ms,
                         ENDS[kind].value, BOOM)
    assert rig.record("a").history == (expected,)


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("mark", [True, False])
def test_a_run_is_told_as_it_ended(rig: Rig, kind: OutcomeKind, mark: bool):  # noqa: FBT001 - as above
    check_a_run_is_told_as_it_ended(rig, kind, mark)


def test_a_run_that_completed_the_job_is_told_by_the_row_alone(rig: Rig):
    rig.push("a")
    session, taken = timed_run(rig)
    rig.succeed(session, taken)
    assert rig.record("a").history == ()


def test_the_same_finish_again_is_told_once(rig: Rig):
    rig.push("a")
    session, taken = timed_run(rig)
    for _ in range(3):
        rig.succeed(session, taken, OutcomeKind.RETRY, error=BOOM)
        rig.clock.advance(1.0)
    assert len(rig.record("a").history) == 1


def test_a_stale_finish_is_not_told(rig: Rig):
    rig.push("a")
    session, taken = timed_run(rig)
    rig.end(session)
    other, _ = timed_run(rig, "n2")
    assert rig.finish(other, taken, OutcomeKind.RETRY, error=BOOM).stale
    assert [run.end for run in rig.record("a").history] == [Event.LOSE.value]


RELEASED = {
    (True, False, False): Event.LOSE, (False, False, False): Event.DOUBT,
    (True, True, False): Event.LOSE_ONCE, (False, True, False): Event.HAND_BACK,
    (True, False, True): Event.CANCEL, (False, False, True): Event.CANCEL,
}


@pytest.mark.parametrize(("mark", "once", "cancelled"), RELEASED)
@pytest.mark.parametrize("own", [True, False])
def test_a_run_whose_session_ended_is_told(
    rig: Rig, mark: bool, once: bool, cancelled: bool, own: bool  # noqa: FBT001 - parameters of the test
):
    rig.push("a", at_most_once=once)
    session, taken = timed_run(rig, mark=mark)
    if cancelled:
        rig.store.cancel("a")
    before = last_run(rig)
    if own:
        rig.store.close_session(session)
    else:
        rig.end(session, "no heartbeat")
    (run,) = rig.record("a").history
    assert (run.token, run.node, run.assigned_ms, run.taken_ms, run.started_ms) == before
    assert run.token == taken.token
    assert (run.ended_ms, run.end) == (rig.store.store_now_ms(), RELEASED[mark, once, cancelled].value)
    assert run.error is not None
    error = decode_error(run.error)
    assert (error.kind, "n1" in error.message) == ("NodeLost", True)
    assert own or "no heartbeat" in error.message


def test_the_last_loss_is_told_as_one(rig: Rig):
    rig.push("a")
    session = rig.node()
    for _ in range(2):
        rig.succeed(session, rig.run_one(session), OutcomeKind.LOST)
    taken = rig.run_alone(session, "a")
    assert rig.finish(session, taken, OutcomeKind.LOST).quarantined == ("a",)
    runs = rig.record("a").history
    assert [run.end for run in runs] == [Event.LOSE.value, Event.LOSE.value, Event.QUARANTINE.value]
    assert [run.error is None for run in runs] == [True, True, False], "why it failed is told, though its node did not"
    assert runs[-1].error == rig.record("a").error


def test_a_failed_step_is_a_run_of_its_own(rig: Rig):
    rig.push("a", has_failed_hook=True)
    session = rig.node()
    first = rig.run_one(session)
    rig.succeed(session, first, OutcomeKind.FAILED, error=BOOM)
    second = rig.run_one(session)
    rig.succeed(session, second)
    assert rig.state("a") is JobState.FAILED
    assert [(run.token, run.end, run.error) for run in rig.record("a").history] == [
        (first.token, Event.FAIL_TO_HOOK.value, BOOM), (second.token, Event.COMPLETE.value, None)]


@pytest.mark.parametrize("how", ["end", "close", "pause", "hand back", "cancel"])
def test_what_was_only_assigned_is_not_told(rig: Rig, how: str):
    rig.push("a")
    session = rig.node()
    taken = rig.run_one(session)
    rig.succeed(session, taken, OutcomeKind.HANDED_BACK)
    rig.assign(session)
    if how == "end":
        rig.end(session)
    elif how == "close":
        rig.store.close_session(session)
    elif how == "pause":
        rig.store.set_paused("q", paused=True)
    elif how == "cancel":
        rig.store.cancel("a")
    else:
        token = rig.record("a").token
        assert token is not None
        rig.succeed(session, taken._replace(token=token), OutcomeKind.HANDED_BACK)
    assert [run.token for run in rig.record("a").history] == [taken.token]


def check_an_operators_retry_is_told(rig: Rig) -> None:
    rig.push("a")
    session, taken = timed_run(rig)
    rig.succeed(session, taken, OutcomeKind.FAILED, error=BOOM)
    before = last_run(rig)
    rig.clock.advance(1.0)
    rig.store.retry_failed("a", None)
    first, retry = rig.record("a").history
    assert first.end == Event.FAIL.value
    assert retry == RunRecord(taken.token, "", 0, 0, None, rig.store.store_now_ms(), Event.OPERATOR_RETRY.value)
    assert last_run(rig) == before
    timed_run(rig, "n2")
    assert len(rig.record("a").history) == 2


def test_an_operators_retry_is_told(rig: Rig):
    check_an_operators_retry_is_told(rig)


def test_the_newest_are_kept_oldest_first(rig: Rig):
    rig.push("a")
    session = rig.node()
    tokens = []
    for number in range(HISTORY_MAX + 5):
        taken = rig.run_one(session)
        tokens.append(taken.token)
        rig.succeed(session, taken, OutcomeKind.SNOOZED if number % 2 else OutcomeKind.RETRY, error=BOOM)
    assert [run.token for run in rig.record("a").history] == tokens[-HISTORY_MAX:]
    rig.succeed(session, rig.run_one(session))
    assert len(rig.record("a").history) == HISTORY_MAX


def test_long_errors_leave_room_for_few(rig: Rig):
    rig.push("a", max_attempts=99)
    session = rig.node()
    error = b"x" * 16_000
    for _ in range(8):
        rig.succeed(session, rig.run_one(session), OutcomeKind.RETRY, error=error)
    runs = rig.record("a").history
    assert 1 <= len(runs) <= 4
    assert runs[-1].error == error
    assert runs[-1].token == rig.record("a").token


def test_a_list_of_jobs_tells_it_too(rig: Rig):
    rig.push("a")
    session, taken = timed_run(rig)
    rig.succeed(session, taken, OutcomeKind.FAILED, error=BOOM)
    (seen,) = rig.store.jobs(JobState.FAILED, None, 10)
    assert seen == rig.record("a")
    assert len(seen.history) == 1

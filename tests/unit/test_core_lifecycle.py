"""The lifecycle's table: what may never be in it, and what follows from it along any way of a job."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.lifecycle import (
    FINISHED,
    HELD,
    LIVE,
    LOSSES_MAX,
    Charge,
    Due,
    ErrorFate,
    Event,
    Holding,
    TokenFate,
    attempt_number,
    charged,
    doubts_after,
    event_of,
    isolated,
    landing,
    release_event,
    rows,
    transition,
)
from callboard.core.records import JobState, OutcomeKind, Step

ROWS = list(rows())
STEPS = st.sampled_from(Step)


def test_a_state_step_and_event_stands_once():
    keys = [(row.state, row.step, row.event) for row in ROWS]
    assert len(keys) == len(set(keys))


def test_every_event_and_state_is_in_it():
    assert {row.event for row in ROWS} == set(Event)
    assert {row.then.to for row in ROWS} == set(JobState)


def test_groups_of_states_cover_all_and_do_not_meet():
    assert LIVE | FINISHED | {JobState.FORGOTTEN} == set(JobState)
    assert not LIVE & FINISHED
    assert HELD < LIVE


def test_what_completed_or_was_cancelled_stays_so():
    ends = {JobState.COMPLETED, JobState.CANCELLED, JobState.FORGOTTEN}
    assert not [row for row in ROWS if row.state in ends]


def test_a_job_holds_a_token_exactly_while_a_session_holds_it():
    for row in ROWS:
        before, after = row.state in HELD, row.then.to in HELD
        expected = {(False, False): TokenFate.NONE, (False, True): TokenFate.ISSUED,
                    (True, True): TokenFate.KEPT, (True, False): TokenFate.RETIRED}[before, after]
        assert row.then.token is expected, row


def test_only_runs_are_charged_and_only_an_operator_forgives():
    for row in ROWS:
        if row.then.charge in {Charge.ATTEMPT, Charge.LOSS}:
            assert row.state is JobState.RUNNING, row
        if row.then.charge is Charge.RESET:
            assert row.event is Event.OPERATOR_RETRY, row
    lossy = {row.event for row in ROWS if row.then.charge is Charge.LOSS}
    assert lossy == {Event.LOSE, Event.LOSE_ONCE, Event.LOSE_ONCE_TO_HOOK, Event.QUARANTINE}


def test_a_job_that_failed_never_counts_as_anything_else():
    for row in ROWS:
        if row.step is Step.FAILED_HOOK and row.event is not Event.OPERATOR_RETRY:
            assert row.then.to in {*LIVE, JobState.FAILED, JobState.FORGOTTEN}, row
            assert row.then.error is ErrorFate.KEPT, row
            assert row.then.charge is not Charge.ATTEMPT, row


def test_the_way_to_failed_says_why():
    for row in ROWS:
        if row.then.to is JobState.FAILED and row.step is Step.HANDLE:
            assert row.then.error is ErrorFate.SET, row


def test_what_goes_back_unstarted_keeps_its_place():
    for row in ROWS:
        if row.state is JobState.ASSIGNED or row.event in {Event.HAND_BACK, Event.LOSE, Event.DOUBT, Event.PROMOTE}:
            assert row.then.due is Due.KEPT, row


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("kind", OutcomeKind)
@pytest.mark.parametrize("losses", range(LOSSES_MAX))
@pytest.mark.parametrize("has_hook", [True, False])
@pytest.mark.parametrize("cancel_asked", [True, False])
@pytest.mark.parametrize("once", [True, False])
def test_every_outcome_of_a_run_leads_somewhere(step, kind, losses, has_hook, cancel_asked, once):
    event = event_of(kind, step, losses, has_hook=has_hook, cancel_asked=cancel_asked, once=once)
    then = transition(JobState.RUNNING, step, event)
    assert then is not None
    assert then.to not in HELD
    if once and step is Step.HANDLE and kind is not OutcomeKind.HANDED_BACK:
        assert then.to not in LIVE or then.step is Step.FAILED_HOOK, "its handle() does not run again"
    if cancel_asked and step is Step.HANDLE and then.step is not Step.FAILED_HOOK:
        assert then.to not in LIVE, "a job that is to be cancelled does not run again"


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("losses", range(LOSSES_MAX))
@pytest.mark.parametrize("flags", list(product([True, False], repeat=5)))
def test_a_session_can_always_end(step, losses, flags):
    started, careful, once, has_hook, cancel_asked = flags
    for state in HELD:
        event = release_event(Holding(state, step, losses, started=started, careful=careful or once, once=once,
                                      has_hook=has_hook, cancel_asked=cancel_asked))
        then = transition(state, step, event)
        assert then is not None
        assert then.to not in HELD
        if state is JobState.ASSIGNED or not started:
            assert then.charge in {Charge.NOTHING, Charge.DOUBT}
        if state is JobState.RUNNING and started and once and step is Step.HANDLE:
            assert then.to is not JobState.READY or then.step is Step.FAILED_HOOK


def test_a_run_that_nobody_marked_is_a_doubt_once_and_then_proof():
    job = Holding(JobState.RUNNING, Step.HANDLE, 2, started=False, careful=False, once=False, has_hook=True,
                  cancel_asked=False)
    assert release_event(job) is Event.DOUBT
    assert release_event(job._replace(careful=True)) is Event.HAND_BACK
    assert release_event(job._replace(cancel_asked=True)) is Event.CANCEL
    assert release_event(job._replace(started=True)) is Event.QUARANTINE
    assert (doubts_after(Charge.DOUBT, 0), doubts_after(Charge.LOSS, 1), doubts_after(Charge.RESET, 1)) == (1, 1, 0)


def test_what_runs_at_most_once_fails_where_others_run_again():
    def event(kind, *, hook=False, step=Step.HANDLE):
        return event_of(kind, step, 0, has_hook=hook, once=True)

    assert event(OutcomeKind.LOST) is Event.LOSE_ONCE
    assert event(OutcomeKind.LOST, hook=True) is Event.LOSE_ONCE_TO_HOOK
    assert event(OutcomeKind.LOST, hook=True, step=Step.FAILED_HOOK) is Event.LOSE
    assert event(OutcomeKind.RETRY) is event(OutcomeKind.SNOOZED) is Event.FAIL
    assert event(OutcomeKind.SNOOZED, hook=True) is Event.FAIL_TO_HOOK
    assert event(OutcomeKind.HANDED_BACK) is Event.HAND_BACK


@given(STEPS, st.lists(st.tuples(st.sampled_from(OutcomeKind), st.booleans()), max_size=12), st.booleans())
def test_no_way_through_the_table_loses_more_nodes_than_are_allowed(step, ends, has_hook):
    """Assign, take, end; again and again, until the job is no longer live."""
    state, losses, attempts = JobState.READY, 0, 0
    for kind, taken in ends:
        if state not in {JobState.READY, JobState.DELAYED}:
            break
        event = event_of(kind if taken else OutcomeKind.HANDED_BACK, step, losses, has_hook=has_hook)
        then = transition(JobState.RUNNING if taken else JobState.ASSIGNED, step, event)
        assert then is not None
        attempts, losses = charged(then.charge, attempts, losses)
        step = step if then.step is None else then.step
        state = landing(then.to, 1.0)
        assert losses <= LOSSES_MAX
        assert attempts <= len(ends)
        assert (losses == LOSSES_MAX) <= (state is JobState.FAILED)


def test_three_losses_are_quarantine_and_two_are_isolation():
    assert [isolated(losses) for losses in range(4)] == [False, False, True, True]
    events = [event_of(OutcomeKind.LOST, Step.HANDLE, losses, has_hook=True) for losses in range(3)]
    assert events == [Event.LOSE, Event.LOSE, Event.QUARANTINE]
    assert events == [
        release_event(Holding(JobState.RUNNING, Step.HANDLE, losses, started=True, careful=False, once=False,
                              has_hook=True, cancel_asked=False)) for losses in range(3)]


def test_the_number_of_an_attempt():
    assert attempt_number(0, Step.HANDLE) == 1
    assert attempt_number(3, Step.HANDLE) == 4
    assert attempt_number(3, Step.FAILED_HOOK) == 3


def test_no_delay_is_no_waiting():
    assert landing(JobState.DELAYED, 0.0) is JobState.READY
    assert landing(JobState.DELAYED, 0.001) is JobState.DELAYED
    assert landing(JobState.FAILED, 0.0) is JobState.FAILED

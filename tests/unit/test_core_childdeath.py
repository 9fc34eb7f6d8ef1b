"""What becomes of a dead child's jobs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callboard.core.childdeath import SlotState, fates
from callboard.core.runs import EndKind

Q, S, C, R = SlotState.QUEUED, SlotState.STARTED, SlotState.COMPLETED, SlotState.REPORTED


def test_what_completed_is_completed_and_what_never_started_goes_on_elsewhere():
    found = fates({1: C, 2: C, 3: S, 4: Q, 5: Q})
    assert found.completed == (1, 2)
    assert found.ended == ((3, EndKind.CHILD_DIED),)
    assert found.waiting == (4, 5)


def test_the_only_job_that_ran_did_it_itself():
    assert fates({1: S}).ended == ((1, EndKind.CHILD_DIED),)


def test_of_several_nobody_knows_who_did_it():
    assert fates({1: S, 2: S}).ended == ((1, EndKind.NEIGHBOUR_DIED), (2, EndKind.NEIGHBOUR_DIED))


def test_killed_for_an_overrun_only_that_job_timed_out():
    found = fates({1: S, 2: S, 3: Q}, overran={2})
    assert found.ended == ((1, EndKind.NEIGHBOUR_DIED), (2, EndKind.TIMED_OUT))
    assert found.waiting == (3,)


def test_an_overrun_that_completed_at_the_last_moment_has_completed():
    assert fates({1: C}, overran={1}) == ((1,), (), ())


def test_a_lone_neighbour_of_a_job_that_ended_is_not_charged_for_it():
    assert fates({2: S}, overran={1}).ended == ((2, EndKind.NEIGHBOUR_DIED),)


def test_killed_for_cancelling():
    assert fates({1: S}, cancelled={1}).ended == ((1, EndKind.CANCELLED),)


def test_killed_at_the_deadline_of_a_stop():
    found = fates({1: S, 2: S, 3: S, 4: Q}, interrupted=True, overran={2}, cancelled={3})
    assert found.ended == ((1, EndKind.INTERRUPTED), (2, EndKind.TIMED_OUT), (3, EndKind.CANCELLED))


def test_one_that_said_it_had_ended_and_was_not_heard_counts_as_started():
    assert fates({1: R}).ended == ((1, EndKind.CHILD_DIED),)


@given(st.dictionaries(st.integers(1, 50), st.integers(0, 255), max_size=20), st.sets(st.integers(1, 50)),
       st.sets(st.integers(1, 50)), st.booleans())
def test_each_job_has_exactly_one_fate_whatever_the_memory_holds(states, overran, cancelled, interrupted):
    found = fates(states, overran=overran, cancelled=cancelled, interrupted=interrupted)
    indices = [*found.completed, *(index for index, _ in found.ended), *found.waiting]
    assert sorted(indices) == sorted(states)

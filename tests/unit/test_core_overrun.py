"""When a running job is warned, and when it is stopped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callboard.core.overrun import Run, overruns


def test_a_job_within_its_limit_is_left_alone_until_then():
    assert overruns([Run(1, 100.0, 5.0)], {}, 104.9, 2.0) == ((), (), 105.0)


def test_at_its_limit_it_is_warned_and_looked_at_after_the_grace():
    assert overruns([Run(1, 100.0, 5.0)], {}, 105.0, 2.0) == ((1,), (), 107.0)


def test_it_is_warned_once():
    assert overruns([Run(1, 100.0, 5.0)], {1: 105.0}, 106.9, 2.0) == ((), (), 107.0)


def test_after_the_grace_it_is_stopped_hard():
    assert overruns([Run(1, 100.0, 5.0)], {1: 105.0}, 107.0, 2.0) == ((), (1,), None)


def test_the_grace_counts_from_the_warning_even_if_that_came_late():
    assert overruns([Run(1, 100.0, 5.0)], {1: 120.0}, 121.0, 2.0) == ((), (), 122.0)


def test_without_grace_it_is_stopped_at_its_limit():
    assert overruns([Run(1, 100.0, 5.0)], {}, 105.0, 0.0) == ((), (1,), None)


def test_others_are_looked_at_when_the_first_of_them_is_due():
    runs = [Run(1, 100.0, 5.0), Run(2, 100.0, 3.0), Run(3, 90.0, 5.0)]
    assert overruns(runs, {3: 99.0}, 102.0, 2.0) == ((), (3,), 103.0)


def test_nothing_runs():
    assert overruns([], {}, 1.0, 2.0) == ((), (), None)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0.001, 50), st.none() | st.floats(0, 100)), max_size=8),
    st.floats(0, 200), st.floats(0, 5),
)
def test_what_is_not_due_is_always_looked_at_again_in_the_future(given_runs, now_s, grace_s):
    runs = [Run(index, start_s, timeout_s) for index, (start_s, timeout_s, _) in enumerate(given_runs)]
    warned = {index: warned_s for index, (_, _, warned_s) in enumerate(given_runs) if warned_s is not None}
    soft, hard, next_s = overruns(runs, warned, now_s, grace_s)
    assert not set(soft) & set(hard)
    assert not set(soft) & set(warned)
    assert (next_s is None) == (len(hard) == len(runs))
    assert next_s is None or next_s > now_s or grace_s < 1e-12

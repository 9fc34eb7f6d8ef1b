"""Restart intensity: five in ten seconds, not six."""

from hypothesis import given
from hypothesis import strategies as st

from callboard.core.restart import Intensity, Restarts, restart


def test_six_deaths_in_ten_seconds_are_one_too_many():
    history, answers = Restarts(), []
    for death in range(6):
        history, allowed = restart(history, Intensity(5, 10.0), death * 1.9)
        answers.append(allowed)
    assert answers == [True] * 5 + [False]


def test_a_hundred_deaths_far_enough_apart_are_all_restarted():
    history = Restarts()
    for death in range(100):
        history, allowed = restart(history, Intensity(5, 10.0), death * 2.0)
        assert allowed
    assert len(history.at_s) <= 5


def test_no_restart_is_allowed_at_an_intensity_of_zero():
    assert restart(Restarts(), Intensity(0, 10.0), 1.0) == (Restarts(), False)


@given(st.lists(st.floats(0, 5.0), max_size=80), st.integers(0, 6), st.floats(0.1, 20.0))
def test_never_more_than_the_limit_within_any_window_and_never_refused_below_it(waits, limit, window_s):
    history, now_s, restarted = Restarts(), 0.0, []
    for wait_s in waits:
        now_s += wait_s
        history, allowed = restart(history, Intensity(limit, window_s), now_s)
        within = [at_s for at_s in restarted if at_s > now_s - window_s]
        assert allowed == (len(within) < limit)
        assert len(history.at_s) <= limit
        restarted += [now_s] * allowed

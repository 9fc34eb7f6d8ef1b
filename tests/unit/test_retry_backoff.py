"""How long to wait before the next attempt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.options import ATTEMPTS_MAX, DELAY_MAX_S
from callboard.core.records import Backoff
from callboard.core.retry import backoff


def test_constant_by_default():
    assert [backoff(Backoff(60), attempt, 0.7) for attempt in (1, 2, 9)] == [60, 60, 60]


def test_the_exponential_case_is_a_power_of_two_of_the_attempt_less_one():
    assert [backoff(Backoff(1, 2.0), attempt, 0.0) for attempt in range(1, 8)] == [2 ** (n - 1) for n in range(1, 8)]


def test_the_cap_holds():
    assert [backoff(Backoff(10, 3.0, cap_s=100), attempt, 0) for attempt in (1, 2, 3, 4)] == [10, 30, 90, 100]


@pytest.mark.parametrize(("draw", "expected"), [(0.0, 100.0), (0.5, 75.0), (1.0, 50.0)])
def test_jitter_is_drawn_downwards(draw, expected):
    assert backoff(Backoff(100, jitter=0.5), 1, draw) == expected


def test_no_wait_at_a_base_of_zero():
    assert backoff(Backoff(0, 2.0), 5, 0.5) == 0


@given(
    st.builds(Backoff, st.floats(0, DELAY_MAX_S), st.floats(1, 100), st.floats(0, DELAY_MAX_S * 2), st.floats(0, 1)),
    st.integers(1, ATTEMPTS_MAX), st.floats(0, 0.999),
)
def test_within_bounds_never_overflows_never_shrinks_with_the_attempt(policy, attempt, draw):
    delay_s = backoff(policy, attempt, draw)
    assert 0 <= delay_s <= min(policy.cap_s, DELAY_MAX_S)
    assert backoff(policy, attempt + 1, draw) >= delay_s
    assert delay_s >= backoff(policy, attempt, 0.0) * (1 - policy.jitter) - 1e-9

"""Sharing out by counts keeps the levels even."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callboard.core.waterfill import fill

vessels = st.lists(
    st.tuples(st.integers(1, 50), st.floats(0, 20), st.integers(0, 60)), min_size=1, max_size=12
)


@given(st.integers(0, 400), vessels)
def test_all_is_shared_within_the_limits_and_evenly(amount, given_vessels):
    rates, levels, limits = zip(*given_vessels, strict=True)
    shares = fill(amount, rates, levels, limits)
    assert sum(shares) == min(amount, sum(limits))
    assert all(0 <= share <= limit for share, limit in zip(shares, limits, strict=True))
    after = [level + share / rate for rate, level, share in zip(rates, levels, shares, strict=True)]
    roomy = [i for i, share in enumerate(shares) if share < limits[i]]
    for i, share in enumerate(shares):
        if share:
            before_last = after[i] - 1 / rates[i]
            assert all(before_last <= after[j] + 1 / rates[j] + 1e-9 for j in roomy)


def test_ties_go_to_the_first():
    assert fill(2, [1, 1, 1], [0.0, 0.0, 0.0], [5, 5, 5]) == [1, 1, 0]


def test_by_size_and_level():
    assert fill(9, [1, 2, 3], [0.0, 0.0, 0.0], [9, 9, 9]) == [2, 3, 4]
    assert fill(3, [1, 1], [5.0, 0.0], [9, 9]) == [0, 3]
    assert fill(99, [1, 1], [5.0, 0.0], [4, 3]) == [4, 3]

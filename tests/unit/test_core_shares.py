"""Slots divided among nodes: none lost, none invented, as even as it goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callboard.core.shares import shares


@given(st.integers(0, 10_000), st.lists(st.text(max_size=5), min_size=1, max_size=50))
def test_the_shares_add_up_and_differ_by_one_at_most(total, names):
    found = shares(total, names)
    assert set(found) == set(names)
    assert sum(found.values()) == total
    assert max(found.values()) - min(found.values()) <= 1
    assert list(found.values()) == sorted(found.values(), reverse=True)  # the first by name get the remainder


def test_nobody_gets_nothing():
    assert shares(5, []) == {}

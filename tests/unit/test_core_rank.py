"""The order within a queue: strict priority, or waiting against priority."""

from hypothesis import given
from hypothesis import strategies as st

from callboard.core.options import DELAY_MAX_S
from callboard.core.rank import AGING_STRICT_S, rank

NOW_MS = 1_700_000_000_000
PRIORITIES = st.integers(-100, 100)
DUES = st.integers(NOW_MS, NOW_MS + int(DELAY_MAX_S * 1_000))


@given(PRIORITIES, DUES, PRIORITIES, DUES)
def test_by_default_a_higher_priority_goes_first_whatever_it_waited(one, one_due_ms, two, two_due_ms):
    if one > two:
        assert rank(one, one_due_ms) < rank(two, two_due_ms)
    elif one == two:
        assert (rank(one, one_due_ms) < rank(two, two_due_ms)) == (one_due_ms < two_due_ms)


@given(PRIORITIES, DUES, st.floats(0, AGING_STRICT_S))
def test_it_fits_into_64_bits(priority, due_ms, aging_s):
    assert abs(rank(priority, due_ms, aging_s)) < 1 << 62


def test_a_step_of_priority_is_worth_the_aging():
    assert rank(1, NOW_MS + 59_999, 60) < rank(0, NOW_MS, 60)
    assert rank(1, NOW_MS + 60_000, 60) == rank(0, NOW_MS, 60)
    assert rank(1, NOW_MS + 60_001, 60) > rank(0, NOW_MS, 60)


def test_without_aging_it_is_first_come_first_served():
    assert rank(100, NOW_MS + 1, 0) > rank(-100, NOW_MS, 0)

"""What jobs are expected to take, and how many a pool asks for."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from callboard.core.prefetch import HELD_MAX, OVERHEAD_S, PREFETCH_MAX, Expectations


def test_a_name_that_never_ran_is_unknown_and_asks_for_nothing_ahead():
    fresh = Expectations()
    assert fresh.of("a") is None
    assert fresh.room(children=10, slots=10) == 0


def test_the_average_of_a_name_is_its_own():
    learned = Expectations()
    learned.add("fast", 10, 0.01)
    learned.add("slow", 1, 2.0)
    assert math.isclose(learned.of("fast"), 0.001)
    assert learned.of("slow") == 2.0


def test_a_name_that_turns_slow_is_believed_at_once_and_one_that_turns_fast_slowly():
    learned = Expectations()
    learned.add("a", 1, 0.001)
    learned.add("a", 1, 10.0)
    assert learned.of("a") > 1.0
    learned.add("a", 1, 0.001)
    assert learned.of("a") > 1.0
    for _ in range(100):
        learned.add("a", 1, 0.001)
    assert learned.of("a") < 0.01


def test_no_op_jobs_make_room_for_batches_but_within_bounds():
    learned = Expectations()
    learned.add("a", 1_000, 0.001)
    assert learned.of("a") == OVERHEAD_S
    assert 0.99 * HELD_MAX < learned.room(children=1, slots=1) <= HELD_MAX
    assert learned.room(children=10, slots=10) == PREFETCH_MAX
    assert learned.room(children=1, slots=10) == HELD_MAX  # ten threads in one child
    assert learned.room(children=0, slots=0) == 0


def test_jobs_of_a_millisecond_get_ten_ahead_for_each_slot():
    learned = Expectations()
    learned.add("a", 1, 0.001)
    assert learned.room(children=1, slots=1) == 10
    assert learned.room(children=4, slots=4) == 40


def test_long_jobs_get_none_ahead():
    learned = Expectations()
    learned.add("a", 1, 0.5)
    assert learned.room(children=4, slots=4) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 1_000), st.floats(allow_nan=True)), max_size=50))
def test_whatever_a_child_claims_the_room_stays_within_bounds(claims):
    learned = Expectations()
    for name, count, total_s in claims:
        learned.add(name, count, total_s)
    assert 0 <= learned.room(4, 4) <= PREFETCH_MAX
    for name in "abc":
        value = learned.of(name)
        assert value is None or value >= OVERHEAD_S

"""The store's clock: it follows what disciplines the wall clock, not what jumps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.storeclock import SMALL_S, STEADY_S, Anchor, drop_anchor, follow, holds, now_s

HOUR_S = 3_600.0
BOOT, WALL = 5_000.0, 1_700_000_000.0
ANCHOR = drop_anchor("boot", BOOT, WALL)


def at(anchor: Anchor, boot_s: float, wall_s: float) -> float:
    return now_s(anchor, "boot", boot_s, wall_s)


def test_it_counts_with_the_boot_clock():
    assert at(ANCHOR, BOOT, WALL) == WALL
    assert at(ANCHOR, BOOT + 10, WALL + 10) == WALL + 10


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_a_jump_of_the_wall_clock_moves_it_not(jump_s):
    assert at(ANCHOR, BOOT + 10, WALL + 10 + jump_s) == WALL + 10


def test_a_small_offset_is_followed_at_once():
    anchor = follow(ANCHOR, "boot", BOOT + 10, WALL + 10.5)
    assert at(anchor, BOOT + 20, 0.0) == WALL + 20.5


def test_a_step_is_followed_when_it_stood_long_enough():
    anchor = ANCHOR
    for second in range(0, int(STEADY_S) + 20, 10):
        boot_s = BOOT + 100 + second
        anchor = follow(anchor, "boot", boot_s, WALL + 100 + second + HOUR_S)
        expected = WALL + 100 + second + (HOUR_S if second >= STEADY_S else 0)
        assert at(anchor, boot_s, 0.0) == expected, second


def test_a_step_that_is_taken_back_is_never_followed():
    anchor = follow(ANCHOR, "boot", BOOT + 1, WALL + 1 + HOUR_S)
    assert anchor.step_s == HOUR_S
    anchor = follow(anchor, "boot", BOOT + STEADY_S, WALL + STEADY_S)
    assert anchor.step_s is None
    anchor = follow(anchor, "boot", BOOT + STEADY_S + 2, WALL + STEADY_S + 2 + HOUR_S)
    assert at(anchor, BOOT + STEADY_S + 2, 0.0) == WALL + STEADY_S + 2


def test_a_step_that_moves_starts_the_wait_again():
    anchor = follow(ANCHOR, "boot", BOOT, WALL + HOUR_S)
    anchor = follow(anchor, "boot", BOOT + STEADY_S / 2, WALL + STEADY_S / 2 + 2 * HOUR_S)
    anchor = follow(anchor, "boot", BOOT + STEADY_S, WALL + STEADY_S + 2 * HOUR_S)
    assert at(anchor, BOOT + STEADY_S, 0.0) == WALL + STEADY_S
    anchor = follow(anchor, "boot", BOOT + 1.5 * STEADY_S, WALL + 1.5 * STEADY_S + 2 * HOUR_S)
    assert at(anchor, BOOT + 1.5 * STEADY_S, 0.0) == WALL + 1.5 * STEADY_S + 2 * HOUR_S


def test_another_boot_starts_from_the_wall_clock():
    assert not holds(ANCHOR, "another", 3.0)
    assert now_s(ANCHOR, "another", 3.0, WALL + 500) == WALL + 500
    anchor = follow(ANCHOR, "another", 3.0, WALL + 500)
    assert anchor == Anchor("another", 3.0, WALL + 500)


def test_without_a_boot_id_a_boot_clock_that_went_back_is_another_boot():
    anchor = drop_anchor("", BOOT, WALL)
    assert holds(anchor, "", BOOT + 1)
    assert holds(anchor, "", BOOT - SMALL_S / 2), "read a moment before another process dropped the anchor"
    assert not holds(anchor, "", 3.0)


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(-2 * HOUR_S, 2 * HOUR_S)), max_size=50))
def test_between_two_looks_it_never_jumps_but_by_what_it_follows(looks):
    """Whatever the wall does: within 600 s of true time no step of more than SMALL_S is taken."""
    anchor, boot_s = ANCHOR, BOOT
    for passed_s, offset_s in looks:
        boot_s += passed_s
        before = at(anchor, boot_s, 0.0)
        stood_s = boot_s - anchor.step_since_s if anchor.step_s is not None else 0.0
        anchor = follow(anchor, "boot", boot_s, WALL + (boot_s - BOOT) + offset_s)
        step_s = abs(at(anchor, boot_s, 0.0) - before)
        assert step_s <= SMALL_S + 1e-6 or stood_s >= STEADY_S

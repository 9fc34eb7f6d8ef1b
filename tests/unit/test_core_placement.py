"""Which child gets which job."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callboard.core.placement import UNKNOWN, ChildLoad, Need, place
from callboard.core.prefetch import AHEAD_MAX_S, HELD_MAX

IDLE = ChildLoad(slots=1, held=0, ahead_s=0.0)
FAST = (1 / 1024, Need.ROOM)  # about a millisecond, and sums of it are exact
NEW = (UNKNOWN, Need.ROOM)
CAREFUL = (1 / 1024, Need.SLOT)
LOST = (1 / 1024, Need.CHILD)


def test_each_job_gets_a_free_slot_before_any_waits_behind_another():
    assert sorted(place([FAST] * 3, [IDLE, IDLE, IDLE])) == [0, 1, 2]


def test_without_a_free_slot_a_job_goes_behind_the_least_expected_work():
    busy = [ChildLoad(1, 1, 0.009), ChildLoad(1, 1, 0.002), ChildLoad(1, 1, 0.005)]
    assert place([FAST], busy) == [1]


def test_about_ten_milliseconds_of_work_wait_in_a_child_and_no_more():
    placed = place([FAST] * 100, [IDLE])
    assert len(placed) == 11  # the one that runs, and those that found at most 10 ms ahead of them


def test_fast_jobs_queue_up_to_the_bound():
    assert len(place([(0.000001, Need.ROOM)] * 5_000, [IDLE])) == HELD_MAX


def test_nothing_is_put_behind_a_job_of_an_unknown_name():
    assert place([NEW, FAST, FAST], [IDLE]) == [0]
    assert place([NEW, NEW, FAST], [IDLE, IDLE]) in ([0, 1], [1, 0])


def test_an_unknown_job_may_wait_behind_fast_ones():
    assert place([FAST, NEW, FAST], [IDLE]) == [0, 0]


def test_nothing_is_put_behind_a_job_that_was_lost():
    assert place([LOST, FAST], [IDLE]) == [0]
    assert place([LOST, FAST, FAST], [IDLE, ChildLoad(1, 1, 0.0)]) == [0, 1, 1]


def test_a_job_that_was_lost_waits_for_an_empty_child_and_holds_the_line():
    assert place([LOST, FAST], [ChildLoad(1, 1, 0.0)]) == []
    assert place([LOST, FAST], [ChildLoad(10, 1, 0.0)]) == []  # a thread child with nine free slots
    assert place([LOST, FAST], [ChildLoad(10, 0, 0.0)]) == [0]


def test_a_careful_job_waits_for_a_free_slot_and_nothing_waits_behind_it():
    assert place([CAREFUL, FAST], [ChildLoad(1, 1, 0.0)]) == []
    assert place([CAREFUL, FAST], [IDLE]) == [0]
    assert place([CAREFUL, FAST, FAST], [IDLE, ChildLoad(1, 1, 0.0)]) == [0, 1, 1]
    assert sorted(place([CAREFUL] * 3, [IDLE] * 2)) == [0, 1]


def test_a_careful_job_takes_one_of_many_slots_and_the_others_go_on():
    assert place([CAREFUL, FAST, CAREFUL, FAST], [ChildLoad(3, 0, 0.0)]) == [0, 0, 0]
    assert place([FAST, CAREFUL], [ChildLoad(1, 0, 0.0)]) == [0]


def test_a_child_with_several_slots_fills_them_first_whatever_runs():
    assert place([NEW] * 5, [ChildLoad(slots=4, held=0, ahead_s=0.0)]) == [0, 0, 0, 0]


def test_work_ahead_is_shared_by_the_slots_of_a_child():
    placed = place([FAST] * 1_000, [ChildLoad(slots=10, held=0, ahead_s=0.0)])
    assert 100 <= len(placed) <= 111


def test_without_children_everything_waits():
    assert place([FAST], []) == []
    assert place([FAST], [ChildLoad(0, 0, 0.0)]) == []


loads = st.lists(
    st.builds(
        lambda slots, held, ahead_s: ChildLoad(slots, held, ahead_s if held else 0.0),
        st.integers(0, 4), st.integers(0, 6), st.sampled_from([0.0, 0.004, 0.02, UNKNOWN]),
    ),
    max_size=5,
)
lines = st.lists(
    st.tuples(st.sampled_from([0.00001, 0.001, 0.02, 5.0, UNKNOWN]), st.sampled_from(Need)), max_size=60,
)


@given(lines, loads)
def test_every_placement_keeps_the_rules(line, children):
    held = [load.held for load in children]
    ahead = [load.ahead_s for load in children]
    closed = set()
    placed = place(line, children)
    assert len(placed) <= len(line)
    for (expected_s, need), at in zip(line, placed, strict=False):
        slots = children[at].slots
        assert slots > 0
        assert at not in closed
        if need is Need.CHILD:
            assert held[at] == 0
            closed.add(at)
        elif need is Need.SLOT:
            assert held[at] < slots
        else:
            assert held[at] < slots or ahead[at] <= AHEAD_MAX_S
            free = [n for n, load in enumerate(children) if n not in closed and held[n] < load.slots]
            assert held[at] < slots or not free
        held[at] += 1
        ahead[at] += UNKNOWN if need else expected_s / slots
    if len(placed) < len(line) and line[len(placed)][1] is not Need.CHILD:  # the next one really has no place
        patient = line[len(placed)][1] is Need.ROOM
        for at, load in enumerate(children):
            full = held[at] >= load.slots and (ahead[at] > AHEAD_MAX_S or not patient)
            assert at in closed or load.slots == 0 or full

"""Suspected nodes get nothing new; what is not known is no reason to suspect."""

from hypothesis import given
from hypothesis import strategies as st

from callboard.core.assignment import Credits, plan
from callboard.core.records import NodeInfo, PoolReport, PoolView, QueueShare, SessionView, Survey
from callboard.core.sessions import Reading, Watch, observe
from callboard.core.suspicion import absences, suspects, without

TTL_S = 4.0
LEADER = "b1"


def view(session, counter=7):
    pool = PoolView(PoolReport("q", (QueueShare("q"),), 2, 2), 0)
    return SessionView(session, NodeInfo(f"n{session}", f"b{session}"), counter, TTL_S, (pool,))


def watched(*looks):
    """A watch after looks at (instant, {session: counter})."""
    watch = Watch()
    for at_s, counters in looks:
        readings = {session: Reading(counter, TTL_S) for session, counter in counters.items()}
        watch, _ = observe(watch, readings, at_s, ok=True)
    return watch


def test_a_counter_that_stands_still_for_half_of_the_ttl_is_suspected_until_it_moves():
    early = watched((0.0, {1: 7}), (1.9, {1: 7}))
    assert suspects([view(1)], early, {}) == set()
    late = watched((0.0, {1: 7}), (1.0, {1: 7}), (2.0, {1: 7}))
    assert suspects([view(1)], late, {}) == {1}
    assert suspects([view(1, counter=8)], late, {}) == set()  # read since the last look


def test_a_session_that_the_watch_has_not_seen_is_not_suspected():
    assert suspects([view(1)], Watch(), {}) == set()


def test_a_node_that_is_no_member_is_suspected_until_its_counter_moves():
    absent = absences({}, [view(1), view(2)], {LEADER}, LEADER)
    assert suspects([view(1), view(2)], Watch(), absent) == {2}
    assert suspects([view(1), view(2, counter=8)], Watch(), absent) == set()


def test_one_that_beats_but_cannot_register_is_not_suspected_again():
    absent = absences({}, [view(2)], {LEADER}, LEADER)
    for counter in (8, 9, 10):
        absent = absences(absent, [view(2, counter)], {LEADER}, LEADER)
        assert suspects([view(2, counter)], Watch(), absent) == set()


def test_one_that_came_back_and_went_again_is_suspected_again():
    absent = absences({}, [view(2)], {LEADER}, LEADER)
    absent = absences(absent, [view(2, 8)], {LEADER, "b2"}, LEADER)
    assert suspects([view(2, 8)], Watch(), absent) == set()
    absent = absences(absent, [view(2, 8)], {LEADER}, LEADER)
    assert suspects([view(2, 8)], Watch(), absent) == {2}


def test_a_view_that_cannot_be_had_or_lacks_the_leader_suspects_nobody():
    before = absences({}, [view(2)], {LEADER}, LEADER)
    for members in (None, frozenset(), {"b3"}):
        assert suspects([view(2)], Watch(), absences(before, [view(2)], members, LEADER)) == set()


def test_suspected_sessions_get_no_job_and_the_others_get_theirs():
    survey = Survey((view(1), view(2)), {"q": 10})
    decided, _ = plan(without(survey, {2}), Credits(), max_batch=100)
    assert {(part.session, part.count) for part in decided.assignments} == {(1, 2)}
    assert without(survey, frozenset()) is survey


def test_where_all_are_suspected_nothing_is_decided():
    decided, _ = plan(without(Survey((view(1),), {"q": 10}), {1}), Credits(), max_batch=100)
    assert decided.empty


@given(st.lists(st.tuples(st.sampled_from([{LEADER}, {LEADER, "b2"}, None, frozenset()]), st.booleans()), max_size=30))
def test_whatever_membership_says_a_node_that_beats_is_free_of_suspicion_by_its_next_beat(looks):
    absent, counter = {}, 0
    for members, beats in looks:
        counter += beats
        absent = absences(absent, [view(2, counter)], members, LEADER)
    counter += 1
    assert suspects([view(2, counter)], Watch(), absent) == set()

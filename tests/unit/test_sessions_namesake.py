"""A node whose name is taken: it waits for a dead namesake's session however long, for a living one only so long."""

from callboard.core.sessions import wait_for

PATIENCE_S = 7.0


def looks(*seen):
    """Look again and again: (session, counter, when); the times at which it was found to live."""
    namesake, lived = None, []
    for session, counter, now_s in seen:
        namesake, lives = wait_for(namesake, session, counter, now_s, PATIENCE_S)
        lived += [now_s] if lives else []
    return lived


def test_a_dead_one_is_waited_for_whatever_time_it_takes():
    assert looks(*((4, 17, now_s) for now_s in range(1_000))) == []


def test_a_living_one_is_waited_for_as_long_as_the_patience_lasts():
    assert looks(*((4, now_s, now_s) for now_s in range(10))) == [8, 9]


def test_one_sign_of_life_is_enough_though_it_is_seen_late_or_early():
    assert looks((4, 17, 0.0), (4, 17, 6.0), (4, 17, 9.0), (4, 18, 9.5)) == [9.5]
    assert looks((4, 17, 0.0), (4, 18, 0.5), (4, 18, 7.0), (4, 18, 7.5)) == [7.5]


def test_another_nodes_session_in_its_place_is_a_sign_of_life():
    assert looks((4, 17, 0.0), (5, 17, 1.0), (5, 17, 8.0)) == [8.0]

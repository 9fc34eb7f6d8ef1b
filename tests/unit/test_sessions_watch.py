"""A session ends when the leader itself watched its counter stand still for the ttl."""

from hypothesis import given
from hypothesis import strategies as st

from callboard.core.sessions import Reading, Watch, observe

TTL_S = 5.0


def look(watch, now_s, counters, *, ok=True, took_s=0.0):
    readings = {session: Reading(counter, TTL_S) for session, counter in counters.items()}
    return observe(watch, readings, now_s, ok=ok, took_s=took_s)


def test_a_counter_that_stands_still_for_the_ttl_ends_its_session_and_one_that_moves_does_not():
    watch, ended = Watch(), ()
    for second in range(5):
        watch, ended = look(watch, float(second), {1: 7, 2: second})
        assert ended == ()
    watch, ended = look(watch, 5.0, {1: 7, 2: 5})
    assert ended == (1,)
    assert look(watch, 6.0, {1: 7, 2: 6})[1] == (1,)


def test_a_counter_that_moves_at_the_last_moment_starts_from_zero():
    watch = Watch()
    for at_s, counter in ((0, 7), (2, 7), (4, 7), (4.9, 8), (6, 8), (8, 8), (9.8, 8)):
        watch, ended = look(watch, float(at_s), {1: counter})
        assert ended == ()
    assert look(watch, 9.91, {1: 8})[1] == (1,)


def test_a_counter_that_goes_backwards_has_moved():
    watch, _ = look(Watch(), 0.0, {1: 7})
    watch, _ = look(watch, 2.0, {1: 7})
    watch, _ = look(watch, 4.0, {1: 3})
    assert look(watch, 6.0, {1: 3})[1] == ()


def test_an_outage_rescues_nobody():
    watch, _ = look(Watch(), 0.0, {1: 7})
    for second in range(1, 60):
        watch, ended = look(watch, float(second), {}, ok=False)
        assert ended == ()
    watch, ended = look(watch, 60.0, {1: 7})
    assert ended == ()
    watch, ended = look(watch, 61.0, {1: 7})
    assert ended == ()


def test_a_leader_that_was_paused_counts_the_pause_for_one_gap_only():
    watch, _ = look(Watch(gap_max_s=1.5), 0.0, {1: 7})
    watch, ended = look(watch, 1_000.0, {1: 7})
    assert ended == ()
    assert watch.seen[1].still_s == 1.5


def test_the_time_that_a_read_took_is_not_watched_time():
    watch, _ = look(Watch(), 0.0, {1: 7}, took_s=1.9)
    watch, _ = look(watch, 2.0, {1: 7})
    assert abs(watch.seen[1].still_s - 0.1) < 1e-9


def test_a_clock_that_goes_backwards_counts_for_nothing():
    watch, _ = look(Watch(), 10.0, {1: 7})
    watch, ended = look(watch, 3.0, {1: 7})
    assert (watch.seen[1].still_s, ended) == (0.0, ())


def test_a_new_term_starts_from_zero():
    watch = Watch()
    for second in range(5):
        watch, _ = look(watch, float(second), {1: 7})
    assert look(Watch(), 100.0, {1: 7})[1] == ()


def test_a_session_that_is_gone_is_forgotten_and_starts_anew_if_it_comes_back():
    watch, _ = look(Watch(), 0.0, {1: 7})
    watch, _ = look(watch, 2.0, {1: 7})
    watch, _ = look(watch, 3.0, {})
    assert watch.seen == {}
    watch, _ = look(watch, 4.0, {1: 7})
    assert watch.seen[1].still_s == 0.0


def test_each_session_has_its_own_ttl():
    readings = {1: Reading(7, 1.0), 2: Reading(7, 3.0)}
    watch, _ = observe(Watch(), readings, 0.0, ok=True)
    watch, ended = observe(watch, readings, 1.0, ok=True)
    assert ended == (1,)
    watch, _ = observe(watch, readings, 2.0, ok=True)
    assert observe(watch, readings, 3.0, ok=True)[1] == (1, 2)


looks = st.lists(
    st.tuples(
        st.floats(0.0, 4.0),  # until the next look
        st.floats(0.0, 1.0),  # how long it took
        st.booleans(),
        st.dictionaries(st.integers(1, 4), st.integers(0, 2), max_size=4),
    ),
    max_size=60,
)


@given(looks)
def test_an_ended_session_stood_still_for_its_ttl_of_truly_watched_time(looks):
    """Counts again, in another way: sum over neighbouring good looks since the counter last moved."""
    watch, now_s, history = Watch(), 0.0, []
    for wait_s, took_s, ok, counters in looks:
        now_s += wait_s
        watch, ended = look(watch, now_s, counters, ok=ok, took_s=took_s)
        history.append((now_s, now_s + took_s, ok, counters))
        now_s += took_s
        for session in counters if ok else ():
            stood_s, later = 0.0, history[-1]
            for earlier in reversed(history[:-1]):
                if earlier[2] and earlier[3].get(session) != counters[session]:
                    break
                if earlier[2] and later[2]:
                    stood_s += min(later[0] - earlier[1], watch.gap_max_s)
                later = earlier
            assert abs(watch.seen[session].still_s - stood_s) < 1e-6
            assert (session in ended) == (watch.seen[session].still_s >= TTL_S)
        assert ok or ended == ()


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=200), st.floats(0.1, 0.99))
def test_a_node_that_beats_within_its_ttl_is_never_ended(waits, share):
    watch, now_s, counter, beaten_s = Watch(), 0.0, 0, 0.0
    for wait_s in waits:
        now_s += wait_s
        while now_s - beaten_s >= TTL_S * share - 1.0:  # the counter may be seen a look late
            beaten_s += max(TTL_S * share - 1.0, 0.05)
            counter += 1
        watch, ended = look(watch, now_s, {1: counter})
        assert ended == ()

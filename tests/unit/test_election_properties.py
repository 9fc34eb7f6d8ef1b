"""What holds in the election's core for any events in any order, sensible or not."""

from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.core import election as el
from callboard.core.records import Term

TTL_S = 6.0
OWNER = "boot-1"

attempts = st.integers(0, 12)
terms = st.builds(
    Term, st.integers(1, 5), st.sampled_from([OWNER, OWNER, OWNER, "boot-2"]),
    st.sampled_from([TTL_S, TTL_S, 3.0, 0.0, float("nan")]), st.sampled_from(["a", "b"]),
)
events = st.one_of(
    st.just(el.Tick()),
    st.builds(el.CampaignWon, attempts, terms),
    st.builds(el.CampaignLost, attempts),
    st.builds(el.CampaignFailed, attempts, st.just("x")),
    st.builds(el.RenewOk, attempts),
    st.builds(el.RenewRefused, attempts),
    st.builds(el.RenewFailed, attempts, st.just("x")),
    st.builds(el.ResignEnded, attempts),
    st.just(el.LeadershipMayHaveChanged()),
    st.builds(el.DispatcherProgress, st.integers(0, 20)),
    st.builds(el.StoreRefusedTerm, st.integers(1, 5), st.just("x")),
)
# These stand for the answer to the last attempt (or, stale, to the one before), so that walks get anywhere.
fits = st.sampled_from(["win", "win", "renew", "resign", "progress", "stale win", "stale renew"])
move = st.tuples(st.one_of(fits, fits, events), st.floats(0, 2.0), st.floats(0, 0.999))
moves = st.lists(move, min_size=12, max_size=60)
many = settings(max_examples=300)


def fitting(name, state, number):
    attempt = state.attempt - name.startswith("stale")
    if name.endswith("win"):
        return el.CampaignWon(attempt, Term(number, OWNER, TTL_S, f"h{number}"))
    if name == "progress":
        return el.DispatcherProgress(state.progress + 1)
    return el.RenewOk(attempt) if name.endswith("renew") else el.ResignEnded(attempt)


def walk(moves, stop_at=None):
    """Carries out the moves; yields what each step was, did and left."""
    state, now_s = el.start(OWNER, TTL_S), 0.0
    for index, (move, wait_s, draw) in enumerate(moves):
        now_s += wait_s
        event = el.StopRequested() if index == stop_at else move
        if isinstance(event, str):
            event = fitting(event, state, 100 + index)
        before = state
        state, actions = el.step(state, event, now_s, draw)
        yield before, event, now_s, actions, state


@many
@given(moves)
def test_trust_is_never_longer_than_its_attempt_earned_and_never_in_the_past(moves):
    started = {}
    for _, event, now_s, actions, _ in walk(moves):
        for action in actions:
            if isinstance(action, el.Campaign | el.Renew):
                started[action.attempt] = now_s
            if isinstance(action, el.Lead | el.ExtendTrust):
                until_s = started[event.attempt] + action.term.ttl_s - el.margin_s(action.term.ttl_s)
                assert now_s < action.trusted_until_s
                assert action.trusted_until_s == until_s


@many
@given(moves)
def test_lead_and_step_down_alternate_and_nothing_is_extended_between_terms(moves):
    leading = None
    for _, _, now_s, actions, state in walk(moves):
        for action in actions:
            match action:
                case el.Lead(term, _):
                    assert leading is None
                    leading = term
                case el.ExtendTrust(term, _) | el.Renew(_, term):
                    assert leading == term
                case el.StepDown(term, _):
                    assert leading == term
                    leading = None
        assert state.term == leading
        assert (state.role is el.Role.LEADER) == (leading is not None)
        assert leading is None or now_s < state.trusted_until_s


@many
@given(moves)
def test_one_attempt_is_outstanding_at_a_time_and_numbers_only_grow(moves):
    last = 0
    for before, _, _, actions, state in walk(moves):
        asked = [action for action in actions if isinstance(action, el.Campaign | el.Renew | el.Resign)]
        for action in asked:
            assert action.attempt > last
            last = action.attempt
        if any(isinstance(action, el.Campaign | el.Renew) for action in asked):
            assert before.outstanding is None or before.outstanding != state.outstanding
            assert state.outstanding is not None


@many
@given(moves)
def test_every_term_that_was_won_is_led_or_resigned(moves):
    for before, event, _, actions, _ in walk(moves):
        if isinstance(event, el.CampaignWon):
            known = before.term is not None and before.term[0::3] == event.term[0::3]
            used = any(isinstance(action, el.Lead | el.Resign) and action.term == event.term for action in actions)
            assert used or known


@many
@given(moves, st.integers(0, 12))
def test_after_a_stop_nothing_is_begun_and_stopped_comes_once(moves, stop_at):
    stopping, stops = False, 0
    for _, event, _, actions, state in walk(moves, stop_at):
        stopping = stopping or isinstance(event, el.StopRequested)
        stops += sum(isinstance(action, el.Stopped) for action in actions)
        if stopping:
            assert not any(isinstance(action, el.Campaign | el.Renew | el.Lead | el.ExtendTrust) for action in actions)
            assert state.role is not el.Role.LEADER
            assert state.role is not el.Role.FOLLOWER
    assert stops <= 1


@many
@given(moves)
def test_something_always_wakes_a_core_that_waits(moves):
    """No state waits for a reply or a time without an alarm: else a lost reply would end elections for good."""
    for _, _, now_s, _, state in walk(moves):
        if state.role is not el.Role.STOPPED and not state.stalled:
            assert state.wake_at_s is not None
            assert state.wake_at_s <= now_s + 2 * TTL_S


@many
@given(moves, st.floats(0, 0.999))
def test_left_alone_with_a_quiet_backend_it_campaigns_again(moves, draw):
    state, now_s = el.start(OWNER, TTL_S), 0.0
    for _, _, now_s, _, state in walk(moves):  # noqa: B007 - only the last state counts
        pass
    state, actions = el.step(state, el.DispatcherProgress(1_000), now_s, draw)
    for _ in range(40):
        if any(isinstance(action, el.Campaign) for action in actions):
            return
        now_s = now_s if state.wake_at_s is None else max(now_s, state.wake_at_s)
        state, actions = el.step(state, el.Tick(), now_s, draw)
        state = state if state.progress > state.progress_used else el.step(
            state, el.DispatcherProgress(state.progress + 1), now_s, draw)[0]
    raise AssertionError(f"it never campaigned again: {state}")

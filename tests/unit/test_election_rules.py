"""Single rules of the election's core, each with the inputs that bring it about."""

import math

import pytest

from callboard.core import election as el
from callboard.core.errors import InvalidArgument
from callboard.core.records import Term

TTL_S = 10.0
OWNER = "boot-1"


def term(number=1, owner=OWNER, ttl_s=TTL_S):
    return Term(number, owner, ttl_s, f"handle-{number}")


def leader(*, progress=1):
    """A leader since 0 s, whose Dispatcher moved since."""
    state, _ = el.step(el.start(OWNER, TTL_S), el.Tick(), 0.0)
    state, actions = el.step(state, el.CampaignWon(1, term()), 0.1)
    assert el.Lead(term(), 9.0) in actions
    return el.step(state, el.DispatcherProgress(progress), 0.2)[0]


def kinds(actions):
    return [type(action).__name__ for action in actions]


@pytest.mark.parametrize(("ttl_s", "margin"), [(0.5, 0.1), (1.99, 0.398), (2.0, 0.5), (5.0, 0.5), (10.0, 1.0), (60, 6)])
def test_the_margin_is_a_tenth_but_half_a_second_at_least_and_a_fifth_below_two_seconds(ttl_s, margin):
    assert el.margin_s(ttl_s) == pytest.approx(margin)


@pytest.mark.parametrize("ttl_s", [0, -1, 0.01, math.nan, math.inf, 1e9])
def test_a_ttl_out_of_range_is_refused(ttl_s):
    with pytest.raises(InvalidArgument):
        el.start(OWNER, ttl_s)


def test_trust_counts_from_the_attempts_start_and_by_the_granted_ttl():
    state, _ = el.step(el.start(OWNER, TTL_S), el.Tick(), 100.0)
    _, actions = el.step(state, el.CampaignWon(1, term(ttl_s=4.0)), 103.0)
    assert el.Lead(term(ttl_s=4.0), 103.5) in actions


def test_a_win_that_comes_when_its_trust_is_over_is_resigned_and_never_used():
    state, _ = el.step(el.start(OWNER, TTL_S), el.Tick(), 0.0)
    state, actions = el.step(state, el.CampaignWon(1, term()), 9.0)
    assert kinds(actions)[0] == "Resign"
    assert state.role is el.Role.RESIGNING


@pytest.mark.parametrize("ttl_s", [math.nan, math.inf, -5.0, 0.0])
def test_a_granted_ttl_that_is_no_duration_is_not_trusted(ttl_s):
    state, _ = el.step(el.start(OWNER, TTL_S), el.Tick(), 0.0)
    _, actions = el.step(state, el.CampaignWon(1, term(ttl_s=ttl_s)), 0.1)
    assert "Lead" not in kinds(actions)


def test_a_term_of_another_owner_is_not_led():
    state, _ = el.step(el.start(OWNER, TTL_S), el.Tick(), 0.0)
    _, actions = el.step(state, el.CampaignWon(1, term(owner="boot-2")), 0.1)
    assert "Lead" not in kinds(actions)


def test_a_stalled_dispatcher_is_not_renewed_loses_leadership_and_does_not_campaign_until_it_moves():
    state = leader(progress=0)
    state, actions = el.step(state, el.Tick(), 4.0)
    assert "Renew" not in kinds(actions)
    state, actions = el.step(state, el.Tick(), 9.0)
    assert actions[0] == el.StepDown(term(), "the dispatcher stands still")
    assert actions[1] == el.Resign(2, term())
    state, _ = el.step(state, el.ResignEnded(2), 9.1)
    for at_s in (20.0, 40.0):
        state, actions = el.step(state, el.LeadershipMayHaveChanged(), at_s)
        assert kinds(actions) == []
    state, actions = el.step(state, el.DispatcherProgress(1), 41.0)
    assert kinds(actions)[0] == "Campaign"


def test_progress_that_comes_late_starts_the_renewal_that_is_due():
    state = leader(progress=0)
    state, _ = el.step(state, el.Tick(), 5.0)
    _, actions = el.step(state, el.DispatcherProgress(7), 6.0)
    assert el.Renew(2, term()) in actions


def test_a_renewal_needs_progress_since_the_one_before():
    state = leader(progress=1)
    state, actions = el.step(state, el.Tick(), 4.0)
    assert el.Renew(2, term()) in actions
    state, _ = el.step(state, el.RenewOk(2), 4.1)
    state, actions = el.step(state, el.Tick(), 9.0)
    assert "Renew" not in kinds(actions)


def test_a_failed_renewal_adds_no_trust_and_is_tried_again_before_the_trust_is_over():
    state = leader()
    state, _ = el.step(state, el.Tick(), 4.0)
    state, actions = el.step(state, el.RenewFailed(2, "timeout"), 6.0)
    assert kinds(actions) == ["WakeAt"]
    state, actions = el.step(state, el.Tick(), 7.0)
    assert el.Renew(3, term()) in actions
    state, actions = el.step(state, el.RenewFailed(3, "timeout"), 9.5)
    assert kinds(actions)[:2] == ["StepDown", "Resign"]


def test_the_answer_to_a_renewal_that_comes_after_the_trust_is_over_changes_nothing():
    state = leader()
    state, _ = el.step(state, el.Tick(), 4.0)
    state, actions = el.step(state, el.RenewOk(2), 9.0)
    assert kinds(actions)[:2] == ["StepDown", "Resign"]
    assert state.term is None


def test_a_refused_renewal_steps_down_at_once_and_has_nothing_to_resign():
    state = leader()
    state, _ = el.step(state, el.Tick(), 4.0)
    state, actions = el.step(state, el.RenewRefused(2), 4.1)
    assert kinds(actions)[0] == "StepDown"
    assert "Resign" not in kinds(actions)
    assert state.role is el.Role.FOLLOWER


def test_replies_of_other_attempts_change_nothing():
    state = leader()
    for event in (el.RenewOk(9), el.RenewRefused(9), el.RenewFailed(9, ""), el.ResignEnded(9), el.CampaignLost(1)):
        after, actions = el.step(state, event, 0.3)
        assert after == state
        assert actions == ()


def test_a_win_delivered_twice_does_not_resign_the_term_that_is_led():
    _, actions = el.step(leader(), el.CampaignWon(1, term()), 0.3)
    assert actions == ()


def test_a_win_of_an_attempt_that_was_given_up_is_resigned():
    state, _ = el.step(el.start(OWNER, TTL_S), el.Tick(), 0.0)
    state, _ = el.step(state, el.Tick(), 10.0)
    assert state.role is el.Role.FOLLOWER
    after, actions = el.step(state, el.CampaignWon(1, term()), 10.1)
    assert actions[0] == el.Resign(2, term())
    assert after.role is el.Role.FOLLOWER


def test_a_later_term_that_the_leader_did_not_wait_for_deposes_it():
    state = leader()
    state, actions = el.step(state, el.CampaignWon(77, term(2)), 0.3)
    assert kinds(actions)[:2] == ["StepDown", "Resign"]
    assert state.term is None


def test_the_store_refusing_the_term_in_force_steps_down_and_hints_do_not_shorten_the_wait():
    state = leader()
    state, actions = el.step(state, el.StoreRefusedTerm(1, "older"), 0.3)
    assert kinds(actions)[:2] == ["StepDown", "Resign"]
    state, _ = el.step(state, el.ResignEnded(2), 0.4)
    state, _ = el.step(state, el.LeadershipMayHaveChanged(), 0.5)
    state, actions = el.step(state, el.Tick(), 5.0, 0.0)
    assert "Campaign" not in kinds(actions)
    _, actions = el.step(state, el.Tick(), 10.4)
    assert "Campaign" in kinds(actions)


def test_the_store_refusing_an_older_term_changes_nothing():
    state = leader()
    assert el.step(state, el.StoreRefusedTerm(0, "old news"), 0.3) == (state, ())


def test_a_stopping_leader_steps_down_first_then_resigns_exactly_its_term_then_is_done():
    state, actions = el.step(leader(), el.StopRequested(), 1.0)
    assert actions[:2] == (el.StepDown(term(), "the node is stopping"), el.Resign(2, term()))
    state, actions = el.step(state, el.ResignEnded(2), 1.1)
    assert actions == (el.Stopped(),)
    assert state.role is el.Role.STOPPED


def test_a_stopping_node_whose_resignation_is_never_answered_stops_when_the_term_must_have_ended():
    state, _ = el.step(leader(), el.StopRequested(), 1.0)
    assert state.wake_at_s == 11.0
    _, actions = el.step(state, el.Tick(), 11.0)
    assert actions == (el.Stopped(),)


def test_a_stopping_candidate_resigns_what_it_wins():
    state, _ = el.step(el.start(OWNER, TTL_S), el.Tick(), 0.0)
    state, actions = el.step(state, el.StopRequested(), 0.1)
    assert actions == ()
    state, actions = el.step(state, el.CampaignWon(1, term()), 0.2)
    assert actions[0] == el.Resign(2, term())
    assert el.step(state, el.ResignEnded(2), 0.3)[1] == (el.Stopped(),)


def test_a_stopped_node_resigns_a_win_that_comes_after_all():
    state, _ = el.step(el.start(OWNER, TTL_S), el.StopRequested(), 0.0)
    assert state.role is el.Role.STOPPED
    assert el.step(state, el.CampaignWon(3, term()), 5.0)[1] == (el.Resign(1, term()),)
    assert el.step(state, el.LeadershipMayHaveChanged(), 6.0)[1] == ()


def test_a_hint_during_a_campaign_brings_the_next_one_at_once():
    state, _ = el.step(el.start(OWNER, TTL_S), el.Tick(), 0.0)
    state, _ = el.step(state, el.LeadershipMayHaveChanged(), 0.01)
    state, _ = el.step(state, el.CampaignLost(1), 0.02)
    _, actions = el.step(state, el.Tick(), 0.11)
    assert "Campaign" in kinds(actions)


def test_a_storm_of_hints_brings_no_storm_of_campaigns():
    state = el.start(OWNER, TTL_S)
    campaigns = 0
    for tick in range(1_000):
        at_s = tick / 1_000
        state, actions = el.step(state, el.LeadershipMayHaveChanged(), at_s, 0.0)
        for action in actions:
            if isinstance(action, el.Campaign):
                campaigns += 1
                state, _ = el.step(state, el.CampaignLost(action.attempt), at_s, 0.0)
    assert campaigns <= 11


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_a_follower_asks_again_within_a_second(draw):
    state, _ = el.step(el.start(OWNER, 60.0), el.Tick(), 0.0, draw)
    state, actions = el.step(state, el.CampaignLost(1), 0.0, draw)
    wake = actions[-1]
    assert isinstance(wake, el.WakeAt)
    assert 0.5 <= wake.at_s <= 1.0

"""Rules of a job store, each with the conformance test that must fail where the rule is broken.

A store's own tests plant the bugs: `test_store_mutants_<store>.py` has a dict from a rule's name to what plants it, and
hands it to `pairs` and `expect_caught`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest
import test_store_adopt as adopting
import test_store_assign as assigning
import test_store_await as awaiting
import test_store_bells as bells
import test_store_expiry as expiring
import test_store_finish as finishing
import test_store_history as history
import test_store_limits as limits
import test_store_losses as losses
import test_store_marks as marks
import test_store_once as once
import test_store_operators as operators
import test_store_progress as progress
import test_store_push as pushing
import test_store_results as results
import test_store_sessions as sessions
import test_store_take as taking
import test_store_terms as terms
import test_store_unique as unique
from storekit import Rig
from storeplaces import PLACES, rigs

from callboard.core.errors import QueueError
from callboard.core.records import OutcomeKind

if TYPE_CHECKING:
    from pathlib import Path

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
Check = Callable[[Rig], None]

LOST_BELL_S = 2.0
"""How long a bell is waited for that a bug silences."""

RULES: dict[str, Check] = {
    "finish matches the token, not the id alone": finishing.check_a_token_of_an_older_run_is_stale,
    "an old epoch may not assign": partial(terms.test_a_deposed_leader_is_refused, act="assign"),
    "an old epoch may not end a session": partial(terms.test_a_deposed_leader_is_refused, act="end_session"),
    "an epoch of another owner may not act": partial(terms.test_an_epoch_of_another_owner_is_refused, act="assign"),
    "no token is used again": finishing.check_a_token_is_dead_after_hand_back,
    "tokens grow": assigning.test_each_token_is_higher_than_any_before,
    "a unique key is held by one job": pushing.check_unique_key_is_held_by_one_job,
    "losses are counted": losses.check_losses_are_counted_and_bounded,
    "after two losses a job is isolated": losses.test_after_two_losses_a_job_is_isolated,
    "a pool's capacity holds": assigning.test_capacity_is_never_exceeded,
    "a session that has ended gets nothing": assigning.test_an_ended_session_gets_nothing,
    "the end of a session releases its rows": partial(sessions.test_an_end_releases_rows_in_the_same_act, own=False),
    "a lost reply of take heals": taking.test_a_lost_reply_heals_itself,
    "a purged id is remembered": pushing.test_a_purged_id_is_remembered,
    "the leader that waits is rung": bells.test_a_push_rings_only_after_an_assign_found_nothing,
    "an operator's retry compares the token": operators.test_retry_of_a_job_that_ran_again_is_a_conflict,
    "what never began is not charged": partial(marks.check_what_never_began_is_not_charged, how="by the leader"),
    "what never began is not charged when a node closes": partial(marks.check_what_never_began_is_not_charged,
                                                                  how="its own"),
    "a doubt makes careful": marks.check_a_doubt_is_told_and_makes_careful,
    "a careful job without a mark has not begun": partial(marks.check_a_careful_job_without_a_mark_has_not_begun,
                                                          how="by the leader"),
    "a mark needs the token": marks.check_a_mark_of_an_older_run_is_refused,
    "the first mark stays": marks.test_a_mark_is_an_instant_and_the_first_one_stays,
    "a new run is not marked": marks.test_a_new_run_is_not_marked_by_the_one_before,
    "once is not started again after a loss": once.check_once_fails_when_it_is_lost,
    "once is not tried again": partial(once.check_once_does_not_run_again, kind=OutcomeKind.RETRY),
    "once does not snooze": partial(once.check_once_does_not_run_again, kind=OutcomeKind.SNOOZED),
    "a stale finish leaves no result": results.check_the_result_of_a_stale_finish_is_not_kept,
    "the first result stays": results.check_the_same_finish_again_keeps_the_first_result,
    "a result ends": results.check_a_result_ends_with_its_time,
    "stale progress is dropped": progress.check_a_stale_report_is_dropped,
    "who waits for an end is rung": partial(awaiting.check_each_end_rings, how="completed"),
    "who waits for an end is rung when the job expires": partial(awaiting.check_each_end_rings, how="expired before"),
    "until started is free once taken": unique.check_it_is_free_once_it_was_taken,
    "a period ends": unique.check_it_is_held_for_its_period,
    "a period outlives its job": partial(unique.test_its_period_outlives_its_job, end=unique.purge),
    "an expired job is not assigned": expiring.check_an_expired_job_is_not_assigned,
    "an expired job is not taken by the leader's node": partial(expiring.check_an_expired_job_is_not_assigned,
                                                                take_for=True),
    "what waits expires": expiring.check_promote_expires_what_waits,
    "failed() never expires": partial(expiring.test_a_failed_step_never_expires, snoozed_s=0.0),
    "a queue's depth holds": limits.check_a_push_beyond_the_depth_is_refused_whole,
    "a retry is not refused for depth": partial(limits.test_what_runs_again_is_never_refused, kind=OutcomeKind.RETRY,
                                                delay_s=0.0),
    "a queue's aging counts": limits.test_waiting_makes_up_for_priority,
    "a run is told": partial(history.check_a_run_is_told_as_it_ended, kind=OutcomeKind.RETRY),
    "an operator's retry is told": history.check_an_operators_retry_is_told,
    "the last run stays on the row": partial(history.test_the_last_run_stays_when_it_has_ended,
                                             kind=OutcomeKind.COMPLETED),
    "the old cluster is out": adopting.check_the_old_cluster_is_out,
}


def pairs(planted: dict[str, list[Plant]]) -> pytest.MarkDecorator:
    """Parameters `rule` and `plant` of a test, one for each bug that is planted against a rule."""
    every = [(rule, plant) for rule, plants in planted.items() for plant in plants]
    return pytest.mark.parametrize(("rule", "plant"), every, ids=[f"{plant.__name__}-{rule}" for rule, plant in every])


def expect_caught(place: str, rule: str, plant: Plant, folder: Path, patch: Patch) -> None:
    """The rule's test passes on the store as it is, and fails with the bug in it."""
    check = RULES[rule]
    with ExitStack() as cleanup:
        check(rigs(PLACES[place], folder, cleanup))
        plant(patch)
        patch.setattr(bells, "WAIT_S", LOST_BELL_S)
        with pytest.raises((AssertionError, pytest.fail.Exception, QueueError, ValueError)):
            check(rigs(PLACES[place], folder, cleanup))

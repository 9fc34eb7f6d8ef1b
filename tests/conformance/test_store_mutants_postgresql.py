"""The suite sees the bugs that the PostgreSQL store could have: each is planted in its statements, and fails a test."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import test_store_concurrent as concurrent
import test_store_finish as finishing
import test_store_races as races
import test_store_take as taking
import test_store_terms as terms
import test_store_unique as unique
from sqlmutants import (
    Check,
    Mutant,
    Patch,
    check_jobs_are_taken_by_rank,
    check_name,
    edit,
    later_at_once,
    leader_looks_once,
    look_then_act,
    match_by_id_only,
    no_epoch_check,
    the_ended_session_takes,
)
from storeplaces import postgresql_place, rigs

from callboard.backends.store.sql.postgresql.connection import Link
from callboard.backends.store.sql.postgresql.dialect import postgresql_dialect
from callboard.core.errors import QueueError

if TYPE_CHECKING:
    from pathlib import Path


edited = partial(edit, postgresql_dialect())


def fence_read_without_a_lock(patch: Patch) -> None:
    """A plain read at READ COMMITTED lets a deposed leader in."""
    edited("store.row_share", "FOR SHARE", "", patch)


def fence_read_in_a_transaction_of_its_own(patch: Patch) -> None:
    """Look who leads, then act."""
    edited("store.row_share", "FOR SHARE", "", patch)
    look_then_act(patch)


def term_begun_without_a_lock(patch: Patch) -> None:
    """Who takes over does not wait for the act that is under way, nor does it keep others from beginning one."""
    edited("store.row_update", "FOR UPDATE", "", patch)
    edited("store.row_share", "FOR SHARE", "", patch)


def assigned_without_skip_locked(patch: Patch) -> None:
    """An assign waits for whoever changes one of the jobs."""
    edited("leader.give_n", "FOR UPDATE SKIP LOCKED", "FOR UPDATE", patch)


def assigned_without_a_lock(patch: Patch) -> None:
    """What two see as ready goes to two."""
    edited("leader.give_n", "FOR UPDATE SKIP LOCKED", "", patch)
    edited("leader.lock_sessions", "FOR NO KEY UPDATE", "", patch)


def sessions_not_locked(patch: Patch) -> None:
    """An assign does not keep its sessions."""
    edited("leader.lock_sessions", "FOR NO KEY UPDATE", "", patch)


def queues_not_locked(patch: Patch) -> None:
    """An assign does not keep its queues from being paused."""
    edited("leader.lock_queues", "FOR KEY SHARE", "", patch)


def token_reused(patch: Patch) -> None:
    """A job that was handed back gets its old token again."""
    edited("leader.give_n", "seq = numbered.seq", "seq = coalesce(j.seq, numbered.seq)", patch)


def tokens_not_drawn_in_the_jobs_order(patch: Patch) -> None:
    """Tokens come as the rows come."""
    edited("leader.give_n", "nextval('callboard_tokens') AS seq FROM chosen",
           "nextval('callboard_tokens') AS seq FROM (SELECT n FROM chosen ORDER BY n DESC) AS reversed", patch)


def keys_looked_at_before(patch: Patch) -> None:
    """Look whether the key is free, then write: nothing decides between two who looked at once."""
    edited("producer.take_key", "ON CONFLICT", "--", patch)
    statements: Any = postgresql_dialect().statements
    patch.setitem(statements, "producer.take_key",
                  "WITH free AS ("
                  "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM callboard_keys WHERE unique_key = $1::text)), "
                  "noted AS (INSERT INTO callboard_keys SELECT $1 || $2, $2, $3::bigint FROM free RETURNING 1) "
                  "SELECT 1 FROM noted WHERE $4::bigint > 0")


def finish_without_a_lock(patch: Patch) -> None:
    """Rows are read, and written later."""
    edited("changes.rows_by_n", "FOR UPDATE", "", patch)


def depth_not_serialised(patch: Patch) -> None:
    """Two pushes look at the depth at once."""
    edited("producer.lock_queues", "FOR NO KEY UPDATE", "", patch)


def rung_before_the_commit(patch: Patch) -> None:
    """Whether the leader waits is looked up within the transaction."""
    later_at_once(Link, patch)


CAUGHT: list[tuple[Mutant, Check]] = [
    (fence_read_without_a_lock, concurrent.check_no_term_begins_within_a_leaders_act),
    (fence_read_in_a_transaction_of_its_own, concurrent.check_no_term_begins_within_a_leaders_act),
    (term_begun_without_a_lock, concurrent.check_an_act_that_waited_for_a_new_term_is_refused),
    (no_epoch_check, partial(terms.test_a_deposed_leader_is_refused, act="assign")),
    (no_epoch_check, concurrent.check_an_act_that_waited_for_a_new_term_is_refused),
    (match_by_id_only, finishing.check_a_token_of_an_older_run_is_stale),
    (assigned_without_skip_locked, concurrent.check_an_assign_passes_by_what_others_change),
    (assigned_without_a_lock, concurrent.check_two_assigns_do_not_exceed_the_capacity),
    (sessions_not_locked, concurrent.check_two_assigns_do_not_exceed_the_capacity),
    (queues_not_locked, concurrent.check_nothing_is_assigned_from_a_queue_that_is_paused_meanwhile),
    (token_reused, finishing.check_a_token_is_dead_after_hand_back),
    (tokens_not_drawn_in_the_jobs_order, check_jobs_are_taken_by_rank),
    (keys_looked_at_before, concurrent.check_a_push_waits_for_the_key_that_another_is_taking),
    (keys_looked_at_before, unique.check_it_is_held_for_its_period),
    (rung_before_the_commit, concurrent.check_a_leader_that_begins_to_wait_within_a_push_is_rung),
    (leader_looks_once, concurrent.check_a_push_within_the_leaders_look_rings_it),
    (the_ended_session_takes, partial(taking.test_an_ended_session_takes_nothing, how="ended")),
]
"""What is planted, and what must fail."""


@pytest.mark.parametrize(("plant", "check"), CAUGHT,
                         ids=[f"{plant.__name__}-{check_name(check)}" for plant, check in CAUGHT])
def test_a_planted_bug_fails_its_test(plant: Mutant, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with ExitStack() as cleanup:
        check(rigs(postgresql_place, tmp_path, cleanup))  # green before
        plant(monkeypatch)
        with pytest.raises((AssertionError, pytest.fail.Exception, QueueError)):
            check(rigs(postgresql_place, tmp_path, cleanup))


RACED = [
    (finish_without_a_lock, races.test_the_same_finish_from_two_threads),
    (depth_not_serialised, races.test_pushes_into_a_limited_queue_do_not_exceed_it_together),
]


@pytest.mark.parametrize(("plant", "race"), RACED, ids=[plant.__name__ for plant, _ in RACED])
def test_a_planted_bug_loses_a_race(plant: Mutant, race: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with ExitStack() as cleanup:
        rig = rigs(postgresql_place, tmp_path, cleanup)
        plant(monkeypatch)
        other = rig.another()
        with pytest.raises((AssertionError, pytest.fail.Exception, QueueError)):
            race([(number, rig, other) for number in range(200)])

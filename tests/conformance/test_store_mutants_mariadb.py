"""The suite sees the bugs that the MariaDB store could have: each is planted in its statements, and fails a test."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import test_store_bells as bells
import test_store_concurrent as concurrent
import test_store_expiry as expiry
import test_store_finish as finishing
import test_store_losses as losses
import test_store_races as races
import test_store_take as taking
import test_store_terms as terms
import test_store_unique as unique
from mutantkit import LOST_BELL_S
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
from storeplaces import mariadb_place, rigs

from callboard.backends.store.sql import producer
from callboard.backends.store.sql.mariadb import dialect as dialects
from callboard.backends.store.sql.mariadb.bells import MariadbBells
from callboard.backends.store.sql.mariadb.connection import MariadbConnection
from callboard.backends.store.sql.mariadb.dialect import mariadb_dialect
from callboard.backends.store.sql.mariadb.literals import Listed
from callboard.backends.store.sql.tx import Tx
from callboard.core.errors import QueueError

if TYPE_CHECKING:
    from pathlib import Path

    from storekit import Rig


edited = partial(edit, mariadb_dialect())


def fence_read_without_a_lock(patch: Patch) -> None:
    """A plain read at READ COMMITTED lets a deposed leader in."""
    edited("store.row_share", "LOCK IN SHARE MODE", "", patch)


def fence_read_in_a_transaction_of_its_own(patch: Patch) -> None:
    """Look who leads, then act."""
    edited("store.row_share", "LOCK IN SHARE MODE", "", patch)
    look_then_act(patch)


def term_begun_without_a_lock(patch: Patch) -> None:
    """Who takes over does not wait for the act that is under way, nor does it keep others from beginning one."""
    edited("store.row_update", "FOR UPDATE", "", patch)
    edited("store.row_share", "LOCK IN SHARE MODE", "", patch)


def no_owner_check(patch: Patch) -> None:
    """Numbers alone decide."""
    fenced = Tx.fenced
    patch.setattr(Tx, "fenced", lambda self, epoch: fenced(self, epoch._replace(owner=self.row.owner)))


def assigned_without_skip_locked(patch: Patch) -> None:
    """An assign waits for whoever changes one of the jobs."""
    edited("leader.next_n", "FOR UPDATE SKIP LOCKED", "FOR UPDATE", patch)


def assigned_without_a_lock(patch: Patch) -> None:
    """What two see as ready goes to two."""
    edited("leader.next_n", "FOR UPDATE SKIP LOCKED", "", patch)
    edited("leader.lock_sessions", "FOR UPDATE", "", patch)
    edited("leader.lock_queues", "FOR UPDATE", "", patch)


def sessions_not_locked(patch: Patch) -> None:
    """An assign does not keep its sessions."""
    edited("leader.lock_sessions", "FOR UPDATE", "", patch)
    edited("leader.lock_queues", "FOR UPDATE", "", patch)


def token_reused(patch: Patch) -> None:
    """A job that was handed back gets its old token again."""
    edited("leader.give", "seq = last_insert_id() + field", "seq = IF(seq IS NULL, 0, -1) + last_insert_id() + field",
           patch)


def tokens_not_kept(patch: Patch) -> None:
    """Tokens are counted anew in each assign."""
    edited("leader.give", "last_insert_id(seq) + ?2", "last_insert_id(seq)", patch)


def tokens_in_the_rows_order(patch: Patch) -> None:
    """Tokens come as the rows lie."""
    patch.setattr(dialects, "Listed", by_number)


def by_number(values: Any) -> Listed:
    """Numbers sorted; rows as they are."""
    return Listed(sorted(values) if all(isinstance(value, int) for value in values) else values)


def keys_looked_at_before(patch: Patch) -> None:
    """Look whether the key is free, then write: nothing decides between two who looked at once."""
    take_key = producer.take_key

    def mutant(tx: Tx, key: str, job_id: str, until_ms: int | None) -> str:
        found = tx.run("producer.key_holder", key).fetchone()
        return take_key(tx, f"{key} of {job_id}", job_id, until_ms) if found is None else found[0]

    edited("producer.key_holder", "unique_key = ? LOCK IN SHARE MODE", "unique_key LIKE concat(?, '%')", patch)
    patch.setattr(producer, "take_key", mutant)


def finish_without_a_lock(patch: Patch) -> None:
    """Rows are read, and written later."""
    edited("changes.rows_by_n", "FOR UPDATE", "", patch)


def depth_not_serialised(patch: Patch) -> None:
    """Two pushes look at the depth at once."""
    edited("producer.lock_queues", "FOR UPDATE", "", patch)


def rung_before_the_commit(patch: Patch) -> None:
    """Whether the leader waits is looked up within the transaction."""
    later_at_once(MariadbConnection, patch)


def bell_lost(patch: Patch) -> None:
    """Nobody is rung."""
    patch.setattr(MariadbBells, "ring", lambda _self, _topic: None)


def expired_jobs_given(patch: Patch) -> None:
    """An assign does not look whether a job has expired."""
    edited("changes.rows_expired", "expiring_ms <= ?", "expiring_ms <= ? AND expiring_ms < 0", patch)
    edited("leader.next_n", "expires_ms > ?3", "expires_ms > ?3 - ?3", patch)


def isolated_jobs_mixed(patch: Patch) -> None:
    """Jobs that must run alone are given like others."""
    edited("leader.next_n", "phase = 1", "phase IN (-1, 1)", patch)


def a_periods_key_kept(patch: Patch) -> None:
    """A key whose period is over is still held."""
    edited("producer.take_key", "until_ms <= ?4", "until_ms <= ?4 - ?4", patch)


def check_a_push_waits_for_a_key(rig: Rig) -> None:
    rig.node()  # its queue is known from now on: nobody waits for that
    concurrent.check_a_push_waits_for_the_key_that_another_is_taking(rig)


CAUGHT: list[tuple[Mutant, Check]] = [
    (fence_read_without_a_lock, concurrent.check_no_term_begins_within_a_leaders_act),
    (fence_read_in_a_transaction_of_its_own, concurrent.check_no_term_begins_within_a_leaders_act),
    (term_begun_without_a_lock, concurrent.check_an_act_that_waited_for_a_new_term_is_refused),
    (no_epoch_check, partial(terms.test_a_deposed_leader_is_refused, act="assign")),
    (no_owner_check, partial(terms.test_an_epoch_of_another_owner_is_refused, act="assign")),
    (match_by_id_only, finishing.check_a_token_of_an_older_run_is_stale),
    (assigned_without_skip_locked, concurrent.check_an_assign_passes_by_what_others_change),
    (assigned_without_a_lock, concurrent.check_two_assigns_do_not_exceed_the_capacity),
    (sessions_not_locked, concurrent.check_two_assigns_do_not_exceed_the_capacity),
    (token_reused, finishing.check_a_token_is_dead_after_hand_back),
    (tokens_not_kept, finishing.check_a_token_is_dead_after_hand_back),
    (tokens_in_the_rows_order, check_jobs_are_taken_by_rank),
    (keys_looked_at_before, check_a_push_waits_for_a_key),
    (a_periods_key_kept, unique.check_it_is_held_for_its_period),
    (rung_before_the_commit, concurrent.check_a_leader_that_begins_to_wait_within_a_push_is_rung),
    (leader_looks_once, concurrent.check_a_push_within_the_leaders_look_rings_it),
    (bell_lost, bells.test_a_push_rings_only_after_an_assign_found_nothing),
    (the_ended_session_takes, partial(taking.test_an_ended_session_takes_nothing, how="ended")),
    (expired_jobs_given, expiry.check_an_expired_job_is_not_assigned),
    (isolated_jobs_mixed, losses.test_after_two_losses_a_job_is_isolated),
]
"""What is planted, and what must fail."""


@pytest.mark.parametrize(("plant", "check"), CAUGHT,
                         ids=[f"{plant.__name__}-{check_name(check)}" for plant, check in CAUGHT])
def test_a_planted_bug_fails_its_test(plant: Mutant, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with ExitStack() as cleanup:
        check(rigs(mariadb_place, tmp_path, cleanup))  # green before
        plant(monkeypatch)
        monkeypatch.setattr(bells, "WAIT_S", LOST_BELL_S)
        with pytest.raises((AssertionError, pytest.fail.Exception, QueueError)):
            check(rigs(mariadb_place, tmp_path, cleanup))


RACED = [
    (finish_without_a_lock, races.test_the_same_finish_from_two_threads),
    (depth_not_serialised, races.test_pushes_into_a_limited_queue_do_not_exceed_it_together),
]


@pytest.mark.parametrize(("plant", "race"), RACED, ids=[plant.__name__ for plant, _ in RACED])
def test_a_planted_bug_loses_a_race(plant: Mutant, race: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with ExitStack() as cleanup:
        rig = rigs(mariadb_place, tmp_path, cleanup)
        plant(monkeypatch)
        other = rig.another()
        with pytest.raises((AssertionError, pytest.fail.Exception, QueueError)):
            race([(number, rig, other) for number in range(200)])

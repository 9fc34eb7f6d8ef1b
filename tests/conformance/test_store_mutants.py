"""The conformance suite sees the bugs that it is there for: each is planted in a store, and a named test must fail."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import test_store_assign as assigning
import test_store_bells as bells
import test_store_due as due
import test_store_finish as finishing
import test_store_losses as losses
import test_store_model as model
import test_store_operators as operators
import test_store_push as pushing
import test_store_schedules as schedules
import test_store_sessions as sessions
import test_store_take as taking
import test_store_terms as terms
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlmutants import check_name
from storekit import Rig
from storeplaces import PLACES, rigs

from callboard.backends.store.memory import MemoryStore
from callboard.backends.store.memory.rows import SessionRow
from callboard.backends.store.memory.table import Table
from callboard.backends.store.sql import SqlStore, producer, release
from callboard.backends.store.sql.sqlite.dialect import sqlite_dialect
from callboard.backends.store.sql.tx import Tx
from callboard.core.lifecycle import Event
from callboard.core.records import Released

if TYPE_CHECKING:
    from pathlib import Path

    from callboard.core.records import Epoch, Token

Patch = pytest.MonkeyPatch


def match_by_id_only(patch: Patch, kind: type[MemoryStore | SqlStore] = MemoryStore) -> None:
    """A finish counts for whichever run of the job is under way."""
    finish = kind.finish

    def mutant(self: Any, session: Any, outcomes: Any) -> Any:
        return finish(self, session, [of_the_newest_run(self, outcome) for outcome in outcomes])

    patch.setattr(kind, "finish", mutant)


def of_the_newest_run(store: Any, outcome: Any) -> Any:
    """The outcome with the token that the job has now."""
    job = store.job(outcome.held.id)
    return outcome if job is None else outcome._replace(held=outcome.held._replace(token=job.token))


def no_epoch_check(patch: Patch) -> None:
    """Any leader may act."""
    patch.setattr(Table, "fenced", lambda _self, _epoch: None)


def epoch_by_number_only(patch: Patch) -> None:
    """The owner is not compared."""
    fenced = Table.fenced

    def mutant(self: Table, epoch: Epoch) -> None:
        fenced(self, self.epoch if self.epoch is not None and epoch.number == self.epoch.number else epoch)

    patch.setattr(Table, "fenced", mutant)


def token_reused_after_hand_back(patch: Patch) -> None:
    """A job that was handed back gets its old token again."""
    give = Table.give

    def mutant(self: Table, row: Any, session: Any, token: Token, now_ms: int) -> None:
        give(self, row, session, row.token if row.token is not None else token, now_ms)

    patch.setattr(Table, "give", mutant)


def unique_not_checked(patch: Patch) -> None:
    """Unique keys are ignored."""
    insert = Table.insert

    def mutant(self: Table, job: Any, now_ms: int) -> Any:
        return insert(self, replace(job, unique=None), now_ms)

    patch.setattr(Table, "insert", mutant)


def losses_not_counted(patch: Patch) -> None:
    """A lost node costs nothing."""
    move = Table.move

    def mutant(self: Table, row: Any, event: Event, now_ms: int, **more: Any) -> None:
        if event in {Event.LOSE, Event.QUARANTINE}:
            event = Event.HAND_BACK
        move(self, row, event, now_ms, **more)

    patch.setattr(Table, "move", mutant)


def charge_at_assign(patch: Patch) -> None:
    """An assignment costs an attempt, whether it is taken or not."""
    give = Table.give

    def mutant(self: Table, row: Any, *more: Any) -> None:
        row.attempts += 1
        give(self, row, *more)

    patch.setattr(Table, "give", mutant)


def no_isolation(patch: Patch) -> None:
    """A job that lost two nodes runs beside others."""
    patch.setattr("callboard.backends.store.memory.table.isolated", lambda _losses: False)


def capacity_ignored(patch: Patch) -> None:
    """A pool takes what it is given."""
    patch.setattr(SessionRow, "free", lambda _self, _pool, _queue: 1_000)


def ended_rows_stranded(patch: Patch) -> None:
    """An end of a session forgets to release what is assigned."""
    patch.setattr(Table, "end", lambda self, session, _now_ms, _error: strand(self, session))


def strand(table: Table, session: SessionRow) -> Released:
    """End the session, and nothing else."""
    del table.session_of_node[session.info.node]
    return Released(0, 0)


def assigned_to_the_dead(patch: Patch) -> None:
    """Assigning does not look whether the session lives."""
    end = Table.end

    def mutant(self: Table, session: SessionRow, now_ms: int, node_lost: bytes) -> Released:
        released = end(self, session, now_ms, node_lost)
        self.sessions[session.session] = session
        return released

    patch.setattr(Table, "end", mutant)


def no_healing(patch: Patch) -> None:
    """What the node does not know of stays unknown to it."""
    take = MemoryStore.take
    patch.setattr(MemoryStore, "take", lambda self, session, queues, _holding=None: take(self, session, queues))


def forgets_ids(patch: Patch) -> None:
    """Ids of what is gone are not remembered."""
    patch.setattr(Table, "is_known", lambda self, job_id: job_id in self.by_id)


def tick_not_compared(patch: Patch) -> None:
    """A tick fires whatever the last one was."""
    fire = MemoryStore.fire_tick

    def mutant(self: MemoryStore, epoch: Epoch, schedule: str, _last_tick_ms: int, tick_ms: int, jobs: Any) -> bool:
        row = self._table.schedules.get(schedule)
        return fire(self, epoch, schedule, 0 if row is None else row.last_tick_ms, tick_ms, jobs)

    patch.setattr(MemoryStore, "fire_tick", mutant)


def retry_not_compared(patch: Patch) -> None:
    """An operator's retry takes whichever run failed."""
    retry = MemoryStore.retry_failed
    patch.setattr(MemoryStore, "retry_failed", lambda self, job_id, _token: retry(self, job_id, None))


def wall_clock(patch: Patch) -> None:
    """The store's time is the wall clock's."""
    patch.setattr(MemoryStore, "_now_ms", lambda self: round(self._clock.wall_s() * 1000))


def never_rings(patch: Patch) -> None:
    """Nobody is woken."""
    patch.setattr(MemoryStore, "_wake_leader", lambda _self, _table, *, room=False: room and False)


def pause_leaves_assigned(patch: Patch) -> None:
    """Pausing withdraws nothing."""
    def mutant(self: MemoryStore, queue: str, *, paused: bool) -> None:
        self._table.queue(queue).paused = paused

    patch.setattr(MemoryStore, "set_paused", mutant)


# On SQL, where the same bug is one patch ------------------------------------------------------------------------------


def sql_no_epoch_check(patch: Patch) -> None:
    """Any leader may act."""
    patch.setattr(Tx, "fenced", lambda _self, _epoch: None)


def sql_match_by_id_only(patch: Patch) -> None:
    """As on memory."""
    match_by_id_only(patch, SqlStore)


def sql_losses_not_counted(patch: Patch) -> None:
    """A lost node costs nothing."""
    patch.setattr(release, "release_event", lambda *_row, **_more: Event.HAND_BACK)


def sql_unique_not_checked(patch: Patch) -> None:
    """Unique keys are ignored."""
    patch.setattr(producer, "_holders", lambda _tx, _jobs: ({}, {}))


def sql_token_reused(patch: Patch) -> None:
    """The leader's next assignment starts from an old seq."""
    patch.setitem(sqlite_dialect().statements, "leader.draw_tokens", "SELECT seq + ? FROM callboard_store")


Mutant = Callable[[Patch], None]
Check = Callable[[Rig], None]

MEMORY: list[tuple[Mutant, Check]] = [
    (match_by_id_only, finishing.test_a_token_of_an_older_run_is_stale),
    (match_by_id_only, finishing.test_a_token_is_dead_after_a_retry),
    (no_epoch_check, partial(terms.test_a_deposed_leader_is_refused, act="assign")),
    (no_epoch_check, partial(terms.test_a_deposed_leader_is_refused, act="end_session")),
    (epoch_by_number_only, partial(terms.test_an_epoch_of_another_owner_is_refused, act="assign")),
    (token_reused_after_hand_back, finishing.test_a_token_is_dead_after_hand_back),
    (unique_not_checked, pushing.test_a_unique_key_is_held_by_one_job),
    (losses_not_counted, losses.test_losses_are_counted_and_bounded),
    (charge_at_assign, losses.test_what_was_only_assigned_is_never_charged),
    (charge_at_assign, taking.test_attempt_and_losses_are_told),
    (no_isolation, losses.test_after_two_losses_a_job_is_isolated),
    (capacity_ignored, assigning.test_capacity_is_never_exceeded),
    (ended_rows_stranded, partial(sessions.test_an_end_releases_rows_in_the_same_act, own=False)),
    (assigned_to_the_dead, assigning.test_an_ended_session_gets_nothing),
    (no_healing, taking.test_a_lost_reply_heals_itself),
    (forgets_ids, pushing.test_a_purged_id_is_remembered),
    (tick_not_compared, schedules.test_a_tick_fires_once),
    (retry_not_compared, operators.test_retry_of_a_job_that_ran_again_is_a_conflict),
    (wall_clock, partial(due.test_a_jump_of_the_wall_clock_moves_nothing, jump_s=3_600.0)),
    (never_rings, bells.test_a_push_rings_only_after_an_assign_found_nothing),
    (pause_leaves_assigned, operators.test_pausing_withdraws_what_is_assigned_uncharged),
]
SQLITE: list[tuple[Mutant, Check]] = [
    (sql_no_epoch_check, partial(terms.test_a_deposed_leader_is_refused, act="assign")),
    (sql_match_by_id_only, finishing.test_a_token_of_an_older_run_is_stale),
    (sql_losses_not_counted, losses.test_losses_are_counted_and_bounded),
    (sql_unique_not_checked, pushing.test_a_unique_key_is_held_by_one_job),
    (sql_token_reused, assigning.test_each_token_is_higher_than_any_before),
]
PAIRS = [("memory", *pair) for pair in MEMORY] + [("sqlite", *pair) for pair in SQLITE]


@pytest.mark.parametrize(("place", "plant", "check"), PAIRS,
                         ids=[f"{place}-{plant.__name__}-{check_name(check)}" for place, plant, check in PAIRS])
def test_a_planted_bug_fails_its_test(place: str, plant: Mutant, check: Check, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch):
    with ExitStack() as cleanup:
        check(rigs(PLACES[place], tmp_path, cleanup))  # green before
        plant(monkeypatch)
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            check(rigs(PLACES[place], tmp_path, cleanup))


def test_the_model_sees_a_planted_bug(monkeypatch: pytest.MonkeyPatch):
    token_reused_after_hand_back(monkeypatch)
    machine = type("ActsOnMutant", (model.Acts,), {"place": "memory"})
    with pytest.raises(AssertionError, match=r"issued twice|Token\(epoch"):
        run_state_machine_as_test(machine, settings=settings(
            max_examples=500, stateful_step_count=60, deadline=None, database=None, phases=[Phase.generate],
            report_multiple_bugs=False, suppress_health_check=[HealthCheck.too_slow]))

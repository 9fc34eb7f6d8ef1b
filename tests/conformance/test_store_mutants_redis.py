"""The suite sees the bugs that the Redis store could have: each is planted in its scripts, and fails a named test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import test_store_assign as assigning
import test_store_bells as bells
import test_store_finish as finishing
import test_store_losses as losses
import test_store_operators as operators
import test_store_push as pushing
import test_store_races as races
import test_store_schedules as schedules
import test_store_sessions as sessions
import test_store_take as taking
import test_store_terms as terms
from storekit import Rig
from storeplaces import redis_place, rigs

from callboard.backends.store.redis import RedisStore, scripts
from callboard.core.errors import StaleEpoch
from callboard.core.records import PushReceipt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Patch = pytest.MonkeyPatch
GAP_S = 0.02
"""How long a mutant looks away between its check and its act: longer than a call takes."""


@pytest.fixture(autouse=True)
def fresh_scripts() -> Iterator[None]:
    """No script is kept from another test."""
    yield
    scripts.script.cache_clear()


def in_lua(file: str, old: str, new: str) -> Callable[[Patch], None]:
    """A change of a script's text, which must occur there once."""
    def plant(patch: Patch) -> None:
        read = scripts._read
        assert read(file).count(old) == 1, f"{file}.lua has changed: plant {old!r} anew"
        patch.setattr(scripts, "_read", lambda name: read(name).replace(old, new) if name == file else read(name))
        scripts.script.cache_clear()

    return plant


def look_away() -> None:
    """Let others go on."""
    threading.Event().wait(GAP_S)


def fence_read_in_a_call_of_its_own(patch: Patch) -> None:
    """The epoch is compared first, and the script compares it no more."""
    assign = RedisStore.assign

    def mutant(self: RedisStore, epoch: Any, *rest: Any) -> Any:
        fence = self.fence()
        if (fence.epoch, fence.owner) != epoch:
            raise StaleEpoch("not the store's epoch")
        for _ in range(20):
            look_away()
            if self.fence() != fence:  # the other one is in between: let it read what it will
                look_away()
                break
        return assign(self, epoch, *rest)

    in_lua("assign", "if not leads(A[1], A[2]) then return stale() end", "")(patch)
    patch.setattr(RedisStore, "assign", mutant)


def unique_checked_before_the_insert(patch: Patch) -> None:
    """The unique key is looked up first, and the script looks no more."""
    push = RedisStore.push

    def mutant(self: RedisStore, jobs: Any) -> PushReceipt:
        held = [job.id for job in self.jobs(1, None, 1_000) if job.unique == jobs[0].unique is not None]
        look_away()
        return PushReceipt(tuple(held), 0, rang=False) if held else push(self, jobs)

    in_lua("insert", "if keys then holders_of(keys, held) end", "")(patch)
    patch.setattr(RedisStore, "push", mutant)


def session_looked_at_before_the_take(patch: Patch) -> None:
    """Rows are read in one call and moved in the next: two calls both get them."""
    take = RedisStore.take

    def mutant(self: RedisStore, session: Any, queues: Any, holding: Any = None) -> Any:
        waiting = self.beat(session, ()).waiting
        look_away()
        found = take(self, session, queues, holding)
        return found or (take(self, session, queues, ()) if waiting else ())

    patch.setattr(RedisStore, "take", mutant)


Check = Callable[[Rig], None]


def race(check: Callable[[Any], None]) -> Check:
    """A racing test on a rig of two clients."""
    def run(rig: Rig) -> None:
        other = rig.another()
        check([(number, rig, other) for number in range(races.ROUNDS)])

    run.__name__ = check.__name__
    return run


MUTANTS: dict[str, tuple[Callable[[Patch], None], Check]] = {
    "match by id only": (
        in_lua("finish", " or cut(data, 26, 37) ~= TOKENS[i]", ""), finishing.test_a_token_of_an_older_run_is_stale),
    "match by token only": (
        in_lua("finish", "if cut(data, at, at - 1 + #IDS[i]) ~= IDS[i] then return false end", ""),
        finishing.test_a_token_that_never_was_is_stale),
    "no epoch check": (
        in_lua("base", "tonumber(STORE[3]) == epoch", "true"),
        partial(terms.test_an_epoch_from_the_future_is_refused, act="assign")),
    "no epoch check at the end of a session": (
        in_lua("release", "if A[1] > 0 and not leads(A[1], A[2]) then return stale() end", ""),
        partial(terms.test_a_deposed_leader_is_refused, act="end_session")),
    "no owner check": (
        in_lua("base", "STORE[4] == owner", "true"),
        partial(terms.test_an_epoch_of_another_owner_is_refused, act="assign")),
    "fence read in a call of its own": (
        fence_read_in_a_call_of_its_own, race(races.test_a_deposed_leader_changes_nothing_once_the_new_term_has_begun)),
    "unique checked before the insert": (
        unique_checked_before_the_insert, race(races.test_two_pushes_of_one_unique_key)),
    "session looked at before the take": (
        session_looked_at_before_the_take, race(races.test_two_takes_of_one_session)),
    "non-atomic move: still in the queue": (
        in_lua("assign", "CALL('ZREMRANGEBYRANK'", "CALL('ZCOUNT'"),
        assigning.test_survey_forgets_a_queue_that_is_empty),
    "non-atomic move: an ended session keeps its rows": (
        in_lua("release", "if r and r.session == session", "if false and r.session == session"),
        partial(sessions.test_an_end_releases_rows_in_the_same_act, own=False)),
    "lost bell": (
        in_lua("flush", "if STORE[5] ~= '1' then return false end", "if true then return false end"),
        bells.test_a_push_rings_only_after_an_assign_found_nothing),
    "token reused": (
        in_lua("assign", "SET.seq = string.format('%.0f', SEQ)", ""),
        assigning.test_each_token_is_higher_than_any_before),
    "losses not counted": (
        in_lua("change", "r.losses = r.losses + 1", "r.losses = r.losses"),
        losses.test_losses_are_counted_and_bounded),
    "no isolation": (
        in_lua("change", "return losses >= ISOLATE_AT", "return false"),
        losses.test_after_two_losses_a_job_is_isolated),
    "capacity ignored": (
        in_lua("assign", "local n = of.capacity", "local n = 1000"), assigning.test_capacity_is_never_exceeded),
    "assigned to the dead": (
        in_lua("release", "CALL('DEL', key, key", "CALL('DEL', key .. 'x', key"),
        assigning.test_an_ended_session_gets_nothing),
    "no healing": (
        in_lua("take", "if A[3] then", "if false then"), taking.test_a_lost_reply_heals_itself),
    "forgets ids": (
        in_lua("change", "add(DROP, P .. 'rows', r.ref)", "add(DROP, P .. 'rows', r.ref) add(DROP, P .. 'ids', r.id)"),
        pushing.test_a_purged_id_is_remembered),
    "tick not compared": (
        in_lua("fire_tick", "if tonumber(CALL('HGET', P .. 'ticks', A[3]) or '') ~= A[4] then", "if false then"),
        schedules.test_a_tick_fires_once),
    "an operator's retry not compared": (
        in_lua("retry", "if A[2] >= 0 and", "if false and"),
        operators.test_retry_of_a_job_that_ran_again_is_a_conflict),
    "pause leaves what is assigned": (
        in_lua("pause", "if A[2] then", "if false then"),
        operators.test_pausing_withdraws_what_is_assigned_uncharged),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_fails_its_test(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plant, check = MUTANTS[name]
    with ExitStack() as cleanup:
        check(rigs(redis_place, tmp_path, cleanup))  # green before
        plant(monkeypatch)
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            check(rigs(redis_place, tmp_path, cleanup))

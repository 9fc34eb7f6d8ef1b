"""The suite catches the bugs that the Redis cluster could have: each is planted in its script."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import cluster_kit
import pytest
import test_cluster_broadcast as broadcast
import test_cluster_election as election
import test_cluster_locks as locks
import test_cluster_members as members
from cluster_kit import ClusterRig

import callboard.backends.cluster.redis as module
from callboard.backends.store.redis.scripts import Script

if TYPE_CHECKING:
    from pathlib import Path

MUTANTS = {
    "releases without a look at the holder": (
        "if lock ~= A[3] or holder ~= A[2] then return answer(false) end", "",
        locks.test_a_lock_is_not_released_by_another),
    "releases by the key alone after its ttl": (
        "if lock ~= A[3] or holder", "if holder",
        locks.test_a_lock_is_not_released_by_another),
    "locks for whoever comes": (
        "if lock and holder ~= A[2] then return answer(0) end", "",
        locks.test_a_lock_excludes_others_and_not_other_locks),
    "locks never end": (
        "if not ends or tonumber(ends) <= NOW then return nil end", "if not ends then return nil end",
        locks.test_a_lock_ends_with_its_ttl_and_not_before),
    "numbers of locks do not grow": (
        "lock = CALL('HINCRBY', KEY, 'lock_number', 1)", "lock = 1",
        lambda rig: locks.test_numbers_of_a_key_only_grow_whatever_ended_the_lock(rig, "release")),
    "numbers of terms go with the lease": (
        "CALL('DEL', P .. 'term')", "CALL('DEL', P .. 'term') CALL('HDEL', KEY, 'number')",
        election.test_the_loser_is_told_when_the_winner_resigns),
    "terms never end": (
        "if term[1] and number(term[5]) > NOW then", "if term[1] then",
        election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl),
    "elects two": (
        "if in_force() then return answer(0) end", "", election.test_of_many_at_once_one_wins),
    "renews by the owner alone": (
        "return held == asked_number and its_owner == owner and its_handle == handle", "return its_owner == owner",
        election.test_an_old_term_of_the_same_owner_does_not_end_its_new_one),
    "resigns any term": (
        "if holds(A[1], A[2], A[3]) then\n    CALL('DEL'", "if true then\n    CALL('DEL'",
        election.test_a_deposed_leader_can_neither_renew_nor_end_its_successors_term),
    "members never go": (
        "'(' .. string.format('%.0f', NOW), '+inf', 'LIMIT', 0, NODES_MAX", "'-inf', '+inf', 'LIMIT', 0, NODES_MAX",
        members.test_who_is_not_heard_of_is_no_member_any_more_and_the_watch_tells),
    "keeps the last broadcast only": (
        "length > MESSAGES_MAX", "length > 1", broadcast.test_a_flood_from_many_arrives_whole_at_every_subscriber),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_suite_catches(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    old, new, check = MUTANTS[name]

    def run() -> None:
        rig = replace(ClusterRig(cluster_kit.redis_place(tmp_path)), wait_s=2.5)
        try:
            check(rig)
        finally:
            rig.close()

    run()  # green before
    text = module._SCRIPT.text
    assert text.count(old) == 1, f"the script has changed: plant {old!r} anew"
    mutant = text.replace(old, new)
    name = hashlib.sha1(mutant.encode()).hexdigest()  # noqa: S324 - how Redis names its scripts
    monkeypatch.setattr(module, "_SCRIPT", Script("mutant", mutant, name))
    with pytest.raises(AssertionError):
        run()

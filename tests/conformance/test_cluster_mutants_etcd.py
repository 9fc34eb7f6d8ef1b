"""The suite catches the bugs that the etcd cluster could have: each is planted in the text of one of its methods.

That the checks pass without them is seen where they are tests.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import cluster_kit
import pytest
import test_cluster_broadcast as broadcast
import test_cluster_election as election
import test_cluster_locks as locks
import test_cluster_members as members
from cluster_kit import ClusterRig

from callboard.backends.cluster.etcd import cluster
from callboard.backends.cluster.etcd.cluster import EtcdCluster
from callboard.backends.cluster.etcd.terms import EtcdTerms

if TYPE_CHECKING:
    from pathlib import Path

WHOSE = "same = held is not None and (held.number, held.owner, held.handle) == (term.number, term.owner, term.handle)"
MUTANTS = {
    "releases whoever holds": (
        EtcdCluster.release_lock, ", ask.has_value(at, token.holder.encode())", "",
        locks.test_a_lock_is_not_released_by_another),
    "releases whatever the number": (
        EtcdCluster.release_lock, "ask.created(at, token.number), ", "", locks.test_a_lock_is_not_released_by_another),
    "locks for whoever comes": (
        EtcdCluster.acquire_lock, "kv.value != holder.encode()", "False",
        locks.test_a_lock_excludes_others_and_not_other_locks),
    "locks without a lease": (
        EtcdCluster._lock_as, "ask.put(at, holder.encode(), lease)", "ask.put(at, holder.encode())",
        locks.test_a_lock_ends_with_its_ttl_and_not_before),
    "locks what was just locked": (
        EtcdCluster._lock_as, "self._act(same, ", "self._act(", locks.test_only_one_is_inside_however_many_try),
    "numbers locks alike": (
        EtcdCluster._lock_as, "done.revision if", "1 if",
        partial(locks.test_numbers_of_a_key_only_grow_whatever_ended_the_lock, after="release")),
    "elects two": (
        EtcdTerms.campaign, "self._act(ask.created(self._term_key, 0), ", "self._act(",
        election.test_of_many_at_once_one_wins),
    "a term without a lease": (
        EtcdTerms.campaign, "granted_s), lease)]", "granted_s))]",
        election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl),
    "numbers terms alike": (
        EtcdTerms.campaign, "done.revision if", "1 if", election.test_the_loser_is_told_when_the_winner_resigns),
    "leadership is cached": (
        EtcdTerms.leader, "found = self._act", "found = self._was = getattr(self, '_was', None) or self._act",
        election.test_what_is_seen_is_the_backends_state_and_no_memory_of_it),
    "renews the lease without a look at the key": (
        EtcdTerms.renew, "held = self._held(term)",
        "if lease:\n            return kept\n        held = self._held(term)",
        election.test_a_lease_that_was_deleted_is_not_renewed_and_its_successor_has_a_higher_number),
    "renews by the owner alone": (
        EtcdTerms._held, WHOSE, "same = held is not None and held.owner == term.owner",
        election.test_an_old_term_of_the_same_owner_does_not_end_its_new_one),
    "resigns any term": (
        EtcdTerms._held, WHOSE, "same = held is not None",
        election.test_a_deposed_leader_can_neither_renew_nor_end_its_successors_term),
    "a stale watch of terms": (
        EtcdCluster.look, "return (term and term.create_revision", "return (0",
        election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl),
    "a stale watch of members": (
        EtcdCluster.look, "last and last.mod_revision", "0",
        members.test_a_watch_that_was_there_before_is_told_of_each_change),
    "members never go": (
        EtcdCluster._members_lease, "grant(seconds)", "grant(3_600)",
        members.test_who_is_not_heard_of_is_no_member_any_more_and_the_watch_tells),
    "delivers what was sent before": (
        EtcdCluster.subscribe, ".revision)", ".revision * 0)", broadcast.test_what_was_sent_before_is_not_delivered),
    "names broadcasts alike": (
        EtcdCluster.broadcast, "secrets.token_hex(16).encode()", "b'one'",
        broadcast.test_the_same_message_sent_twice_arrives_twice),
    "keeps few broadcasts": (
        EtcdCluster.broadcast, "MESSAGES_MAX)", "1)",
        broadcast.test_a_flood_from_many_arrives_whole_at_every_subscriber),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_suite_catches(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    method, old, new, check = MUTANTS[name]
    text = textwrap.dedent(inspect.getsource(method))
    assert text.count(old) == 1, f"{method.__qualname__} has changed: plant {old!r} anew"
    namespace = dict(vars(sys.modules[method.__module__]))
    exec(text.replace(old, new), namespace)  # noqa: S102 - our own text, with a bug
    owner = EtcdTerms if method.__module__.endswith("terms") else EtcdCluster
    monkeypatch.setattr(owner, method.__name__, namespace[method.__name__])
    monkeypatch.setattr(cluster, "POLL_S", 0.2)
    rig = replace(ClusterRig(cluster_kit.etcd_place(tmp_path)), wait_s=3.0)
    try:
        with pytest.raises(AssertionError):
            check(rig)
    finally:
        rig.close()

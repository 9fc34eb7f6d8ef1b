"""The suite catches the bugs that the ZooKeeper cluster could have: each is planted in the text of one of its methods.

That the checks pass without them is seen where they are tests.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from functools import partial
from typing import TYPE_CHECKING

import pytest
import test_cluster_broadcast as broadcast
import test_cluster_election as election
import test_cluster_locks as locks
import test_cluster_members as members
import zookeeperkit
from cluster_kit import ClusterRig

from callboard.backends.cluster.zookeeper import messages
from callboard.backends.cluster.zookeeper.cluster import ZookeeperCluster
from callboard.backends.cluster.zookeeper.election import Election
from callboard.backends.cluster.zookeeper.leases import Alarms, Leases
from callboard.backends.cluster.zookeeper.messages import Messages
from callboard.core.errors import ClusterUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

MUTANTS: dict[str, tuple[type, str, str, str, Callable[[ClusterRig], None]]] = {
    "releases whoever holds": (
        ZookeeperCluster, "release_lock", "(grant.body, grant.number) == whose", "grant.number == whose[1]",
        locks.test_a_lock_is_not_released_by_another),
    "releases whatever the number": (
        ZookeeperCluster, "release_lock", "(grant.body, grant.number) == whose", "grant.body == whose[0]",
        locks.test_a_lock_is_not_released_by_another),
    "locks for whoever comes": (
        ZookeeperCluster, "acquire_lock", "lambda grant: grant.body == body", "lambda grant: True",
        locks.test_a_lock_excludes_others_and_not_other_locks),
    "locks by the clock of the process alone": (
        Alarms, "_run", "lease.end(lease)", "pass", locks.test_a_lock_ends_with_its_ttl_and_not_before),
    "the holder's own lock anew": (
        Leases, "_create", "pack_grant(lease.nonce, kept, body)", "pack_grant(lease.nonce, 0, body)",
        locks.test_the_holders_own_call_again_gets_the_same_lock_for_longer),
    "numbers locks alike": (
        Leases, "take", "return number, min", "return 1, min",
        partial(locks.test_numbers_of_a_key_only_grow_whatever_ended_the_lock, after="release")),
    "elects two": (
        Election, "_win", "if isinstance(problem, NodeExistsError):\n        return None",
        "if isinstance(problem, NodeExistsError):\n        return Term(1 << 40, owner, granted_s, handle)",
        election.test_of_many_at_once_one_wins),
    "a term without a session": (
        Election, "_end", "_dispose(lease.session)", "pass",
        election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl),
    "numbers terms alike": (
        Election, "_win", "Term(grant.number,", "Term(1,", election.test_the_loser_is_told_when_the_winner_resigns),
    "leadership is cached": (
        Election, "leader", "grant, _ = self._look()",
        "grant = self._was = getattr(self, '_was', None) or self._look()[0]",
        election.test_what_is_seen_is_the_backends_state_and_no_memory_of_it),
    "renews what is not there": (
        Election, "renew", "if not ours or held.session.over:", "if held.session.over:",
        election.test_a_lease_that_was_deleted_is_not_renewed_and_its_successor_has_a_higher_number),
    "renews without prolonging": (
        Election, "renew", "not self._alarms.extend(held, ttl_s)", "held.gone",
        election.test_a_term_that_is_renewed_stays),
    "resigns any term": (
        Election, "resign", "(grant.nonce, grant.number) == (term.handle, term.number)", "True",
        election.test_a_term_that_was_never_granted_neither_renews_nor_resigns),
    "a stale watch of terms": (
        ZookeeperCluster, "look", "(self._paths.term, self._paths.members)", "(self._paths.members,)",
        election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl),
    "a stale watch of members": (
        ZookeeperCluster, "look", "(self._paths.term, self._paths.members)", "(self._paths.term,)",
        members.test_a_watch_that_was_there_before_is_told_of_each_change),
    "members never go": (
        Alarms, "_run", "lease.end(lease)", "pass",
        members.test_who_is_not_heard_of_is_no_member_any_more_and_the_watch_tells),
    "delivers what was sent before": (
        ZookeeperCluster, "subscribe", "self._messages.newest()", "0",
        broadcast.test_what_was_sent_before_is_not_delivered),
    "keeps few broadcasts": (
        Messages, "send", "MESSAGES_MAX", "1", broadcast.test_a_flood_from_many_arrives_whole_at_every_subscriber),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_suite_catches(name: str, monkeypatch: pytest.MonkeyPatch):
    owner, method, old, new, check = MUTANTS[name]
    text = textwrap.dedent(inspect.getsource(getattr(owner, method)))
    assert old in text, f"{method} has changed: plant {old!r} anew"
    namespace = dict(vars(sys.modules[owner.__module__]))
    exec(text.replace(old, new), namespace)  # noqa: S102 - our own text, with a bug
    monkeypatch.setattr(owner, method, namespace[method])
    monkeypatch.setattr(messages, "SWEEP_S", 0.0)
    place = zookeeperkit.open_place()
    rig = ClusterRig(place, wait_s=3.0)
    try:
        with pytest.raises(AssertionError):
            check(rig)
    finally:
        rig.close()
        place.done()


def test_an_election_key_that_no_session_holds_is_seen_at_once(monkeypatch: pytest.MonkeyPatch):
    text = textwrap.dedent(inspect.getsource(Election._win))
    old = "pack_grant(handle, 0, body), ephemeral=True)"
    assert old in text, f"_win has changed: plant {old!r} anew"
    namespace = dict(vars(sys.modules[Election.__module__]))
    exec(text.replace(old, old.replace(", ephemeral=True", "")), namespace)  # noqa: S102 - our own text, with a bug
    monkeypatch.setattr(Election, "_win", namespace["_win"])
    place = zookeeperkit.open_place()
    rig = ClusterRig(place, wait_s=3.0)
    try:
        with pytest.raises(ClusterUnavailable, match="lost on its way"):
            election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl(rig)
    finally:
        rig.close()
        place.done()

"""The suite catches the bugs that the Consul cluster could have: each is planted in its code, on the real server.

That the suite is green without them is shown by its own run on Consul.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cluster_kit
import pytest
import test_cluster_broadcast as broadcast
import test_cluster_election as election
import test_cluster_locks as locks
import test_cluster_members as members
from cluster_kit import ClusterRig

from callboard.backends.cluster.consul import bus, keys, leases, link
from callboard.backends.cluster.consul import members as nodes
from callboard.backends.cluster.consul.cluster import ConsulCluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Patch = pytest.MonkeyPatch


def operations(change: Callable[[dict], None]) -> Callable[[Patch], None]:
    """A bug in what goes into each transaction."""

    def plant(patch: Patch) -> None:
        sound = keys.Keys.write

        def write(self, each, **more):
            for operation in each:
                change(operation)
            return sound(self, each, **more)

        patch.setattr(keys.Keys, "write", write)

    return plant


def sessions(**body: object) -> Callable[[Patch], None]:
    """Sessions that are made in another way; None: without that."""

    def plant(patch: Patch) -> None:
        sound = link.Link.put

        def put(self, path, given=None, **more):
            if path == "session/create":
                given = {name: value for name, value in {**given, **body}.items() if value is not None}
            return sound(self, path, given, **more)

        patch.setattr(link.Link, "put", put)

    return plant


def releases_whatever_holds(patch: Patch) -> None:
    def release(self, token):
        path = self._path(token.key)
        held = keys.held_of(self._keys.row(path), token.key)
        return held is not None and self._keys.free(path, held)

    patch.setattr(ConsulCluster, "release_lock", release)


def locks_for_whoever_comes(patch: Patch) -> None:
    sound = ConsulCluster.acquire_lock

    def acquire(self, key, holder, ttl_s):
        self._keys.write([{"Verb": "delete", "Key": self._path(key)}])
        return sound(self, key, holder, ttl_s)

    patch.setattr(ConsulCluster, "acquire_lock", acquire)


def elects_two(patch: Patch) -> None:
    sound = keys.Keys.write

    def write(self, each, **more):
        first = [{"Verb": "delete", "Key": self.term}] if each[-1]["Verb"] == "lock" else []
        return sound(self, [*first, *each], **more)

    patch.setattr(keys.Keys, "write", write)


def caches_the_leader(patch: Patch) -> None:
    sound = ConsulCluster.leader

    def leader(self):
        self.seen = getattr(self, "seen", None) or sound(self)
        return self.seen

    patch.setattr(ConsulCluster, "leader", leader)


def without_session(operation: dict) -> None:
    if operation["Verb"] == "lock":
        operation["Verb"] = "set"


def at_one_key(operation: dict) -> None:
    if operation["Verb"] == "set":
        operation["Key"] = operation["Key"][:-2] + "00"


def elects_without_a_session(patch: Patch) -> None:
    operations(without_session)(patch)
    sound = keys.held_of
    patch.setattr(keys, "held_of", lambda row, key: sound(row._replace(session="any"), key))


def numbers_alike(patch: Patch) -> None:
    sound = keys.Keys.take
    patch.setattr(keys.Keys, "take", lambda *given: (held := sound(*given)) and held._replace(number=1))


def resigns_any_term(patch: Patch) -> None:
    def resign(self, _term):
        if held := self._keys.state().term:
            self._leases.end(held.session, held.handle)

    patch.setattr(ConsulCluster, "resign", resign)


def renews_with_the_old_ttl(patch: Patch) -> None:
    sound = leases.Leases.keep
    patch.setattr(leases.Leases, "keep", lambda *given, changed: sound(*given, changed=False))  # noqa: ARG005 - the bug


MUTANTS = {
    "lock without owner check": (releases_whatever_holds, locks.test_a_lock_is_not_released_by_another),
    "locks for whoever comes": (locks_for_whoever_comes, locks.test_a_lock_excludes_others_and_not_other_locks),
    "numbers of locks do not grow": (
        numbers_alike, lambda rig: locks.test_numbers_of_a_key_only_grow_whatever_ended_the_lock(rig, "release")),
    "elects two": (elects_two, election.test_of_many_at_once_one_wins),
    "cached leadership": (caches_the_leader, election.test_what_is_seen_is_the_backends_state_and_no_memory_of_it),
    "election key without session": (
        elects_without_a_session, election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl),
    "session without its check": (
        sessions(ServiceChecks=None), election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl),
    "Consul's own lock delay": (
        sessions(LockDelay=None), election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl),
    "renews without a look at the key": (
        lambda patch: patch.setattr(ConsulCluster, "_holds", lambda *_: True),
        election.test_a_lease_that_was_deleted_is_not_renewed_and_its_successor_has_a_higher_number),
    "renews with the old ttl": (renews_with_the_old_ttl, election.test_a_renewal_counts_from_when_it_was_made),
    "renews nothing": (
        lambda patch: patch.setattr(leases, "pass_check", lambda *_: True), election.test_a_term_that_is_renewed_stays),
    "resigns any term": (
        resigns_any_term, election.test_a_deposed_leader_can_neither_renew_nor_end_its_successors_term),
    "stale watch": (
        lambda patch: patch.setattr(ConsulCluster, "look", lambda _: ("as ever", None)),
        election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl),
    "members never go": (
        lambda patch: patch.setattr(nodes, "_passing", lambda _: True),
        members.test_who_is_not_heard_of_is_no_member_any_more_and_the_watch_tells),
    "keeps the last broadcast only": (
        operations(at_one_key), broadcast.test_the_same_message_sent_twice_arrives_twice),
    "delivers what was sent before": (
        lambda patch: patch.setattr(bus.Bus, "newest", lambda _: 0),
        broadcast.test_what_was_sent_before_is_not_delivered),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_suite_catches(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plant, check = MUTANTS[name]

    def run() -> None:
        rig = replace(ClusterRig(cluster_kit.consul_place(tmp_path)), wait_s=2.5)
        try:
            check(rig)
        finally:
            rig.place.done()
            rig.close()

    plant(monkeypatch)
    with pytest.raises(AssertionError):
        run()

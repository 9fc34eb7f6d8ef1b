"""The suite sees bugs that are planted in the statements of the store cluster on database servers."""

from dataclasses import replace

import cluster_servers
import pytest
import test_cluster_broadcast as broadcast
import test_cluster_election as election
import test_cluster_locks as locks
import test_cluster_members as members
from cluster_kit import ClusterRig

from callboard.backends.cluster.server import statements

WHOSE = "AND c.number = %(number)s AND c.owner = %(owner)s AND c.handle = %(handle)s"
MUTANTS = {
    "elects two": (
        "campaign", {"AND NOT {lease c}": ""}, election.test_of_many_at_once_one_wins),
    "numbers terms alike": (
        "campaign", {"c.number + 1": "c.number"}, election.test_the_loser_is_told_when_the_winner_resigns),
    "terms never expire": (
        "campaign", {"NOT {lease c}": "c.ttl_s <= 0"},
        election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl),
    "renews what is over": (
        "renew", {"AND {lease c}": ""}, election.test_a_renewal_after_the_end_is_refused_even_if_nobody_else_leads),
    "renews whatever the handle": (
        "renew", {" AND c.handle = %(handle)s": ""},
        election.test_a_term_that_was_never_granted_neither_renews_nor_resigns),
    "renews from the first day on": (
        "renew", {"start_s = {now}": "start_s = start_s"}, election.test_a_term_that_is_renewed_stays),
    "ends any term": (
        "resign", {WHOSE: ""}, election.test_a_deposed_leader_can_neither_renew_nor_end_its_successors_term),
    "tells nobody of terms": (
        "look", {"{lease c}": "1 = 2"}, election.test_the_loser_is_told_when_the_winner_dies_and_not_before_its_ttl),
    "locks never expire": (
        "acquire_lock", {"{locked l}": "1 = 1"}, locks.test_a_lock_ends_with_its_ttl_and_not_before),
    "locks for whoever comes": (
        "acquire_lock", {"{locked l}": "1 = 2"}, locks.test_a_lock_excludes_others_and_not_other_locks),
    "numbers locks alike": (
        "acquire_lock", {"c.lock_number + 1": "c.lock_number"},
        lambda rig: locks.test_numbers_of_a_key_only_grow_whatever_ended_the_lock(rig, "release")),
    "releases whatever the number": (
        "release_lock", {"= %(number)s": "<> 0"}, locks.test_a_lock_is_not_released_by_another),
    "releases whoever holds": (
        "release_lock", {"= %(holder)s": "<> ''"}, locks.test_a_lock_is_not_released_by_another),
    "members never expire": (
        "nodes", {"WHERE {lease n}": ""}, members.test_who_is_not_heard_of_is_no_member_any_more_and_the_watch_tells),
    "tells nobody of changed members": (
        "register", {"c.members_version + 1": "c.members_version"},
        members.test_a_watch_that_was_there_before_is_told_of_each_change),
    "delivers what was sent before": (
        "newest_message", {"s.number": "0"}, broadcast.test_what_was_sent_before_is_not_delivered),
}


def planted(text, changes, act):
    """A statement with a bug."""
    for old, new in changes.items():
        assert old in text, f"{act} has changed: plant {old!r} anew"
        text = text.replace(old, new)
    return text


@pytest.fixture
def rig():
    """Makes a rig on a database whose clients wait for what they expect so long only."""
    places = []

    def make(kind, wait_s):
        places.append(replace(cluster_servers.open_place(kind), ttl_s=0.8))
        rigs.append(ClusterRig(places[-1], wait_s=wait_s))
        assert rigs[-1].b is not None  # both are open before the test's time begins
        return rigs[-1]

    rigs = []
    yield make
    for one in rigs:
        one.close()
    for place in places:
        place.done()


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.parametrize("kind", cluster_servers.KINDS)
def test_the_suite_catches(rig, monkeypatch, kind, name):
    act, changes, test = MUTANTS[name]
    sound = statements.texts(kind)
    monkeypatch.setattr(statements, "texts", lambda _: {**sound, act: planted(sound[act], changes, act)})
    statements.load.cache_clear()
    try:
        with pytest.raises(AssertionError):
            test(rig(kind, 2.5))
    finally:
        monkeypatch.undo()
        statements.load.cache_clear()

"""The public cluster objects on every backend: members, locks, election, broadcasts, as a program uses them."""

from __future__ import annotations

import queue
from contextlib import ExitStack

import clusterobjects
import pytest
from kit import eventually

import callboard
from callboard.backends.clock import SystemClock
from callboard.stores import open_cluster
from callboard.version import callboard_version

url = clusterobjects.url
WAIT_S = 20.0
TTL_S = 1.0


@pytest.fixture
def pair(url):
    """Two programs' objects on one cluster."""
    with callboard.cluster_from_url(url, "a") as a, callboard.cluster_from_url(url, "b") as b:
        yield a, b


class Heard:
    """What an election's callback was told, in order."""

    def __init__(self):
        self._told = queue.Queue()

    def __call__(self, term):
        self._told.put(term)

    def next(self):
        return self._told.get(timeout=WAIT_S)

    def empty(self):
        return self._told.empty()


def names(cluster):
    return sorted(info.node for info in cluster.nodes())


def test_members_come_go_and_are_replaced(pair):
    a, b = pair
    a.register("a", {"host": "here", "pid": 7})
    b.register("b")
    assert names(a) == names(b) == ["a", "b"]
    (first,) = [info for info in b.nodes() if info.node == "a"]
    assert (first.host, first.pid, first.version) == ("here", 7, callboard_version())
    a.register("a", callboard.NodeInfo("a", "another-life", host="there"))
    (again,) = [info for info in b.nodes() if info.node == "a"]
    assert (again.host, again.boot_id) == ("there", "another-life")
    b.unregister("a")  # not b's to remove
    assert names(b) == ["a", "b"]
    a.unregister("a")
    a.unregister("a")
    assert names(b) == ["b"]
    b.close()
    assert names(a) == []


def test_a_member_stays_one_past_its_ttl(pair, monkeypatch):
    a, b = pair
    monkeypatch.setattr("callboard.distributed.cluster.MEMBER_TTL_S", TTL_S)
    a.register("a")
    seen, clock = set(), SystemClock()
    until_s = clock.boot_s() + 2.5 * TTL_S
    eventually(lambda: seen.add(tuple(names(b))) or clock.boot_s() > until_s, WAIT_S, "time has passed")
    assert seen == {("a",)}


def test_locks_exclude_expire_and_are_released_by_their_token_alone(pair):
    a, b = pair
    first = a.acquire_lock("door", 30)
    assert first is not None
    assert a.acquire_lock("door", 30) is None
    assert b.acquire_lock("door", 30) is None
    assert not b.release_lock(first._replace(number=first.number + 1))
    assert b.release_lock(first)  # whoever has the token
    assert not a.release_lock(first)
    second = b.acquire_lock("door", TTL_S)
    assert second.number > first.number
    third = eventually(lambda: a.acquire_lock("door", 30), WAIT_S, "the lock has expired")
    assert third.number > second.number
    assert not b.release_lock(second)
    assert a.release_lock(third)


def test_one_leads_and_the_other_follows_when_it_stops(pair):
    a, b = pair
    of_a, of_b = Heard(), Heard()
    a.start_election(of_a, ttl=TTL_S)
    first = of_a.next()
    assert (first.owner, 0.0 < a.trust_left_s() < first.ttl_s) == ("a", True)
    b.start_election(of_b, ttl=TTL_S)
    a.stop_election()
    assert of_a.next() is None
    assert a.trust_left_s() == 0.0
    second = of_b.next()
    assert (second.owner, second.number > first.number) == ("b", True)
    b.close()
    assert of_b.next() is None
    assert of_a.empty()
    assert of_b.empty()


def test_a_leader_is_renewed_past_its_ttl_while_the_other_waits(pair):
    a, b = pair
    of_a, of_b = Heard(), Heard()
    a.start_election(of_a, ttl=TTL_S)
    term = of_a.next()
    b.start_election(of_b, ttl=TTL_S)
    clock = SystemClock()
    until_s = clock.boot_s() + 2.5 * term.ttl_s
    eventually(lambda: clock.boot_s() > until_s, WAIT_S, "two and a half ttls have passed")
    assert of_a.empty()
    assert of_b.empty()
    assert a.trust_left_s() > 0.0


def test_an_election_is_not_the_nodes_own(url, pair):
    a, b = pair
    of_a, of_b = Heard(), Heard()
    a.start_election(of_a, ttl=TTL_S)
    b.start_election(of_b, name="another", ttl=TTL_S)
    assert (of_a.next().owner, of_b.next().owner) == ("a", "b")
    nodes = a._backend() if url.startswith("memory:") else open_cluster(url, SystemClock())
    with ExitStack() as end:
        if nodes is not a._backend():
            end.callback(nodes.close)
        assert nodes.leader() is None
        term = nodes.campaign("a node", TTL_S)
        assert term is not None
        nodes.resign(term)


def test_broadcasts_reach_every_program_and_nothing_else_does(pair):
    a, b = pair
    of_a, of_b = queue.Queue(), queue.Queue()
    a.subscribe(of_a.put)
    bell = b.subscribe(of_b.put)
    a._backend().broadcast(b"what nodes say to each other")
    a.broadcast(b"\0hello")
    assert (of_a.get(timeout=WAIT_S), of_b.get(timeout=WAIT_S)) == (b"\0hello", b"\0hello")
    bell.close()
    b.broadcast(b"again")
    assert of_a.get(timeout=WAIT_S) == b"again"
    assert of_b.empty()
    with pytest.raises(callboard.PayloadTooLarge, match="65,521"):
        a.broadcast(b"x" * 65_522)
    a.broadcast(b"x" * 65_521)
    assert len(of_a.get(timeout=WAIT_S)) == 65_521

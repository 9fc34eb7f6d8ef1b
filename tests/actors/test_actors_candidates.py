"""Many nodes: five stand for election, the others look on, and take over when none of the five is left."""

from __future__ import annotations

import threading
import time

import pytest
from kit import eventually

from callboard.actors import cluster
from callboard.core import candidates

NODES = 7


class Campaigns:
    """Who campaigned, as the backend was asked."""

    def __init__(self, bench):
        self.asked = []
        self.changed = threading.Condition()
        self.free = True
        self._campaign = bench.cluster.campaign

    def __call__(self, owner, ttl_s):
        with self.changed:
            self.asked.append((time.monotonic(), owner))
            self.changed.notify_all()
        return self._campaign(owner, ttl_s)

    def since(self, then_s):
        with self.changed:
            return {owner for at_s, owner in self.asked if at_s >= then_s}


@pytest.fixture
def crowd(bench, monkeypatch):
    """Seven nodes, each older than the next, that have looked at each other."""
    monkeypatch.setattr(cluster, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(bench.cluster, "campaign", campaigns := Campaigns(bench))
    nodes = [bench.node(f"n{number}", lease_ttl_s=0.6) for number in range(NODES)]
    assert len({node.parts.info.started_ms for node in nodes}) == NODES, "started within a millisecond"
    eventually(lambda: all(_looks_on(node) for node in nodes[5:]), 10.0, "the two youngest look on")
    return nodes, campaigns


def boot_ids(nodes):
    return {node.parts.info.boot_id for node in nodes}


def test_the_oldest_five_stand_and_the_others_only_look(crowd, bench):
    nodes, campaigns = crowd
    leader = bench.cluster.leader()
    followers = boot_ids(nodes[:5]) - {leader.owner}

    for _ in range(5):
        then_s = time.monotonic()
        eventually(lambda then_s=then_s: campaigns.since(then_s) >= followers, 10.0, "the five campaign")
        assert not campaigns.since(then_s) & boot_ids(nodes[5:])


def test_the_others_lead_when_the_five_are_gone(crowd, bench):
    nodes, _ = crowd
    for node in nodes[:5]:
        node.stop(0.0)
    for node in nodes[:5]:
        assert node.wait(20.0) is not None
    eventually(lambda: (term := bench.cluster.leader()) and term.owner in boot_ids(nodes[5:]), 20.0,
               "one of the two youngest leads")
    bench.push(1)
    bench.wait_runs(1)


def test_a_node_that_does_not_stand_leads_though_it_sees_older_members(bench, monkeypatch):
    """Five members that never lead, as nodes of the role worker: nobody leads until the one beside them steps in."""
    monkeypatch.setattr(cluster, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(candidates, "PATIENCE_S", 0.5)
    for number in range(5):
        bench.node(f"w{number}", role="worker")
    eventually(lambda: len(bench.cluster.nodes()) == 5, 10.0, "the five are members")
    other = bench.cluster.campaign("another program", 1.0)
    node = bench.node("n1", lease_ttl_s=0.6)
    eventually(lambda: bench.cluster.renew(other, 1.0) and _looks_on(node), 10.0, "n1 knows that it does not stand")
    bench.cluster.resign(other)
    eventually(lambda: (term := bench.cluster.leader()) and term.owner == node.parts.info.boot_id, 10.0, "n1 leads")
    assert bench.cluster.leader().number > other.number


def _looks_on(node):
    ref = node.parts.directory.ref("cluster")
    return not ref._actor_weakref()._standing.stands

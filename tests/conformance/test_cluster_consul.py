"""The cluster on Consul: what others do to its keys, what it leaves behind, answers that are lost or come late."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
from contextlib import closing
from uuid import uuid4

import pytest
from kit import eventually
from servers import shared

from callboard.backends.clock import SystemClock
from callboard.backends.cluster.consul import keys, open_consul_cluster
from callboard.backends.cluster.consul.address import parse_address
from callboard.backends.cluster.consul.link import Link
from callboard.core.codec import encode
from callboard.core.errors import ClusterUnavailable
from callboard.core.records import NodeInfo

WAIT_S = 20.0


class Site:
    """An installation of the test's own on the shared Consul, and somebody else's hand in it."""

    def __init__(self) -> None:
        self.name = f"test-{uuid4().hex}"
        url = shared.url("consul")
        self.url = f"{url}{'' if url.endswith('?') else '?'}name={self.name}"
        self.link = Link(parse_address(self.url), 5.0)
        self.opened = []

    def open(self, **more):
        self.opened.append(open_consul_cluster(self.url, **more))
        return self.opened[-1]

    def row(self, key):
        found = self.link.get(f"kv/{self.name}/cluster/{key}", keys.CONSISTENT).data
        return found[0] if found else None

    def put(self, key, value: bytes):
        body = [{"KV": {"Verb": "set", "Key": f"{self.name}/cluster/{key}",
                        "Value": base64.b64encode(value).decode()}}]
        assert self.link.put("txn", body).status == 200

    def delete(self, key):
        self.link._ask("delete", f"kv/{self.name}/cluster/{key}", (("recurse", ""),), "", None)

    def left(self):
        """All of it that Consul knows: keys that are held, sessions, services."""
        found = self.link.get(f"kv/{self.name}/", ("recurse", ""), keys.CONSISTENT).data or []
        held = [row["Key"] for row in found if "Session" in row or "/locks/" in row["Key"]]
        sessions = [each["ID"] for each in self.link.get("session/list", keys.CONSISTENT).data or []
                    if each["Name"].startswith(self.name)]
        services = [each for each in self.link.get("agent/services").data if each.startswith(self.name)]
        return held, sessions, services

    def checks(self):
        """The status of each of its services."""
        return [each["Status"] for each in self.link.get("agent/checks").data.values()
                if each["ServiceID"].startswith(self.name)]

    def writes(self):
        """How much Raft's log has grown."""
        return int(self.link.get("agent/self").data["Stats"]["raft"]["applied_index"])

    def close(self):
        for backend in self.opened:
            backend.close()
        self.delete("")
        self.link.close()


@pytest.fixture
def site():
    with closing(Site()) as made:
        yield made


def node(name="n1", **more):
    return NodeInfo(name, f"boot-{name}", **more)


# Nothing is left


def test_who_ends_what_it_began_leaves_nothing(site):
    a, b = site.open(), site.open()
    term = a.campaign("A", 30.0)
    assert a.renew(term, 20.0)
    assert b.campaign("B", 30.0) is None
    lock = a.acquire_lock("k", "one", 30.0)
    assert b.acquire_lock("k", "two", 30.0) is None
    lock = b.acquire_lock("k", "one", 20.0)
    a.register(node(), 30.0)
    held, sessions, services = site.left()
    assert (len(held), len(sessions), len(services)) == (2, 2, 3), "one of each: no loser and no older lease"
    a.resign(term)
    assert b.release_lock(lock)
    a.unregister("boot-n1")
    assert site.left() == ([], [], [])


def die(site, ttl_s: float) -> None:
    """A node that is gone without a word."""
    a = site.open()
    a.campaign("A", ttl_s)
    a.acquire_lock("k", "one", ttl_s)
    a.register(node(), ttl_s)
    a.close()


def test_of_who_dies_keys_and_sessions_end_with_the_ttl_and_services_are_critical(site):
    die(site, 0.6)
    eventually(lambda: site.left()[:2] == ([], []), WAIT_S, "keys and sessions have ended")
    eventually(lambda: site.checks() == ["critical"] * 3, WAIT_S, "all three services are critical")
    assert site.open().nodes() == ()


@pytest.mark.timeout(180)
@pytest.mark.skipif(os.environ.get("CALLBOARD_FAULTS") != "full", reason="waits for Consul's own sweep, up to 1.5 min")
def test_and_consul_removes_the_services(site):
    die(site, 0.6)
    eventually(lambda: site.left() == ([], [], []), 120.0, "Consul has removed all of it")


def test_a_campaign_whose_answer_is_lost_leaves_no_term(site, monkeypatch):
    a, b = site.open(), site.open()
    sound = Link.put

    def lose(self, path, body=None, **more):
        answer = sound(self, path, body, **more)
        if path == "txn":
            raise self.unavailable("the answer was lost")
        return answer

    monkeypatch.setattr(Link, "put", lose)
    with pytest.raises(ClusterUnavailable, match="the answer was lost"):
        a.campaign("A", 600.0)
    with pytest.raises(ClusterUnavailable, match="the answer was lost"):
        a.acquire_lock("k", "one", 600.0)
    monkeypatch.undo()
    assert site.left() == ([], [], [])
    assert b.campaign("B", 30.0) is not None


class Jumps(SystemClock):
    """A clock that a test moves on."""

    ahead_s = 0.0

    def boot_s(self):
        return super().boot_s() + self.ahead_s


def test_a_term_that_is_won_too_late_is_resigned(site, monkeypatch):
    clock = Jumps()
    a, b = site.open(clock=clock), site.open()
    sound = keys.Keys.take

    def late(*given):
        held = sound(*given)
        clock.ahead_s += 31.0
        return held

    monkeypatch.setattr(keys.Keys, "take", late)
    assert a.campaign("A", 30.0) is None
    assert b.leader() is None
    assert site.left() == ([], [], [])


def test_a_renewal_past_the_ttl_is_refused_though_the_key_is_still_held(site):
    """The agent may have let the check end already, and the servers show the key until they have heard of it."""
    clock = Jumps()
    a = site.open(clock=clock)
    term = a.campaign("A", 30.0)
    clock.ahead_s = 29.0
    assert a.renew(term, 30.0)
    clock.ahead_s += 29.0
    assert a.renew(term, 30.0)
    clock.ahead_s += 30.5
    assert a.renew(term, 30.0) is False
    assert a.leader() is None


def test_a_term_is_renewed_by_the_client_that_was_granted_it(site):
    a, b = site.open(), site.open()
    term = a.campaign("A", 30.0)
    assert b.renew(term, 30.0) is False
    assert a.renew(term, 30.0) is True
    b.resign(term)  # but anyone who has it can end it
    assert a.leader() is None
    assert a.renew(term, 30.0) is False


# The installation's id


def test_an_installation_that_was_emptied_is_noticed_by_every_call(site):
    a = site.open()
    term = a.campaign("A", 30.0)
    site.delete("")
    for call in (a.leader, lambda: a.campaign("A", 30.0), lambda: a.renew(term, 30.0), lambda: a.broadcast(b"x"),
                 lambda: a.acquire_lock("k", "h", 30.0), lambda: a.register(node(), 30.0),
                 lambda: a.subscribe(lambda _: None)):
        with pytest.raises(ClusterUnavailable, match="was emptied or replaced; start the node again"):
            call()
    assert site.open().cluster_id != a.cluster_id
    with pytest.raises(ClusterUnavailable, match="was emptied or replaced"):
        a.leader()


def test_an_id_that_was_written_again_is_the_same_id(site):
    """As by `consul kv import` of a backup."""
    a = site.open()
    site.put("state/id", a.cluster_id.encode())
    assert a.acquire_lock("k", "h", 30.0) is not None
    site.put("state/id", a.cluster_id.encode())
    a.broadcast(b"x")
    assert a.campaign("A", 30.0) is not None


@pytest.mark.parametrize("value", [b"", b"x" * 65, b"\xff\xfe", b"a/b"])
def test_an_id_that_is_none_is_not_accepted(site, value):
    site.put("state/id", value)
    with pytest.raises(ClusterUnavailable, match="is none of ours"):
        site.open()


# What is none of ours


def test_a_term_that_nobody_holds_is_none(site):
    a = site.open()
    site.put("state/term", b"written by hand")
    assert a.leader() is None
    assert a.campaign("A", 30.0) is not None


@pytest.mark.parametrize("value", [
    b"", b"\xc1", b"text", b"\x93\x01\x02\x03", json.dumps(["", "A", "h", 1, 0]).encode(), b"\x95" + b"\xa0" * 5,
    encode(["", "A", "0" * 32, 1_000, -1]), encode(["", "A", "../../agent/leave", 1_000, 0]),
    b"\x95\xa0\xa1A\xa1h\xce\x00\x00\x03\xe8\xcf" + b"\xff" * 8, b"\x91" * 5_000,
])
def test_what_another_program_holds_is_no_term_and_no_lock_of_ours(site, caplog, value):
    a = site.open()
    session = site.link.put("session/create", {"Name": f"{site.name}-other", "Behavior": "delete",
                                                "LockDelay": "0s"}).data["ID"]
    path = f"{site.name}/cluster/state/term"
    hold = {"Verb": "lock", "Key": path, "Value": base64.b64encode(value).decode(), "Session": session}
    lock = {**hold, "Key": a._path("k")}
    assert site.link.put("txn", [{"KV": hold}, {"KV": lock}]).status == 200
    with caplog.at_level(logging.WARNING):
        assert a.leader() is None
    assert "none of ours" in caplog.text
    assert a.campaign("A", 30.0) is None
    assert a.acquire_lock("k", "h", 30.0) is None
    site.link.put(f"session/destroy/{session}")
    assert a.campaign("A", 30.0) is not None
    assert a.acquire_lock("k", "h", 30.0) is not None


def test_services_that_are_no_nodes_are_left_out(site, caplog):
    a = site.open()
    a.register(node("good"), 600.0)
    many = {f"part{n:02}": "A" * 500 for n in range(64)}
    hostile = [{}, {"part00": "%%%"}, {"part00": "aGVsbG8="}, {"part01": "x"}, many]
    for n, meta in enumerate(hostile):
        body = {"ID": f"{site.name}-node-{n}", "Name": f"{site.name}-node", "Meta": meta,
                "Check": {"TTL": "600s", "Status": "passing"}}
        assert site.link.put("agent/service/register", body).status == 200
    bare = {"ID": f"{site.name}-node-bare", "Name": f"{site.name}-node"}
    assert site.link.put("agent/service/register", bare).status == 200
    with caplog.at_level(logging.WARNING):
        eventually(lambda: len(a._members._rows()) == len(hostile) + 2, WAIT_S, "all are there")
        assert a.nodes() == (node("good"),)
    assert caplog.text.count("none of ours") == len(hostile)
    for n in [*range(len(hostile)), "bare"]:
        site.link.put(f"agent/service/deregister/{site.name}-node-{n}")
    a.unregister("boot-good")


def test_a_node_whose_service_was_removed_by_hand_comes_back(site):
    a = site.open()
    a.register(node(), 600.0)
    site.link.put(f"agent/service/deregister/{a._members._id('boot-n1')}")
    eventually(lambda: a.nodes() == (), WAIT_S, "it is gone")
    a.register(node(), 600.0)
    assert a.nodes() == (node(),)
    a.unregister("boot-n1")


def test_to_stay_a_member_costs_no_write(site):
    a = site.open()
    a.register(node(), 600.0)
    before = site.writes()
    for _ in range(50):
        a.register(node(), 600.0)
    assert site.writes() - before < 10, "Consul writes something of its own every few seconds"
    a.unregister("boot-n1")


# Broadcasts


def test_old_broadcasts_are_removed_and_who_is_behind_misses_them(site, monkeypatch):
    monkeypatch.setattr("callboard.backends.cluster.consul.bus.BUCKETS_KEPT", 1)
    monkeypatch.setattr("callboard.backends.cluster.consul.bus.MESSAGES_KEPT", 32)
    a = site.open()
    first = a._bus.newest()
    for n in range(100):
        a.broadcast(b"%d" % n)
    got = a.messages_after(first, 1_000)
    assert [body for _, body in got] == [b"%d" % n for n in range(68, 100)]
    assert [number for number, _ in got] == list(range(first + 69, first + 101))
    kept = site.link.get(f"kv/{site.name}/cluster/bus/", ("keys", "")).data
    assert 32 <= len(kept) <= 64


def test_a_sequence_that_was_deleted_begins_above_what_it_gave(site):
    a, b = site.open(), site.open()
    got, arrived = [], threading.Event()
    b.subscribe(lambda message: (got.append(message), arrived.set()))
    for _ in range(5):
        a.broadcast(b"before")
    eventually(lambda: len(got) == 5, WAIT_S, "it arrives")
    site.delete("state/sequence")
    a.broadcast(b"after")
    eventually(lambda: got[5:] == [b"after"], WAIT_S, "what came later arrives, and nothing twice")


def test_a_broadcast_that_cannot_be_ours_is_left_out(site):
    a = site.open()
    got = []
    a.subscribe(got.append)
    newest = a._bus.newest() + 1
    site.put(f"bus/{newest // 32:019}/{newest % 32:02}", b"x" * 70_000)
    site.put("state/sequence", b"%d" % newest)
    a.broadcast(b"ours")
    eventually(lambda: got == [b"ours"], WAIT_S, "ours arrives")


# Threads


def test_threads_end_with_the_backend_though_they_wait_in_queries(site):
    before = set(threading.enumerate())
    a = site.open()
    a.watch(lambda: None)
    a.subscribe(lambda _: None)
    own = set(threading.enumerate()) - before
    assert len(own) == 3
    eventually(lambda: len(a._bells._link._transports[0]._sockets) == 2, WAIT_S, "both wait")
    begun_s = SystemClock().boot_s()
    a.close()
    assert SystemClock().boot_s() - begun_s < 2.0
    assert not any(thread.is_alive() for thread in own)

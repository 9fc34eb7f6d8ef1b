"""The cluster on etcd: a server that is killed, stopped and emptied; calls whose outcome is not known."""

import threading
import time

import etcdkit
import pytest
from etcdkit import TIMEOUT_S, WAIT_S, keys, node, raw, works
from kit import eventually

from callboard.backends.cluster.etcd import cluster as module
from callboard.backends.cluster.etcd import requests as ask
from callboard.backends.cluster.etcd.bells import EtcdBells
from callboard.core.errors import ClusterUnavailable
from callboard.core.records import LockToken

server = etcdkit.server
opened = etcdkit.opened


def fail_in_time(cluster, term, timeout_s=TIMEOUT_S):
    """Each act is an error, soon."""
    for call in (
        cluster.leader, cluster.nodes, lambda: cluster.campaign("B", 10.0), lambda: cluster.renew(term, 10.0),
        lambda: cluster.resign(term), lambda: cluster.acquire_lock("k", "h", 9.0), lambda: cluster.broadcast(b"x"),
        lambda: cluster.register(node(), 9.0), lambda: cluster.unregister("b"),
    ):  # fmt: skip
        began_s = time.monotonic()
        with pytest.raises(ClusterUnavailable, match="does not answer"):
            call()
        assert time.monotonic() - began_s < timeout_s + 1.0


def test_a_killed_server_is_an_error_and_what_it_promised_is_there_when_it_is_back(server, opened):
    """Its tokens are gone with it: the clients log in again."""
    cluster, other, got, hint = opened(), opened(), [], threading.Event()
    other.subscribe(got.append)
    other.watch(hint.set)
    term = cluster.campaign("A", 60.0)
    lock = cluster.acquire_lock("held", "h", 60.0)
    cluster.register(node(), 60.0)
    cluster.broadcast(b"before")
    server.kill()
    fail_in_time(cluster, term)
    server.start()
    assert works(cluster.leader) == term
    assert works(lambda: cluster.renew(term, 60.0)) is True
    assert works(lambda: other.acquire_lock("held", "other", 9.0)) is None
    assert cluster.nodes() == (node(),)
    assert cluster.release_lock(lock) is True
    assert other.acquire_lock("held", "other", 9.0).number > lock.number
    cluster.broadcast(b"after")
    eventually(lambda: got == [b"before", b"after"], WAIT_S, "both broadcasts arrive")
    hint.clear()
    cluster.resign(term)
    assert hint.wait(WAIT_S)
    assert other.campaign("B", 60.0).number > term.number


def test_a_stopped_server_is_an_error_in_time_and_all_goes_on_when_it_does(server, opened):
    cluster = opened(timeout_s=0.3)
    term = cluster.campaign("A", 60.0)
    server.pause()
    try:
        fail_in_time(cluster, term, 0.3)
    finally:
        server.resume()
    assert works(lambda: cluster.renew(term, 60.0)) is True
    assert works(cluster.leader) == term


def test_bells_are_heard_again_after_a_restart_and_tell_without_a_poll(server, opened, monkeypatch):
    monkeypatch.setattr(module, "POLL_S", 600.0)
    cluster, other, got, hint = opened(), opened(), [], threading.Event()
    other.subscribe(got.append)
    other.watch(hint.set)
    assert hint.wait(WAIT_S)
    server.kill()
    server.start()
    works(lambda: cluster.broadcast(b"while deaf"))
    eventually(lambda: got == [b"while deaf"], WAIT_S, "it looked when it was back")
    for change in (lambda: cluster.register(node(), 600.0), lambda: cluster.unregister("boot-n1"),
                   lambda: cluster.campaign("A", 600.0), lambda: cluster.resign(cluster.leader())):
        hint.clear()
        change()
        assert hint.wait(WAIT_S)


def test_without_bells_the_poll_tells(opened, monkeypatch):
    monkeypatch.setattr(EtcdBells, "listen", lambda _: None)
    cluster, got, hint = opened(), [], threading.Event()
    cluster.subscribe(got.append)
    cluster.watch(hint.set)
    assert hint.wait(WAIT_S)
    hint.clear()
    cluster.broadcast(b"x")
    cluster.campaign("A", 60.0)
    assert hint.wait(WAIT_S)
    eventually(lambda: got == [b"x"], WAIT_S, "the broadcast arrives")


def test_other_data_are_noticed_and_nothing_is_granted_or_written(opened):
    """As after the data directory was removed: numbers would begin anew."""
    cluster = opened()
    term, lock = cluster.campaign("A", 60.0), cluster.acquire_lock("k", "h", 60.0)
    raw(cluster, ask.delete(cluster._id_key))
    for damage in (None, b"f" * 32):
        if damage:
            raw(cluster, ask.put(cluster._id_key, damage))
        before = keys(cluster)
        for call in (
            cluster.leader, cluster.nodes, lambda: cluster.campaign("B", 9.0), lambda: cluster.renew(term, 60.0),
            lambda: cluster.resign(term), lambda: cluster.acquire_lock("k2", "h", 9.0), lambda: cluster.broadcast(b"x"),
            lambda: cluster.release_lock(lock), lambda: cluster.register(node(), 9.0), lambda: cluster.unregister("b"),
            lambda: cluster.subscribe(print),
        ):  # fmt: skip
            with pytest.raises(ClusterUnavailable, match="emptied or replaced"):
                call()
        assert keys(cluster) == before
    raw(cluster, ask.put(cluster._id_key, b"not ours"))
    with pytest.raises(ClusterUnavailable, match="none of callboard's"):
        opened()


def test_a_term_that_was_won_unheard_is_ended_by_the_next_campaign(opened, monkeypatch):
    cluster, other = opened(), opened()
    act = cluster._act

    def deaf(*compare, do=(), other=(), link=None):
        done = act(*compare, do=do, other=other, link=link)
        if any(part.WhichOneof("request") == "request_put" for part in do):
            raise ClusterUnavailable("no answer")
        return done

    monkeypatch.setattr(cluster, "_act", deaf)
    with pytest.raises(ClusterUnavailable):
        cluster.campaign("A", 60.0)
    lost = other.leader()
    assert lost.owner == "A"
    monkeypatch.undo()
    assert cluster.campaign("A", 60.0).number > lost.number


@pytest.mark.parametrize("what", ["campaign", "acquire", "extend", "broadcast", "renew with another ttl"])
def test_a_call_that_is_sent_again_is_done_once(opened, monkeypatch, what):
    """Its first answer is lost, as when a server dies after the write."""
    cluster, got = opened(), []
    cluster.subscribe(got.append)
    term = None if what == "campaign" else cluster.campaign("A", 60.0)
    lock = cluster.acquire_lock("mine", "h", 30.0)
    for link in (cluster._link, cluster._renewals):
        monkeypatch.setattr(link, "txn", lambda *parts, txn=link.txn: (txn(*parts), txn(*parts))[1])
    match what:
        case "campaign":
            won = cluster.campaign("A", 60.0)
            assert cluster.leader() == won
        case "acquire":
            token = cluster.acquire_lock("k", "h", 30.0)
            assert cluster.acquire_lock("k", "h", 30.0).number == token.number
            assert cluster.acquire_lock("k", "other", 30.0) is None
        case "extend":
            assert cluster.acquire_lock("mine", "h", 60.0).number == lock.number
            assert cluster.acquire_lock("mine", "other", 60.0) is None
        case "renew with another ttl":
            assert cluster.renew(term, 30.0) is True
            assert cluster.leader() == term._replace(ttl_s=30.0)
            assert cluster.renew(term, 30.0) is True
        case "broadcast":
            cluster.broadcast(b"one")
            cluster.broadcast(b"two")
            eventually(lambda: b"two" in got, WAIT_S, "they arrive")
            assert got == [b"one", b"two"]


def test_a_renewal_by_a_leader_that_etcd_had_deposed_is_made_again(opened, monkeypatch):
    cluster, kept = opened(), []
    term = cluster.campaign("A", 60.0)
    keep = cluster._renewals.keep
    monkeypatch.setattr(cluster._renewals, "keep", lambda lease: keep(lease) - (kept.append(lease) or len(kept) == 1))
    assert cluster.renew(term, 60.0) is True
    assert len(kept) == 2
    monkeypatch.setattr(cluster._renewals, "keep", lambda lease: keep(lease) - 1)
    with pytest.raises(ClusterUnavailable, match="changed at every look"):
        cluster.renew(term, 60.0)


@pytest.mark.parametrize("answer", [
    {"succeeded": True}, {"succeeded": False}, {"succeeded": True, "responses": [{"response_put": {}}]},
    {"succeeded": True, "responses": [{}]},
])
def test_an_answer_that_is_none_of_etcds_is_an_error(opened, monkeypatch, answer):
    from etcd3 import etcdrpc  # noqa: PLC0415 - for this call alone

    cluster = opened()
    monkeypatch.setattr(cluster._link, "txn", lambda *_: etcdrpc.TxnResponse(**answer))
    for call in (cluster.leader, cluster.nodes, lambda: cluster.release_lock(LockToken("k", "h", 7, 9.0))):
        with pytest.raises(ClusterUnavailable, match="answers otherwise"):
            call()


def test_a_membership_whose_lease_was_ended_by_others_is_made_anew(opened):
    cluster = opened()
    cluster.register(node(), 60.0)
    cluster._link.revoke(cluster._leases["boot-n1"][1])
    assert cluster.nodes() == ()
    cluster.register(node(), 60.0)
    assert cluster.nodes() == (node(),)


def test_broadcasts_go_on_when_their_lease_was_ended_by_others(opened):
    cluster, got = opened(), []
    cluster.subscribe(got.append)
    cluster.broadcast(b"one")
    eventually(lambda: got == [b"one"], WAIT_S, "the first arrives")
    cluster._link.revoke(cluster._message_lease[0])
    cluster.broadcast(b"two")
    eventually(lambda: got == [b"one", b"two"], WAIT_S, "the next arrives")

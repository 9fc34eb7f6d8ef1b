"""The cluster on etcd: what others write into its keys, its bounds, and that everything has an end."""

import threading
from contextlib import closing

import etcdkit
import pytest
import servers
from etcdkit import WAIT_S, keys, leased, node, raw
from kit import eventually

from callboard.backends.cluster.etcd import cluster as module
from callboard.backends.cluster.etcd import open_etcd_cluster
from callboard.backends.cluster.etcd import requests as ask
from callboard.core.codec import BROADCAST_MAX_BYTES
from callboard.core.errors import ClusterUnavailable

server = etcdkit.server
opened = etcdkit.opened


@pytest.mark.parametrize("value", [
    b"", b"garbage", b"\xc1", b"\x93\xa1A\xa1h\xcb\x7f\xf8" + b"\x00" * 6, b"x" * 100_000,
])
@pytest.mark.parametrize("ends", [True, False])
def test_a_term_that_is_none_of_ours_counts_as_none_and_holds_nobody_up(opened, caplog, value, ends):
    cluster = opened()
    raw(cluster, ask.put(cluster._term_key, value, leased(cluster) if ends else 0))
    assert cluster.leader() is None
    assert "none of callboard's" in caplog.text
    won = eventually(lambda: cluster.campaign("A", 60.0), WAIT_S, "it leads")
    assert cluster.leader() == won


def test_a_term_without_an_end_holds_nobody_up(opened):
    cluster = opened()
    first = cluster.campaign("A", 60.0)
    found = raw(cluster, ask.get(cluster._term_key)).responses[0].response_range.kvs[0]
    raw(cluster, ask.put(cluster._term_key, found.value))
    assert cluster.leader() is None
    assert cluster.renew(first, 60.0) is False
    assert eventually(lambda: cluster.campaign("B", 60.0), WAIT_S, "B leads").number > first.number


def test_nodes_that_cannot_be_ours_are_left_out(opened, caplog):
    cluster = opened()
    cluster.register(node("good"), 60.0)
    good = raw(cluster, ask.get(cluster._nodes + b"boot-good")).responses[0].response_range.kvs[0].value
    bad = {b"boot-good2": good, b"\xff": b"", b"boot-x": b"\xc1", b"boot-y": b"\x93", b"boot-z": b"\x00" * 100_000}
    raw(cluster, *(ask.put(cluster._nodes + key, value, leased(cluster)) for key, value in bad.items()))
    raw(cluster, ask.put(cluster._nodes + b"boot-good", good))  # without an end
    assert cluster.nodes() == ()
    assert "left out" in caplog.text
    cluster.register(node("good"), 60.0)
    assert cluster.nodes() == (node("good"),)


def test_a_lock_without_an_end_holds_nobody_up_and_one_with_an_end_does(opened):
    cluster = opened()
    raw(cluster, ask.put(cluster._locks + b"a", b"someone"), ask.put(cluster._locks + b"b", b"\xff", leased(cluster)))
    assert cluster.acquire_lock("a", "h", 9.0) is not None
    assert cluster.acquire_lock("b", "h", 9.0) is None


def test_broadcasts_over_the_limit_are_left_out_and_the_next_arrive(opened, monkeypatch):
    monkeypatch.setattr(module, "_LARGE", 2)
    cluster, got = opened(), []
    cluster.subscribe(got.append)
    for n in range(30):  # more than an answer may have
        key = cluster._messages + b"%d" % n
        raw(cluster, ask.put(key, b"x" * 1_400_000, leased(cluster)), ask.put(cluster._sent, b""))
    cluster.broadcast(b"x" * BROADCAST_MAX_BYTES)
    cluster.broadcast(b"next")
    eventually(lambda: len(got) == 2, WAIT_S, "both arrive")
    assert got == [b"x" * BROADCAST_MAX_BYTES, b"next"]


def test_a_compaction_takes_nothing_from_subscribers(opened):
    from etcd3 import etcdrpc  # noqa: PLC0415 - for this call alone

    cluster, got = opened(), []
    cluster.subscribe(got.append)
    for n in range(5):
        cluster.broadcast(b"%d" % n)
        revision = raw(cluster, ask.get(cluster._id_key)).header.revision
        cluster._link._call(lambda server, **how: server.kv.Compact(
            etcdrpc.CompactionRequest(revision=revision, physical=True), **how))  # noqa: B023 - used at once
    eventually(lambda: len(got) == 5, WAIT_S, "all arrive")
    assert got == [b"0", b"1", b"2", b"3", b"4"]


def test_broadcasts_are_capped_by_number_and_the_newest_stay(opened, monkeypatch):
    monkeypatch.setattr(module, "MESSAGES_MAX", 20)
    cluster = opened()
    for n in range(60):
        cluster.broadcast(b"%d" % n)
    kept = [body for _, body in cluster.messages_after(0, 100)]
    assert 0 < len(kept) <= 20
    assert kept == [b"%d" % n for n in range(60 - len(kept), 60)]


def test_one_lock_and_one_node_more_than_the_limits_are_refused_and_those_that_are_in_stay(opened, monkeypatch):
    monkeypatch.setattr(module, "LOCKS_MAX", 2)
    monkeypatch.setattr(module, "NODES_MAX", 2)
    cluster, other = opened(), opened()
    for name in ("a", "b"):
        cluster.acquire_lock(name, "h", 60.0)
        cluster.register(node(name), 60.0)
    for call in (lambda: other.acquire_lock("c", "h", 60.0), lambda: other.register(node("c"), 60.0)):
        with pytest.raises(ClusterUnavailable, match="limit"):
            call()
    assert cluster.acquire_lock("a", "h", 60.0) is not None
    cluster.register(node("a"), 60.0)
    other.register(node("b"), 30.0)
    assert cluster.nodes() == (node("a"), node("b"))


def test_every_key_has_an_end_but_two_and_what_is_over_leaves_no_lease(opened, monkeypatch):
    from etcd3 import etcdrpc  # noqa: PLC0415 - for this call alone

    def lives(lease):
        ask_for = etcdrpc.LeaseTimeToLiveRequest(ID=lease)
        return cluster._link._call(lambda server, **how: server.lease.LeaseTimeToLive(ask_for, **how)).TTL > 0

    cluster, granted = opened(), []
    for link in (cluster._link, cluster._renewals):
        monkeypatch.setattr(link, "grant", lambda s, grant=link.grant: (granted.append(got := grant(s)), got)[1])
    term, lock = cluster.campaign("A", 3_000.0), cluster.acquire_lock("k", "h", 3_000.0)
    lock = cluster.acquire_lock("k", "h", 3_500.0)
    cluster.register(node(), 3_000.0)
    cluster.register(node(), 3_500.0)
    assert cluster.renew(term, 3_500.0)
    cluster.broadcast(b"x")
    assert cluster.campaign("B", 3_000.0) is None
    assert sorted(name for name, ends in keys(cluster).items() if not ends) == ["id", "sent"]
    cluster.resign(term)
    cluster.release_lock(lock)
    cluster.unregister("boot-n1")
    assert {name.partition("/")[0] for name in keys(cluster)} == {"id", "sent", "message"}
    assert len(granted) == 7
    assert [lease for lease, _ in granted if lives(lease)] == [cluster._message_lease[0]]


def test_heartbeats_and_renewals_write_nothing(opened):
    """A write is on the disks of most servers, and in the history until it is compacted."""
    cluster = opened()
    term = cluster.campaign("A", 60.0)
    cluster.register(node(), 60.0)
    before = raw(cluster, ask.get(cluster._id_key)).header.revision
    for _ in range(3):
        assert cluster.renew(term, term.ttl_s)
        cluster.register(node(), 60.0)
        assert cluster.campaign("B", 60.0) is None
        cluster.look()
    assert raw(cluster, ask.get(cluster._id_key)).header.revision == before


def refused(call):
    """What the refusal says; "" where there is none."""
    try:
        call()
    except ClusterUnavailable as error:
        return str(error)
    return ""


def test_a_full_etcd_refuses_what_is_new_and_keeps_what_is_held():
    with servers.etcd(quota_bytes=4 << 20, users=False) as small, closing(open_etcd_cluster(small.url)) as cluster:
        term, lock = cluster.campaign("A", 60.0), cluster.acquire_lock("k", "h", 60.0)
        cluster.register(node(), 60.0)
        filled = eventually(lambda: refused(lambda: raw(cluster, ask.put(b"/other", b"x" * 1_000_000))), WAIT_S, "full")
        assert "RESOURCE_EXHAUSTED" in filled
        for call in (lambda: cluster.acquire_lock("k2", "h", 9.0), lambda: cluster.broadcast(b"x"),
                     lambda: cluster.register(node("n2"), 9.0)):
            with pytest.raises(ClusterUnavailable, match="RESOURCE_EXHAUSTED"):
                call()
        assert cluster.renew(term, 60.0) is True
        cluster.register(node(), 60.0)
        assert cluster.nodes() == (node(),)
        assert cluster.leader() == term
        assert cluster.release_lock(lock) is True
        cluster.resign(term)
        assert cluster.leader() is None


def test_a_ttl_that_etcd_lengthens_is_told():
    with servers.etcd(election_timeout_ms=2_000, users=False) as slow, closing(open_etcd_cluster(slow.url)) as cluster:
        term = cluster.campaign("A", 1.0)
        assert term.ttl_s == 3.0
        assert cluster.renew(term, term.ttl_s)
        assert cluster.leader() == term
        assert cluster.acquire_lock("k", "h", 0.5).ttl_s == 3.0


def test_closing_ends_every_thread(server):
    before = set(threading.enumerate())
    cluster = open_etcd_cluster(server.url)
    cluster.subscribe(print)
    cluster.watch(lambda: None)
    assert cluster.renew(cluster.campaign("A", 9.0), 9.0)
    cluster.close()
    cluster.close()
    eventually(lambda: set(threading.enumerate()) <= before, WAIT_S, "its threads have ended")


def test_close_from_a_callback_returns(server):
    cluster, closed = open_etcd_cluster(server.url), threading.Event()
    cluster.watch(lambda: (cluster.close(), closed.set()))
    assert closed.wait(WAIT_S)

"""The cluster on etcd: a server that is killed, stopped, emptied and set up badly; what others write into its keys."""

import logging
import threading
import time
from contextlib import closing
from uuid import uuid4

import pytest
import servers
from kit import eventually

from callboard.backends.cluster.etcd import cluster as module
from callboard.backends.cluster.etcd import open_etcd_cluster
from callboard.backends.cluster.etcd import requests as ask
from callboard.backends.cluster.etcd.bells import EtcdBells
from callboard.core.codec import BROADCAST_MAX_BYTES
from callboard.core.errors import ClusterUnavailable, QueueError
from callboard.core.records import LockToken, NodeInfo

WAIT_S = 20.0
TIMEOUT_S = 1.0


@pytest.fixture(scope="module")
def server():
    """A server of these tests' own, which they leave running."""
    with servers.etcd() as started:
        yield started


@pytest.fixture
def opened(server, request):
    """Opens clusters on it, of one name for the test; closes them at the end."""
    every, name = [], f"test-{uuid4().hex}"

    def make(url=None, *, timeout_s=TIMEOUT_S):
        every.append(open_etcd_cluster(f"{url or server.url}?name={name}", timeout_s))
        return every[-1]

    yield make
    for cluster in every:
        cluster.close()
    assert server.alive, request.node.name


def node(name="n1", **more):
    return NodeInfo(name, f"boot-{name}", **more)


def raw(cluster, *parts):
    """What somebody else does, in one transaction."""
    return cluster._link.txn([], list(parts), [])


def keys(cluster, part=b""):
    """The installation's keys, and whether each has an end."""
    found = raw(cluster, ask.scan(cluster._at + part, 10_000)).responses[0].response_range.kvs
    return {kv.key.removeprefix(cluster._at).decode(): bool(kv.lease) for kv in found}


def works(call):
    """Try an act until the server is back."""

    def tried():
        try:
            return (call(),)
        except ClusterUnavailable:
            return None

    return eventually(tried, WAIT_S, "the server is back")[0]


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


# Killed, stopped, emptied


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


# Calls whose outcome is not known


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


# What others write


def leased(cluster):
    return cluster._link.grant(60)[0]


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


# Bounds and ends


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


# Users, TLS, several servers


@pytest.fixture(scope="module")
def tls():
    """A server that speaks TLS alone and asks clients for a certificate."""
    with servers.etcd(tls=True, client_certificates=True) as started:
        yield started


def test_tls_with_a_client_certificate_user_and_password(tls):
    files = f"?ca={tls.ca}&cert={tls.folder}/client.pem&key={tls.folder}/client.key"
    with closing(open_etcd_cluster(tls.url_of("limited") + files)) as cluster:
        got = []
        cluster.subscribe(got.append)
        term = cluster.campaign("A", 9.0)
        assert cluster.renew(term, 9.0)
        cluster.broadcast(b"x")
        eventually(lambda: got == [b"x"], WAIT_S, "the broadcast arrives")


@pytest.mark.parametrize("change", ["no ca", "another ca", "no certificate", "in the clear"])
def test_who_cannot_be_trusted_is_refused(tls, change, tmp_path):
    import trustme  # noqa: PLC0415 - for this test alone

    other = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(other)
    own = f"&cert={tls.folder}/client.pem&key={tls.folder}/client.key"
    url = {"no ca": f"{tls.url}?{own[1:]}", "another ca": f"{tls.url}?ca={other}{own}",
           "no certificate": f"{tls.url}?ca={tls.ca}", "in the clear": tls.url.replace("etcds:", "etcd:")}[change]
    with pytest.raises(ClusterUnavailable) as refused:
        open_etcd_cluster(url, 1.0).close()
    assert tls.password not in str(refused.value)


@pytest.mark.parametrize("secret", ["callboard:canary@", "nobody:canary@", ""])
def test_a_wrong_login_is_refused_and_no_secret_is_shown(server, caplog, capfd, secret):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(QueueError, match=r"no such user|refuses") as refused:
        open_etcd_cluster(f"etcd://{secret}127.0.0.1:{server.port}").close()
    told = capfd.readouterr()
    assert "canary" not in f"{refused.value!r} {refused.value.__cause__} {caplog.text} {told.out} {told.err}"


def test_no_secret_is_in_what_a_cluster_says_of_itself(server, opened, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    cluster = opened()
    cluster.subscribe(print)
    cluster.close()
    with pytest.raises(ClusterUnavailable) as gone:
        cluster.leader()
    shown = f"{cluster!r} {vars(cluster)!r} {cluster.characteristics} {cluster._link.login.address!r} {gone.value}"
    told = capfd.readouterr()
    for secret in (server.password, cluster._link.login.token):
        assert secret
        assert secret not in f"{shown} {caplog.text} {told.out} {told.err}"


def test_rights_to_its_own_keys_are_enough_and_without_them_it_says_so(server):
    with closing(open_etcd_cluster(f"{server.url_of('limited')}?name={uuid4().hex}")) as cluster:
        term, lock = cluster.campaign("A", 9.0), cluster.acquire_lock("k", "h", 9.0)
        cluster.register(node(), 9.0)
        cluster.broadcast(b"x")
        assert cluster.renew(term, 9.0)
        assert cluster.release_lock(lock)
        cluster.unregister("boot-n1")
        cluster.resign(term)
        cluster._at = b"/other/"
        with pytest.raises(ClusterUnavailable, match="PERMISSION_DENIED"):
            cluster._act(do=[ask.get(b"/other/x")])


def test_one_of_three_servers_dies_and_every_act_goes_on():
    with servers.etcd_ensemble() as three, closing(open_etcd_cluster(three.url)) as cluster:
        term = cluster.campaign("A", 60.0)
        got = []
        cluster.subscribe(got.append)
        for message in (b"one", b"two"):
            dead = three.leader()
            dead.kill()
            assert works(lambda: cluster.renew(term, 60.0)) is True
            works(lambda: cluster.broadcast(message))  # noqa: B023 - used at once
            dead.start()
        eventually(lambda: {b"one", b"two"} <= set(got), WAIT_S, "both broadcasts arrive")
        assert works(cluster.leader) == term

"""The cluster on ZooKeeper: a server that is killed, stopped, emptied; sessions; rights; TLS; three servers."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress

import pytest
import servers
import zookeeperkit as kit
from kit import eventually

from callboard.backends.cluster.zookeeper import open_zookeeper_cluster
from callboard.backends.cluster.zookeeper.election import Election
from callboard.core.errors import ClusterUnavailable

WAIT_S = 40.0
"""A renewal after a long silence is refused for half a session: 15 s where the ttl is 30 s."""


address, opened = kit.address, kit.opened


def boot_s():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def works(call):
    """Try an act until the server is back."""

    def tried():
        try:
            return (call(),)
        except ClusterUnavailable:
            return None

    return eventually(tried, WAIT_S, "the server is back")[0]


def fail_in_time(cluster, term):
    """Each act is an error, soon."""
    for call in (
        cluster.leader, cluster.nodes, lambda: cluster.campaign("B", 10.0), lambda: cluster.renew(term, 10.0),
        lambda: cluster.resign(term), lambda: cluster.acquire_lock("k", "h", 9.0), lambda: cluster.broadcast(b"x"),
        lambda: cluster.register(kit.node(), 9.0), lambda: cluster.unregister("b"),
    ):  # fmt: skip
        began_s = time.monotonic()
        with pytest.raises(ClusterUnavailable):
            call()
        assert time.monotonic() - began_s < kit.TIMEOUT_S + 1.0


# Killed, stopped, emptied


def test_a_killed_server_is_an_error_and_what_it_promised_is_there_when_it_is_back(opened):
    with servers.zookeeper() as server:
        cluster, other, got, hint = opened(server.url), opened(server.url), [], threading.Event()
        other.subscribe(got.append)
        other.watch(hint.set)
        term = cluster.campaign("A", 30.0)
        lock = cluster.acquire_lock("held", "h", 30.0)
        cluster.register(kit.node(), 30.0)
        cluster.broadcast(b"before")
        server.kill()
        with pytest.raises(ClusterUnavailable):
            cluster.renew(term, 30.0)
        server.start()
        assert works(lambda: cluster.renew(term, 30.0)) is True
        assert works(cluster.leader) == term
        assert works(lambda: other.acquire_lock("held", "other", 9.0)) is None
        assert cluster.nodes() == (kit.node(),)
        assert cluster.release_lock(lock) is True
        assert other.acquire_lock("held", "other", 9.0).number > lock.number
        cluster.broadcast(b"after")
        eventually(lambda: got == [b"before", b"after"], WAIT_S, "both broadcasts arrive")
        hint.clear()
        cluster.resign(term)
        assert hint.wait(WAIT_S)
        assert other.campaign("B", 30.0).number > term.number


def test_a_stopped_server_is_an_error_in_time_and_all_goes_on_when_it_does(opened):
    with servers.zookeeper() as server:
        cluster = opened(server.url, 0.5)
        term = cluster.campaign("A", 30.0)
        server.pause()
        try:
            fail_in_time(cluster, term)
        finally:
            server.resume()
        assert works(cluster.nodes) in {(), (kit.node(),)}
        eventually(lambda: works(cluster.leader) is None, WAIT_S, "who resigned unheard leads no more")
        assert works(lambda: cluster.renew(term, 30.0)) is False


def test_an_emptied_server_is_noticed_by_every_act_and_a_new_cluster_has_another_id(opened, address):
    cluster = opened()
    term = cluster.campaign("A", 30.0)
    lock = cluster.acquire_lock("k", "h", 30.0)
    with kit.another(address) as client:
        kit.delete(client, kit.base(address))
    for _ in range(2):  # the second time another cluster is there
        for call in (
            cluster.leader, cluster.nodes, lambda: cluster.campaign("B", 10.0), lambda: cluster.release_lock(lock),
            lambda: cluster.acquire_lock("k", "h", 9.0), lambda: cluster.broadcast(b"x"),
            lambda: cluster.register(kit.node(), 9.0), lambda: cluster.subscribe(print),
        ):  # fmt: skip
            with pytest.raises(ClusterUnavailable, match="emptied or replaced"):
                call()
        assert cluster.renew(term, 10.0) is False
        new = opened()
        assert new.cluster_id != cluster.cluster_id
    assert new.campaign("C", 30.0).number > term.number


def test_a_place_that_holds_something_else_is_refused(opened, address):
    with kit.another(address) as client:
        client.create(kit.base(address), b"somebody's")
    with pytest.raises(ClusterUnavailable, match="no cluster of callboard"):
        opened()


def test_a_place_that_was_made_for_it_is_used(opened, address):
    with kit.another(address) as client:
        client.create(kit.base(address))
    assert opened().campaign("A", 30.0) is not None


def test_a_reconnected_subscriber_gets_what_was_sent_meanwhile_once(opened):
    with servers.zookeeper() as server:
        cluster, other, got = opened(server.url), opened(server.url), []
        other.subscribe(got.append)
        cluster.broadcast(b"one")
        eventually(lambda: got == [b"one"], WAIT_S, "it arrives")
        server.stop()
        server.start()
        works(lambda: cluster.broadcast(b"two"))
        eventually(lambda: b"two" in got, WAIT_S, "it arrives")
        cluster.broadcast(b"three")
        eventually(lambda: b"three" in got, WAIT_S, "it arrives")
        assert len(got) == len(set(got)) == 3


# Sessions


def test_a_term_is_granted_for_as_long_as_its_session_lasts(opened):
    with servers.zookeeper(session_min_ms=3_000) as server:
        assert opened(server.url).campaign("A", 1.0).ttl_s == pytest.approx(3.0, abs=0.01)


def test_what_a_process_held_that_was_stopped_ends_with_its_sessions(opened, address):
    """The child's own client can end nothing: it is stopped."""
    program = (
        "import sys, time; from callboard.backends.cluster.zookeeper import open_zookeeper_cluster as o\n"
        "from callboard.core.records import NodeInfo\n"
        f"c = o({address!r}); t = c.campaign('A', 1.0); c.acquire_lock('k', 'h', 1.0)\n"
        "c.register(NodeInfo('n', 'b'), 1.0); print(t.number, flush=True); time.sleep(60)"
    )
    other = opened()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        try:
            number = int(child.stdout.readline())
            child.send_signal(signal.SIGSTOP)
            new = eventually(lambda: other.campaign("B", 10.0), WAIT_S, "the term is over")
            assert new.number > number
            assert eventually(lambda: other.acquire_lock("k", "other", 10.0), WAIT_S, "the lock is free")
            eventually(lambda: other.nodes() == (), WAIT_S, "the member is gone")
        finally:
            child.kill()


def test_a_session_that_was_silent_too_long_before_a_renewal_is_in_doubt_for_half_its_timeout(opened, monkeypatch):
    cluster = opened()
    term = cluster.campaign("A", 2.0)
    held = cluster._election._held[term.handle]
    assert cluster.renew(term, 2.0)
    monkeypatch.setattr(type(held.session), "contact_s", property(lambda _: boot_s() - 1.6))
    with pytest.raises(ClusterUnavailable, match="silent"):
        cluster.renew(term, 2.0)
    monkeypatch.undo()
    with pytest.raises(ClusterUnavailable, match="silent"):
        cluster.renew(term, 2.0)
    assert works(lambda: cluster.renew(term, 2.0)) is True
    assert boot_s() - held.doubted_s >= 1.0


def test_a_campaign_that_got_no_answer_leaves_no_term(opened, monkeypatch):
    cluster, other = opened(), opened()
    win = Election._win

    def lost(*arguments):
        assert win(*arguments) is not None
        raise ClusterUnavailable("the answer was lost")

    monkeypatch.setattr(Election, "_win", lost)
    with pytest.raises(ClusterUnavailable, match="lost"):
        cluster.campaign("A", 30.0)
    monkeypatch.undo()
    assert eventually(lambda: other.campaign("B", 30.0), WAIT_S, "what was won unheard is over").owner == "B"


def test_threads_end_with_it(address):
    before = set(threading.enumerate())
    cluster = open_zookeeper_cluster(address)
    cluster.watch(lambda: None)
    cluster.campaign("A", 30.0)
    cluster.acquire_lock("k", "h", 30.0)
    cluster.close()
    eventually(lambda: set(threading.enumerate()) <= before, WAIT_S, "all threads have ended")
    with pytest.raises(ClusterUnavailable, match="closed"):
        cluster.acquire_lock("k2", "h", 1.0)
    assert set(threading.enumerate()) <= before


def test_a_forked_child_is_told_to_open_another(opened):
    cluster = opened()
    child = os.fork()
    if child == 0:
        with suppress(ClusterUnavailable):
            cluster.leader()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cluster.leader() is None


# Rights, TLS, secrets


def test_with_a_user_others_can_neither_read_nor_write_and_nothing_shows_the_password(address, opened, caplog):
    caplog.set_level(1)
    secret = "canary-of-zookeeper"  # noqa: S105 - a test's
    own = address.replace("://", f"://queue:{secret}@")
    cluster = opened(own)
    term = cluster.campaign("A", 30.0)
    assert opened(own).leader() == term
    for wrong in (address, address.replace("://", "://queue:other@")):
        with pytest.raises(ClusterUnavailable, match="refuses") as refused:
            opened(wrong)
        assert secret not in str(refused.value)
    told = f"{cluster!r} {cluster._main!r} {vars(cluster._main)['_address']!r} {cluster.characteristics} {caplog.text}"
    assert secret not in told
    cluster.close()
    with kit.another(address, f"queue:{secret}") as client:
        kit.delete(client, kit.base(address))


def test_kazoo_writes_nothing_into_the_log(opened, caplog):
    caplog.set_level(logging.WARNING)
    with servers.zookeeper() as server:
        cluster = opened(server.url)
        cluster.watch(lambda: None)
        server.kill()
        for _ in range(2):
            with pytest.raises(ClusterUnavailable):
                cluster.leader()
        assert not [record for record in caplog.records if record.name.startswith("kazoo")]
        assert len(caplog.records) <= 2


def test_a_server_that_is_not_there_is_named_with_the_reason(opened):
    with pytest.raises(ClusterUnavailable, match=r"127\.0\.0\.1:1/callboard can't be reached: .*refused"):
        opened("zookeeper://queue:canary@127.0.0.1:1")


def test_tls_with_the_right_authority_only(opened):
    with servers.zookeeper(tls=True) as server:
        with closing(open_zookeeper_cluster(f"{server.url}?ca={server.ca}", 5.0)) as cluster:
            term = cluster.campaign("A", 30.0)
            assert cluster.renew(term, 30.0) is True
        with pytest.raises(ClusterUnavailable, match="can't be reached"):
            opened(server.url)
        with pytest.raises(ClusterUnavailable, match="can't be reached"):
            opened(server.url.replace("zookeepers", "zookeeper"))


# Three servers


def test_the_death_of_the_ensembles_leader_ends_no_term_and_loses_no_broadcast(opened):
    with servers.zookeeper_ensemble() as ensemble:
        cluster, other, got = opened(ensemble.url), opened(ensemble.url), []
        other.subscribe(got.append)
        term = cluster.campaign("A", 20.0)
        cluster.broadcast(b"before")
        ensemble.leader().kill()
        assert works(lambda: cluster.renew(term, 20.0)) is True
        assert works(other.leader) == term
        works(lambda: cluster.broadcast(b"after"))
        eventually(lambda: b"before" in got and b"after" in got, WAIT_S, "both arrive")
        cluster.resign(term)
        new = works(lambda: other.campaign("B", 20.0))
        assert new.number > term.number

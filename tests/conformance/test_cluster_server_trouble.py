"""The `store` cluster on a database server that is killed, stopped and set up badly; bells; forks."""

import os
import threading
import time
from contextlib import closing

import pytest
import servers
from cluster_servers import KINDS, OPEN, edit, prepare
from kit import eventually
from servers import shared

from callboard.backends.socket_bells import SocketBells
from callboard.core.errors import ClusterUnavailable
from callboard.core.records import NodeInfo

WAIT_S = 30.0
TIMEOUT_S = 1.0
SLACK_S = 2.5
"""Connecting takes the drivers 2 s at least to give up; the rest is for a busy machine."""


@pytest.fixture(params=KINDS)
def server(request):
    """A server of the test's own, with the tables."""
    with getattr(servers, request.param)() as started:
        prepare(started.url)
        yield started


@pytest.fixture
def opened(server):
    """Opens clusters on it; closes them at the end."""
    every = []

    def make(**options):
        every.append(OPEN[server.name](server.url, timeout_s=TIMEOUT_S, **options))
        return every[-1]

    yield make
    for cluster in every:
        cluster.close()


def acts(cluster, term):
    """Everything that can be asked of a cluster."""
    return (cluster.leader, cluster.nodes, lambda: cluster.campaign("B", 10.0), lambda: cluster.renew(term, 10.0),
            lambda: cluster.resign(term), lambda: cluster.acquire_lock("k", "h", 9.0), lambda: cluster.broadcast(b"x"),
            lambda: cluster.register(NodeInfo("n", "b"), 9.0))


def fail_in_time(cluster, term):
    """Each act is an error, soon."""
    for call in acts(cluster, term):
        began_s = time.monotonic()
        with pytest.raises(ClusterUnavailable):
            call()
        assert time.monotonic() - began_s < TIMEOUT_S + SLACK_S


def works(call):
    """Try an act until the server is back."""

    def tried():
        try:
            return (call(),)
        except ClusterUnavailable:
            return None

    return eventually(tried, WAIT_S, "the server is back")[0]


def test_a_killed_server_is_an_error_at_once_and_what_it_promised_is_there_when_it_is_back(server, opened):
    cluster, other, got, hints = opened(), opened(), [], []
    other.subscribe(got.append)
    other.watch(lambda: hints.append(None))
    eventually(lambda: hints, WAIT_S, "a watch calls once soon")
    term = cluster.campaign("A", 60.0)
    lock = cluster.acquire_lock("held", "h", 60.0)
    cluster.broadcast(b"before")
    server.kill()
    fail_in_time(cluster, term)
    server.start()
    assert works(cluster.leader) == term
    assert works(lambda: cluster.renew(term, 60.0)) is True
    assert works(lambda: other.acquire_lock("held", "other", 9.0)) is None
    assert cluster.release_lock(lock) is True
    assert other.acquire_lock("held", "other", 9.0).number > lock.number
    cluster.broadcast(b"after")
    eventually(lambda: got == [b"before", b"after"], WAIT_S, "both broadcasts arrive")
    hints.clear()
    cluster.resign(term)
    eventually(lambda: hints, WAIT_S, "the watch tells that the term is over")
    assert other.campaign("B", 60.0).number == term.number + 1


def test_a_stopped_server_is_an_error_in_time_and_all_goes_on_when_it_does(server, opened):
    cluster = opened()
    term = cluster.campaign("A", 60.0)
    cluster.register(NodeInfo("n", "b"), 60.0)
    server.pause()
    fail_in_time(cluster, term)
    server.resume()
    assert works(lambda: cluster.renew(term, 60.0)) is True
    assert works(cluster.leader) == term
    assert works(cluster.nodes) == (NodeInfo("n", "b"),)


def test_an_idle_connection_that_the_server_closed_is_opened_again_without_an_error(server, opened):
    cluster = opened()
    term = cluster.campaign("A", 60.0)
    assert cluster.renew(term, 60.0)
    server.stop()
    server.start()
    assert cluster.renew(term, 60.0) is True
    assert cluster.leader() == term


def test_a_forked_child_has_connections_of_its_own(opened):
    cluster = opened()
    term = cluster.campaign("A", 60.0)
    child = os.fork()
    if child == 0:
        os._exit(0 if cluster.renew(term, 60.0) and cluster.leader() == term else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cluster.renew(term, 60.0)
    assert cluster.leader() == term


# Bells


@pytest.fixture(params=KINDS)
def bells(request, monkeypatch):
    """Two clusters that poll so seldom that only bells tell, and as if on two machines."""
    monkeypatch.setattr(SocketBells, "ring", lambda *_: None)
    with shared.database(request.param, prepare) as url:
        pair = [OPEN[request.param](url, poll_s=600.0) for _ in range(2)]
        yield url, *pair
        for cluster in pair:
            cluster.close()


def test_bells_tell_of_broadcasts_leaders_and_members(bells):
    _, one, two = bells
    got, hint = [], threading.Event()
    two.subscribe(got.append)
    two.watch(hint.set)
    assert hint.wait(WAIT_S)
    one.broadcast(b"hello")
    eventually(lambda: got == [b"hello"], WAIT_S, "the broadcast arrives")
    for change in (lambda: one.register(NodeInfo("n", "b"), 600.0), lambda: one.unregister("b"),
                   lambda: one.campaign("A", 600.0), lambda: one.resign(one.leader())):
        hint.clear()
        change()
        assert hint.wait(WAIT_S)


def test_who_resigns_and_closes_at_once_is_heard(bells):
    _, one, two = bells
    hint = threading.Event()
    two.watch(hint.set)
    assert hint.wait(WAIT_S)
    for backend in (one, two):
        backend.register(NodeInfo("n", "b"), 600.0)  # until all that is rung at first was heard
    term = one.campaign("A", 600.0)
    eventually(lambda: two.leader() == term, WAIT_S, "it is seen")
    hint.clear()
    one.resign(term)
    one.close()
    assert hint.wait(WAIT_S)
    eventually(lambda: two.campaign("B", 600.0), WAIT_S, "the next leads")


def cut_off_listeners(url):
    """End the connections that hear bells."""
    if url.startswith("postgresql"):
        listeners = """pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN "callboard%'"""
        eventually(lambda: edit(url, f"SELECT count(*) FROM {listeners}")[0][0], WAIT_S, "it listens")  # noqa: S608 - our own words
        edit(url, f"SELECT pg_terminate_backend(pid) FROM {listeners}")  # noqa: S608 - our own words
        return
    others = "WHERE db = database() AND id <> connection_id()"
    for (session,) in edit(url, f"SELECT id FROM information_schema.processlist {others}"):  # noqa: S608 - our own words
        edit(url, f"KILL {session}")


def test_bells_are_heard_again_after_their_connection_was_lost_and_nothing_was_missed(bells):
    url, one, two = bells
    got, hint = [], threading.Event()
    two.subscribe(got.append)
    two.watch(hint.set)
    assert hint.wait(WAIT_S)
    cut_off_listeners(url)
    one.broadcast(b"while it was deaf")
    eventually(lambda: got == [b"while it was deaf"], WAIT_S, "it looked when it was back")
    one.broadcast(b"after")
    eventually(lambda: len(got) == 2, WAIT_S, "bells are heard again")


# PostgreSQL's own


@pytest.fixture
def url():
    """A database on PostgreSQL."""
    with shared.database("postgresql", prepare) as address:
        yield address


def test_what_the_database_sets_by_default_does_not_weaken_a_term(url):
    name = url.rpartition("/")[2]
    edit(url, f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'",
         f"ALTER DATABASE {name} SET synchronous_commit = off", f"ALTER DATABASE {name} SET statement_timeout = 0")
    try:
        with closing(OPEN["postgresql"](url)) as cluster:
            driver = cluster._acts._connection.driver
            shown = [driver.execute(f"SHOW {name}".encode()).fetchone()[0]
                     for name in ("transaction_isolation", "synchronous_commit", "statement_timeout", "lock_timeout")]
            assert shown == ["read committed", "on", "2s", "1s"]
    finally:
        edit(url, f"ALTER DATABASE {name} RESET ALL")

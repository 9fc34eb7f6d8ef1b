"""The election of programs in trouble: trust ends before the lock does; who stands still in a callback leads nobody."""

from __future__ import annotations

import queue
import sqlite3
import threading
from contextlib import closing

import pytest
from kit import eventually

import callboard
from callboard.backends.clock import SystemClock
from callboard.distributed.election import LockTerms

WAIT_S = 20.0
TTL_S = 1.0
CLOCK = SystemClock()


class Heard:
    """What a callback was told, and when by the boot clock."""

    def __init__(self):
        self.told = queue.Queue()

    def __call__(self, term):
        self.told.put((term, CLOCK.boot_s()))

    def next(self):
        return self.told.get(timeout=WAIT_S)


@pytest.fixture
def address(tmp_path):
    return f"sqlite:///{tmp_path}/cluster.db"


@pytest.fixture
def one(address):
    with callboard.cluster_from_url(address, "one") as cluster:
        yield cluster


@pytest.fixture
def other(address):
    with callboard.cluster_from_url(address, "other") as cluster:
        yield cluster


def test_a_leader_without_its_backend_knows_before_its_lock_can_end(one, other, tmp_path):
    heard = Heard()
    one.start_election(heard, ttl=TTL_S)
    term, _ = heard.next()
    terms = LockTerms(other._backend(), "callboard/election/main")
    assert terms.campaign("other", TTL_S) is None
    with closing(sqlite3.connect(tmp_path / "cluster.db", timeout=WAIT_S, isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")  # nobody can write: no renewal, no campaign
        blocked_s = CLOCK.boot_s()
        lost, lost_s = heard.next()
        assert lost is None
        assert lost_s < blocked_s + TTL_S, "the last renewal before the block is trusted for less than a ttl"
        assert one.trust_left_s() == 0.0
        blocker.execute("ROLLBACK")
    again, _ = heard.next()
    assert again.number > term.number


def test_a_callback_that_does_not_return_loses_the_leadership_and_hears_of_it(one, other):
    heard, go = Heard(), threading.Event()

    def stuck(term):
        heard(term)
        if term is not None and not go.is_set():
            go.wait(WAIT_S)

    one.start_election(stuck, ttl=TTL_S)
    first, _ = heard.next()
    of_other = Heard()
    other.start_election(of_other, ttl=TTL_S)
    second, second_s = of_other.next()  # while the first still stands still
    assert second.number > first.number
    go.set()
    lost, lost_s = heard.next()
    assert (lost, lost_s > second_s) == (None, True)


def test_a_callback_that_raises_for_a_term_gives_it_to_another(one, other, capfd):
    told = Heard()

    def broken(term):
        told(term)
        if term is not None:
            raise ValueError("planted")

    one.start_election(broken, ttl=TTL_S)
    first, first_s = told.next()
    of_other = Heard()
    other.start_election(of_other, ttl=TTL_S)
    assert told.next()[0] is None
    second, second_s = of_other.next()
    assert second.number > first.number
    assert second_s - first_s < TTL_S + 1.0, "it was resigned"
    assert "planted" in capfd.readouterr().err


def test_a_renewal_of_a_lock_that_ended_is_refused_and_holds_nothing(one, other):
    mine, yours = LockTerms(one._backend(), "k"), LockTerms(other._backend(), "k")
    first = mine.campaign("one", 0.1)
    second = eventually(lambda: yours.campaign("other", TTL_S), WAIT_S, "the first has ended")
    assert not mine.renew(first, TTL_S)
    mine.resign(first)  # harmless
    assert yours.renew(second, TTL_S)
    yours.resign(second)
    assert not mine.renew(first, TTL_S)  # free, but another term than the first
    third = yours.campaign("other", TTL_S)
    assert third is not None, "the refused renewal left the lock free"
    assert third.number > second.number


def test_stopping_within_the_callback_ends_the_election(one):
    heard, ended = Heard(), threading.Event()

    def at_once(term):
        heard(term)
        if term is not None:
            one.stop_election()
            ended.set()

    one.start_election(at_once, ttl=TTL_S)
    assert heard.next()[0].owner == "one"
    assert ended.wait(WAIT_S)
    assert heard.next()[0] is None
    one.start_election(heard, ttl=TTL_S)
    assert heard.next()[0].owner == "one"


def test_one_election_at_a_time_for_each_object(one):
    one.start_election(lambda _term: None, ttl=TTL_S)
    with pytest.raises(callboard.QueueError, match="stands for election already"):
        one.start_election(lambda _term: None)
    one.stop_election()
    one.stop_election()


def test_no_thread_is_left(address):
    before = set(threading.enumerate())
    with callboard.cluster_from_url(address) as cluster:
        heard = Heard()
        cluster.start_election(heard, ttl=TTL_S)
        cluster.register("n")
        cluster.subscribe(lambda _message: None)
        heard.next()
    eventually(lambda: set(threading.enumerate()) <= before, WAIT_S, "all threads have ended")
    with pytest.raises(callboard.ClusterUnavailable, match="closed"):
        cluster.nodes()


def test_a_password_is_in_no_error():
    config = callboard.RedisClusterConfig("127.0.0.1:1", "xy:zz@y/?")
    cluster = callboard.RedisCluster(config)
    assert cluster.url == "redis://:xy%3Azz%40y%2F%3F@127.0.0.1:1/0"
    with pytest.raises(callboard.ClusterUnavailable) as caught:
        cluster.nodes()
    shown = repr(config) + repr(cluster) + str(caught.value) + repr(callboard.DistributedConfig(cluster=cluster.url))
    assert "zz" not in shown


@pytest.mark.parametrize(("addr", "db"), [
    ("localhost", 0), ("localhost:0", 0), ("localhost:65536", 0), (":6379", 0), ("a@b:1", 0), ("a/b:1", 0),
    ("a b:1", 0), ("localhost:6379", -1), ("localhost:6379", True),
])  # fmt: skip
def test_a_wrong_address_fails_where_it_is_given(addr, db):
    with pytest.raises(callboard.InvalidArgument):
        callboard.RedisCluster(callboard.RedisClusterConfig(addr, db=db))


def test_wrong_values_fail_where_they_are_given(one):
    with pytest.raises(callboard.UnknownOption, match="did you mean 'host'"):
        one.register("n", {"hots": "x"})
    with pytest.raises(callboard.InvalidArgument):
        one.register("n", {"pid": -1})
    with pytest.raises(callboard.InvalidArgument, match="pid must be of type int"):
        one.register("n", {"pid": "7"})
    with pytest.raises(callboard.InvalidArgument, match="belong to elections"):
        one.acquire_lock("callboard/election/main", 1)
    with pytest.raises(callboard.InvalidArgument):
        one.acquire_lock("k", 0)
    with pytest.raises(callboard.InvalidArgument):
        one.start_election(lambda _term: None, ttl=0)
    with pytest.raises(callboard.UnknownOption):
        callboard.cluster_from_url("gopher://x")
    assert one.nodes() == ()

"""The Redis store and its real server: restarts, other settings, refusals, silence, forks."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import redis
import servers
from kit import eventually

from callboard.backends.cluster.redis import open_redis_cluster
from callboard.backends.store.redis import RedisStoreOptions, open_redis
from callboard.core.errors import (
    ClusterUnavailable,
    PushOutcomeUnknown,
    SessionEnded,
    StoreError,
    StoreReset,
    StoreUnavailable,
)
from callboard.core.records import (
    Assignment,
    Held,
    JobState,
    NewJob,
    NodeInfo,
    Outcome,
    OutcomeKind,
    Plan,
    PoolReport,
    QueueShare,
    TermClaim,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import RedisServer

    from callboard.backends.store.redis import RedisStore

WAIT_S = 20.0
POOL = (PoolReport("q", (QueueShare("q"),), 10, 10),)
SOON = RedisStoreOptions(connect_s=1.0, act_s=0.5, beat_s=0.5)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the test's own; each write is on its disk before it is acknowledged."""
    with servers.redis(durable=True) as own:
        yield own


@contextmanager
def opened(url: str, options: RedisStoreOptions | None = None) -> Iterator[RedisStore]:
    """A store, closed at the end."""
    store = open_redis(url, options or RedisStoreOptions())
    try:
        yield store
    finally:
        store.close()


@contextmanager
def client(server: RedisServer) -> Iterator[redis.Redis]:
    """An administrator's connection."""
    trust = {"ssl_ca_certs": str(server.ca)} if server.options.tls else {}
    with redis.Redis.from_url(server.url, protocol=2, **trust) as admin:
        yield admin


def job(job_id: str, **options: object) -> NewJob:
    """A job."""
    return NewJob(job_id, "app.work", "q", b"\x81\xa1a\x80", **options)


def lead(store: RedisStore) -> tuple:
    """A term and a session."""
    return store.begin_term(TermClaim("c", "redis", 1, "boot")), store.open_session(NodeInfo("n", "boot"), 5.0, POOL)


# Restarts -------------------------------------------------------------------------------------------------------------


def test_scripts_are_loaded_again_after_a_restart(server: RedisServer):
    with opened(server.url) as store:
        store.push([job("a")])
        server.stop()
        server.start()
        assert store.push([job("b")]).new == 1
        with client(server) as admin:
            admin.script_flush()
        assert store.push([job("c")]).new == 1
        assert store.counts(["q"])[0].ready == 3


def test_what_was_acknowledged_survives_kill_9_and_the_store_goes_on(server: RedisServer):
    with opened(server.url) as store:
        epoch, session = lead(store)
        for number in range(50):
            store.push([job(f"j{number}")])
        store.assign(epoch, Plan((Assignment(session, "q", "q", 10),)), session)
        before = store.counts(), store.sessions(), store.fence()
        server.kill()
        with pytest.raises(StoreUnavailable):
            store.counts()
        server.start()
        assert (store.counts(), store.sessions(), store.fence()) == before


def test_a_push_while_the_server_is_away_was_not_sent(server: RedisServer):
    with opened(server.url) as store:
        store.push([job("a")])
        server.kill()
        with pytest.raises(StoreUnavailable) as caught:
            store.push([job("b")])
        assert not isinstance(caught.value, PushOutcomeUnknown), "the idle connection was seen to be dead"
        server.start()
        assert store.job("b") is None


def test_bells_are_heard_again_after_a_restart_and_what_was_missed_counts_as_rung(server: RedisServer):
    with opened(server.url) as store, opened(server.url) as other:
        rung = threading.Semaphore(0)
        store.listen("leader", rung.release)
        other.ring("leader")
        assert rung.acquire(timeout=WAIT_S)
        server.kill()
        server.start()
        assert rung.acquire(timeout=WAIT_S), "the bells that rang meanwhile are lost: one is rung for them"
        other.ring("leader")
        assert rung.acquire(timeout=WAIT_S)


# Another store, an older one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True], ids=["emptied", "emptied and begun anew"])
def test_an_emptied_server_is_noticed_by_every_act(server: RedisServer, again: bool):  # noqa: FBT001 - a parameter
    with opened(server.url) as store:
        epoch, session = lead(store)
        with client(server) as admin:
            admin.flushall()
        with ExitStack() as others:
            if again:
                others.enter_context(opened(server.url)).push([job("new")])
            for act in (lambda: store.push([job("a")]), lambda: store.survey(epoch, 10), store.counts,
                        lambda: store.assign(epoch, Plan()), lambda: store.beat(session, POOL),
                        lambda: store.begin_term(TermClaim("c", "redis", 2, "boot")),
                        lambda: store.take(session, ["q"]), lambda: store.job("a"), store.store_now_ms):
                with pytest.raises(StoreReset, match="emptied"):
                    act()
            if not again:
                with client(server) as admin:
                    assert admin.dbsize() == 0, "nothing was written into a store that is not ours"


def test_a_store_that_lost_writes_is_noticed_by_who_wrote_them(server: RedisServer):
    with opened(server.url) as store, client(server) as admin:
        store.push([job("a")])
        old = {key: (admin.dump(key)) for key in admin.keys("*")}
        store.push([job("b")])
        for key, data in old.items():  # a replica that had not heard of "b" takes over
            admin.restore(key, 0, data, replace=True)
        with pytest.raises(StoreReset, match="lost writes"):
            store.push([job("c")])
        with opened(server.url) as fresh:
            assert fresh.push([job("c")]).new == 1


def test_after_a_rewind_no_token_or_session_is_given_again(server: RedisServer):
    with opened(server.url) as paused, client(server) as admin:
        epoch = paused.begin_term(TermClaim("c", "redis", 1, "boot"))
        paused.push([job("a")])
        old = {key: admin.dump(key) for key in admin.keys("*")}
        mine = paused.open_session(NodeInfo("n", "boot"), 5.0, POOL)
        (taken,) = paused.assign(epoch, Plan((Assignment(mine, "q", "q", 1),)), mine).taken
        for key in admin.keys("*"):  # a replica that had not heard of the session takes over
            admin.delete(key)
        for key, data in old.items():
            admin.restore(key, 0, data)
        with opened(server.url) as other:
            eventually(lambda: other.store_now_ms() // 1000 > mine, WAIT_S, "time goes on")
            new = other.begin_term(TermClaim("c", "redis", 2, "boot-2"))
            session = other.open_session(NodeInfo("n2", "boot-2"), 5.0, POOL)
            (again,) = other.assign(new, Plan((Assignment(session, "q", "q", 1),)), session).taken
            assert (again.ref, again.id) == (taken.ref, taken.id)
            assert again.token > taken.token
            assert session > mine
            for number in range(10):
                other.push([job(f"later-{number}")])
            outcome = Outcome(Held(taken.ref, taken.id, taken.token), OutcomeKind.COMPLETED)
            assert paused.finish(mine, [outcome]).applied == 0, "the store is past what this client had seen"
            with pytest.raises(SessionEnded):
                paused.beat(mine, POOL)
            assert other.job("a").state is JobState.RUNNING


def test_an_emptied_cluster_is_noticed(server: RedisServer):
    cluster = open_redis_cluster(server.url)
    try:
        assert cluster.campaign("A", 30.0) is not None
        with client(server) as admin:
            admin.flushall()
        with pytest.raises(ClusterUnavailable, match="emptied"):
            cluster.campaign("A", 30.0)
    finally:
        cluster.close()


# Settings of the server -----------------------------------------------------------------------------------------------


def test_a_server_that_may_evict_jobs_is_refused(server: RedisServer):
    with client(server) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
        with opened(server.url) as store:
            assert store.push([job("a")]).new == 1, "without a limit it evicts nothing"
        admin.config_set("maxmemory", "200mb")
        with pytest.raises(StoreError, match="noeviction"):
            open_redis(server.url)
        with pytest.raises(ClusterUnavailable, match="noeviction"):
            open_redis_cluster(server.url)
        admin.config_set("maxmemory-policy", "noeviction")
        with opened(server.url) as store:
            assert store.job("a") is not None


def test_a_full_server_takes_no_push_says_so_and_works_off_what_it_has(server: RedisServer):
    with opened(server.url) as store, client(server) as admin, closing(open_redis_cluster(server.url)) as cluster:
        epoch, session = lead(store)
        term = cluster.campaign("boot", 30.0)
        store.push([job("a"), job("z")])
        admin.config_set("maxmemory", "1mb")
        with pytest.raises(StoreUnavailable, match="memory is full"):
            store.push([job("b"), job("c", unique="k")])
        (one, _) = store.assign(epoch, Plan((Assignment(session, "q", "q", 2),)), session).taken
        outcome = Outcome(Held(one.ref, one.id, one.token), OutcomeKind.COMPLETED)
        assert store.finish(session, [outcome]).applied == 1, "what is there is worked off"
        assert store.beat(session, POOL).waiting == 0
        assert cluster.renew(term, 30.0), "the leader goes on"
        cluster.register(NodeInfo("n", "boot"), 30.0)
        assert store.assign(epoch, Plan()).idle is True
        assert store.close_session(session).doubted == 1
        admin.config_set("maxmemory", "0")
        assert store.counts(["q"])[0].ready == 1
        assert store.push([job("b"), job("c", unique="k")]).new == 2


def test_a_server_without_a_file_is_said_plainly(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING), servers.redis(appendonly=False) as server, opened(server.url) as store:
        assert store.characteristics.durable.startswith("no: appendonly is off")
        assert "appendonly is off" in caplog.text


def test_a_server_that_syncs_each_second_is_said_plainly(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING), servers.redis() as server, opened(server.url) as store:
        assert "appendfsync is everysec" in store.characteristics.durable
        assert "appendfsync is everysec" in caplog.text


def test_a_server_that_would_drop_scripts_writes_at_a_restart_is_refused():
    with servers.redis(default="-@all") as server, pytest.raises(StoreError, match="default user"):
        open_redis(server.url)


def test_a_replica_is_refused(server: RedisServer):
    with client(server) as admin:
        admin.replicaof("127.0.0.1", 1)
        with pytest.raises(StoreUnavailable, match="replica"):
            open_redis(server.url)


def test_a_server_that_became_a_replica_takes_no_push(server: RedisServer):
    with opened(server.url) as store, client(server) as admin:
        admin.replicaof("127.0.0.1", 1)
        with pytest.raises(StoreUnavailable, match="replica"):
            store.push([job("a")])


# Ways in --------------------------------------------------------------------------------------------------------------


def test_tls_with_a_certificate_that_is_checked():
    with servers.redis(tls=True, durable=True) as server:
        with opened(f"{server.url}?ca={quote(str(server.ca))}") as store:
            rung = threading.Event()
            store.listen("leader", rung.set)
            assert store.push([job("a")]).new == 1
            store.ring("leader")
            assert rung.wait(WAIT_S)
        with pytest.raises(StoreUnavailable, match="can't be reached"):
            open_redis(server.url, SOON)


def test_a_unix_socket(server: RedisServer):
    at = f"redis+unix://{server.user}:{server.password}@{quote(str(server.socket))}?db=0"
    with opened(at) as store, opened(server.url) as other:
        assert store.push([job("a")]).new == 1
        assert other.job("a") is not None


def test_a_user_of_little_rights_is_enough_and_one_of_fewer_is_told():
    rules = ("~{callboard}:* &{callboard}:* -@all +@read +@write +@pubsub +@scripting +info +ping +time +select")
    with servers.redis(durable=True, limited=rules) as server:
        with opened(server.url_of("limited")) as store:
            epoch, session = lead(store)
            rung = threading.Event()
            store.listen(f"session-{session}", rung.set)
            store.push([job("a")])
            store.assign(epoch, Plan((Assignment(session, "q", "q", 1),)))
            assert rung.wait(WAIT_S)
            assert "unknown" in store.characteristics.durable, "it may not ask how the server syncs"
        with pytest.raises(StoreUnavailable, match="may not"):
            open_redis(f"{server.url_of('limited')}?name=another")


def test_a_wrong_password_is_told_and_not_shown(server: RedisServer):
    url = server.url.replace(server.password, "canary-7319")
    with pytest.raises(StoreUnavailable, match="password") as caught:
        open_redis(url)
    assert "canary-7319" not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"


# Silence --------------------------------------------------------------------------------------------------------------


def test_a_server_that_stands_still_is_unavailable_in_time_and_a_push_says_that_it_does_not_know(server: RedisServer):
    with opened(server.url, SOON) as store:
        session = store.open_session(NodeInfo("n", "boot"), 5.0, POOL)
        server.pause()
        try:
            with pytest.raises(PushOutcomeUnknown) as caught:
                store.push([job("a"), job("b")])
            for act in (store.counts, lambda: store.beat(session, POOL)):
                with pytest.raises(StoreUnavailable):
                    act()
        finally:
            server.resume()
        assert caught.value.job_ids == ("a", "b")
        assert store.push([job("a"), job("b")]).ids == ("a", "b")
        assert store.counts(["q"])[0].ready == 2, "pushed again under the same ids: no duplicate"


def test_a_connection_killed_in_the_middle_of_a_push(server: RedisServer):
    with opened(server.url) as store, client(server) as admin:
        admin.client_pause(int(WAIT_S * 1000), all=False)  # writing scripts wait
        errors: list[Exception] = []

        def push() -> None:
            try:
                store.push([job("a")])
            except PushOutcomeUnknown as error:
                errors.append(error)

        pushing = threading.Thread(target=push)
        pushing.start()
        eventually(lambda: any("b" in one["flags"] for one in admin.client_list()), WAIT_S, "the push waits")
        admin.client_kill_filter(_type="normal", skipme=True)
        pushing.join(WAIT_S)
        admin.client_unpause()
        assert [error.job_id for error in errors] == ["a"]
        assert store.push([job("a")]).ids == ("a",)
        assert store.counts(["q"])[0].ready == 1


def test_a_heartbeat_goes_on_while_every_other_connection_is_busy(server: RedisServer):
    few = RedisStoreOptions(act_s=0.3, connections_max=2)
    with opened(server.url, few) as store, ExitStack() as held:
        session = store.open_session(NodeInfo("n", "boot"), 5.0, POOL)
        for _ in range(2):
            connection = store._link._borrow()
            held.callback(store._link._give_back, connection, sound=True)
        with pytest.raises(StoreUnavailable, match="in use"):
            store.counts()
        store.beat(session, POOL)


def test_connections_are_bounded(server: RedisServer):
    with opened(server.url, RedisStoreOptions(connections_max=3)) as store, client(server) as admin:
        threads = [threading.Thread(target=store.push, args=([job(f"{n}-{k}") for k in range(20)],)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        assert store.counts(["q"])[0].ready == 400
        assert len(admin.client_list()) <= 3 + 1


def test_a_forked_child_has_connections_of_its_own(server: RedisServer):
    with opened(server.url) as store:
        store.push([job("parent")])
        store.listen("leader", lambda: None)
        child = os.fork()
        if child == 0:  # nothing of pytest may run in the child
            code = 1
            try:
                heard = threading.Event()
                store.listen("leader", heard.set)
                store.ring("leader")
                code = 0 if store.push([job("child")]).new == 1 and heard.wait(WAIT_S) else 2
            finally:
                os._exit(code)
        for number in range(50):
            store.push([job(f"p{number}")])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store.counts(["q"])[0].ready == 52
        assert store.job("child").state is JobState.READY

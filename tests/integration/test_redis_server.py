"""The Redis store and its real server: restarts, other settings, refusals."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import rediskit
import servers
from kit import eventually
from rediskit import POOL, SOON, WAIT_S, client, job, opened

from callboard.backends.cluster.redis import open_redis_cluster
from callboard.backends.store.redis import open_redis
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
    NodeInfo,
    Outcome,
    OutcomeKind,
    Plan,
    TermClaim,
)

if TYPE_CHECKING:

    from servers import RedisServer

    from callboard.backends.store.redis import RedisStore

server = rediskit.server


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

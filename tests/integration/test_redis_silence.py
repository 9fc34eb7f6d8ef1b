"""The Redis store and its real server: silence, cut connections, forks."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import rediskit
from kit import eventually
from rediskit import POOL, SOON, WAIT_S, client, job, opened

from callboard.backends.store.redis import RedisStoreOptions
from callboard.core.errors import (
    PushOutcomeUnknown,
    StoreUnavailable,
)
from callboard.core.records import (
    JobState,
    NodeInfo,
)

if TYPE_CHECKING:

    from servers import RedisServer


server = rediskit.server


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

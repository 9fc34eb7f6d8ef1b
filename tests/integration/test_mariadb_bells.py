"""Bells through MariaDB's table, as from another machine: no socket helps."""

from __future__ import annotations

import statistics
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import servers
from kit import eventually
from mariadbkit import asked, database, job, prepare
from storesteps import claim, node_of

from callboard.backends.store.sql import open_mariadb
from callboard.backends.store.sql.mariadb import bells
from callboard.core.records import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 20.0


class NoSockets:
    """Nobody on this machine."""

    def __init__(self, _subject: str) -> None:
        """As SocketBells."""

    def listen(self, _topic: str, _callback: Any) -> Any:
        return self

    def ring(self, _topic: str) -> None:
        """Nobody hears it."""

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture(autouse=True)
def _far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bells, "SocketBells", NoSockets)


@pytest.fixture
def url() -> Iterator[str]:
    with database() as found:
        yield found


@pytest.fixture
def two(url: str) -> Iterator[tuple[Any, Any]]:
    with closing(open_mariadb(url)) as one, closing(open_mariadb(url)) as other:
        yield one, other


class Ear:
    def __init__(self, store: Any, topic: str) -> None:
        self.rung = threading.Semaphore(0)
        self.bell = store.listen(topic, self.rung.release)

    def hears(self) -> bool:
        return self.rung.acquire(timeout=WAIT_S)


@pytest.mark.parametrize("topic", ["leader", "session-7", "job-" + "x" * 200, "job-\U0001f680'", "job-" + "ä" * 60])
def test_a_ring_is_heard_elsewhere(two, topic: str):
    one, other = two
    ear = Ear(one, topic)
    for _ in range(3):
        other.ring(topic)
        assert ear.hears()


def test_it_is_heard_soon(two):
    one, other = two
    ear = Ear(one, "leader")
    waits = []
    for _ in range(30):
        began_s = time.monotonic()
        other.ring("leader")
        assert ear.hears()
        waits.append(time.monotonic() - began_s)
    print(f"p50 {statistics.median(waits) * 1000:.1f} ms, max {max(waits) * 1000:.1f} ms")  # noqa: T201 - measured
    assert statistics.median(waits) < bells.POLL_MAX_S + 0.2


def test_ones_own_ring_is_heard_once(two):
    one, other = two
    ear, after = Ear(one, "leader"), Ear(one, "after")
    one.ring("leader")
    assert ear.hears()
    other.ring("after")
    assert after.hears()
    other.ring("after")
    assert after.hears()
    assert not ear.rung.acquire(blocking=False)


def test_a_push_rings_the_leader_of_another_machine_that_waits(two):
    one, other = two
    node_of(one)
    epoch = one.begin_term(claim())
    ear = Ear(one, "leader")
    one.assign(epoch, Plan())
    one.assign(epoch, Plan())
    assert other.push([job("a")]).rang is True
    assert ear.hears()
    assert other.push([job("b")]).rang is False, "it is awake"


def test_what_is_rung_while_a_table_is_emptied_is_heard(url: str, two):
    one, other = two
    ear = Ear(one, "leader")
    other.ring("leader")
    assert ear.hears()
    asked(url, "DELETE FROM callboard_bells")
    other.ring("leader")
    assert ear.hears()


def test_who_was_cut_off_looks_again_and_goes_on_hearing():
    with servers.mariadb() as server:
        prepare(server.url)
        with closing(open_mariadb(server.url)) as one, closing(open_mariadb(server.url)) as other:
            ear = Ear(one, "leader")
            server.kill()
            server.start()
            assert ear.hears(), "it may have been rung meanwhile"
            deadline_s = time.monotonic() + WAIT_S
            while not ear.rung.acquire(timeout=0.5):
                assert time.monotonic() < deadline_s
                other.ring("leader")


def test_a_ring_over_a_connection_that_died_meanwhile_comes_through(url: str):
    rung = "SELECT rung FROM callboard_bells WHERE topic = 'leader'"
    with closing(open_mariadb(url)) as store:
        store.ring("leader")
        eventually(lambda: asked(url, rung), WAIT_S, "the ring is in the table")
        before = asked(url, rung)
        for (one,) in asked(url, "SELECT id FROM information_schema.processlist WHERE db = database() AND "
                                 "id <> connection_id()"):
            asked(url, f"KILL {one}")
        store.ring("leader")
        eventually(lambda: asked(url, rung) != before, WAIT_S, "the second one, too")


def test_old_rings_are_forgotten(url: str, two, monkeypatch: pytest.MonkeyPatch):
    one, other = two
    asked(url, "INSERT INTO callboard_bells VALUES ('job-old', 1, 'x', 1)")
    monkeypatch.setattr(bells, "_TIDY_S", 0.0)
    ear = Ear(one, "leader")
    for _ in range(2):  # the second comes after the first one's tidying
        other.ring("leader")
        assert ear.hears()
    assert asked(url, "SELECT topic FROM callboard_bells WHERE topic = 'job-old'") == []

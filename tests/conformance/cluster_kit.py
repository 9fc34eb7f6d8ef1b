"""What the cluster backends' conformance tests are written with; `rig = cluster_kit.rig` in a test file is its fixture.

To hold another backend to the suite, add a maker to PLACES.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from callboard.backends.cluster.memory import MemoryCluster
from callboard.backends.cluster.sql import SqliteCluster
from callboard.core.records import NodeInfo, Term

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from callboard.core.ports import ClusterBackend

COUNT_KEPT = """SELECT (SELECT count(*) FROM callboard_cluster) + (SELECT count(*) FROM callboard_cluster_nodes)
    + (SELECT count(*) FROM callboard_cluster_locks)"""
WAIT_S = 20.0
"""Deadline of whatever a test waits for; far more than it takes."""


@dataclass
class Place:
    """One cluster's data, and how to open it.

    Attributes:
        open: a client; memory gives the same object again.
        ttl_s: the shortest ttl that the backend keeps to; what the tests wait for expires after it.
        wipe: delete leases, locks and members as a careless operator would; None where nobody can.
        shared: two clients of the same data exist, and the data outlive them.
        done: called when every client is closed.
        kept: how many keys or rows the cluster has, without broadcasts, whose bounds have tests of their own.
    """

    name: str
    open: Callable[[], ClusterBackend]
    ttl_s: float
    wipe: Callable[[], None] | None = None
    shared: bool = True
    done: Callable[[], None] | None = None
    kept: Callable[[], int] | None = None


@dataclass
class ClusterRig:
    """A cluster under test, with two clients: two nodes."""

    place: Place
    wait_s: float = WAIT_S
    opened: list[ClusterBackend] = field(default_factory=list)

    @property
    def ttl_s(self) -> float:
        """A ttl that is over soon."""
        return self.place.ttl_s

    @property
    def a(self) -> ClusterBackend:
        """The first client."""
        return self.opened[0] if self.opened else self.another()

    @property
    def b(self) -> ClusterBackend:
        """The second client."""
        return self.opened[1] if len(self.opened) > 1 else (self.a, self.another())[1]

    def another(self) -> ClusterBackend:
        """One more client."""
        backend = self.place.open()
        self.opened.append(backend)
        return backend

    def reopen(self) -> None:
        """Close every client, and forget them; where the data would go with them, they stay."""
        if self.place.shared:
            self.close()
            self.opened.clear()

    def close(self) -> None:
        """Close every client."""
        for backend in self.opened:
            backend.close()

    def win(self, backend: ClusterBackend, owner: str, ttl_s: float | None = None) -> Term:
        """Campaign as soon as the watch says so, until it is won; fails at the deadline."""
        term = self.told(backend, lambda: backend.campaign(owner, ttl_s or self.ttl_s), f"{owner} leads")
        assert isinstance(term, Term)
        return term

    def told(self, backend: ClusterBackend, look: Callable[[], object], what: str) -> object:
        """Look whenever the watch calls back, and only then, until there is something; fails at the deadline."""
        hint = threading.Event()
        bell = backend.watch(hint.set)
        deadline_s = time.monotonic() + self.wait_s
        try:
            while hint.wait(max(0.0, deadline_s - time.monotonic())):
                hint.clear()
                if found := look():
                    return found
        finally:
            bell.close()
        raise AssertionError(f"the watch did not tell within {self.wait_s} s: {what}")


def leads(backend: ClusterBackend, term: Term) -> bool:
    """Whether the backend says that exactly this term is in force."""
    leader = backend.leader()
    return leader is not None and leader[:2] == term[:2]


class Inbox:
    """A subscriber that keeps what it got."""

    def __init__(self, rig: ClusterRig, backend: ClusterBackend) -> None:
        """Subscribe."""
        self._rig = rig
        self._changed = threading.Condition()
        self.got: list[bytes] = []
        self.bell = backend.subscribe(self._take)

    def _take(self, message: bytes) -> None:
        with self._changed:
            self.got.append(message)
            self._changed.notify_all()

    def wait(self, count: int) -> list[bytes]:
        """Wait for so many messages; fails at the deadline."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.got) >= count, self._rig.wait_s)
            assert arrived, f"{len(self.got)} of {count} messages arrived within {self._rig.wait_s} s"
            return list(self.got)


def info(node: str = "n1", boot_id: str | None = None, **more: object) -> NodeInfo:
    """A node."""
    return NodeInfo(node, boot_id or f"boot-{node}", **more)


def memory_place(_folder: Path) -> Place:
    """A cluster in memory: two nodes use one object."""
    cluster = MemoryCluster()

    def wipe() -> None:
        cluster._term = None
        cluster._locks.clear()
        cluster._members.clear()

    return Place("memory", lambda: cluster, 0.4, wipe, shared=False,
                 kept=lambda: len(cluster._members) + len(cluster._locks))


def sqlite_place(folder: Path) -> Place:
    """A cluster in a SQLite file: each client has connections of its own."""
    path = folder / "cluster.db"

    def wipe() -> None:
        with closing(sqlite3.connect(path, timeout=5.0)) as connection, connection:
            connection.execute("DELETE FROM callboard_cluster_locks")
            connection.execute("DELETE FROM callboard_cluster_nodes")
            connection.execute("UPDATE callboard_cluster SET owner = '', handle = '', machine = '', ttl_s = 0")

    def kept() -> int:
        with closing(sqlite3.connect(path, timeout=5.0)) as connection:
            return connection.execute(COUNT_KEPT).fetchone()[0]

    return Place("sqlite", lambda: SqliteCluster(str(path)), 0.4, wipe, kept=kept)


def redis_place(_folder: Path) -> Place:
    """A cluster of its own name on the Redis that all tests share."""
    import redis  # noqa: PLC0415 - only where it is used
    from servers import shared  # noqa: PLC0415 - as above

    from callboard.backends.cluster.redis import open_redis_cluster  # noqa: PLC0415 - as above

    name = f"test-{uuid4().hex}"
    url = shared.url("redis")

    def wipe() -> None:
        with redis.Redis.from_url(url, protocol=2) as client:
            keys = ("term", "locks", "lock_holders", "members", "member_infos")
            client.delete(*(f"{{{name}}}:{key}" for key in keys))

    def kept() -> int:
        sizes = {"hash": "hlen", "zset": "zcard"}
        with redis.Redis.from_url(url, protocol=2, decode_responses=True) as client:
            keys = [key for key in client.scan_iter(f"{{{name}}}:*") if not key.endswith(":messages")]
            return sum(getattr(client, sizes[client.type(key)])(key) for key in keys)

    return Place("redis", lambda: open_redis_cluster(f"{url}?name={name}"), 0.4, wipe, kept=kept)


def consul_place(_folder: Path) -> Place:
    """A cluster of its own name on the Consul that all tests share."""
    from servers import shared  # noqa: PLC0415 - only where it is used

    return open_consul_place(shared.url("consul"))


def open_consul_place(url: str) -> Place:
    """A cluster of its own name on a Consul; `url` is one to which options can be added."""
    from callboard.backends.cluster.consul import open_consul_cluster  # noqa: PLC0415 - only where it is used
    from callboard.backends.cluster.consul.address import parse_address  # noqa: PLC0415 - as above
    from callboard.backends.cluster.consul.link import Link  # noqa: PLC0415 - as above

    name = f"test-{uuid4().hex}"
    own = f"{url}{'' if url.endswith(('?', '&')) else '&' if '?' in url else '?'}name={name}"

    def delete(keys: str) -> None:
        with closing(Link(parse_address(own), 5.0)) as link:
            link._ask("delete", f"kv/{name}/cluster/{keys}", (("recurse", ""),), "", None)

    def wipe() -> None:
        delete("state/term")
        delete("locks/")

    def kept() -> int:
        with closing(Link(parse_address(own), 5.0)) as link:
            keys = link.get(f"kv/{name}/cluster/", ("keys", "")).data or []
            sessions = [row for row in link.get("session/list").data if row["Name"] == name]
            return len([key for key in keys if "/bus/" not in key]) + len(sessions)

    return Place("consul", lambda: open_consul_cluster(own), 0.8, wipe, done=lambda: delete(""), kept=kept)


def etcd_place(_folder: Path) -> Place:
    """A cluster of its own name on the etcd that all tests share."""
    from servers import shared  # noqa: PLC0415 - only where it is used

    from callboard.backends.cluster.etcd import open_etcd_cluster  # noqa: PLC0415 - as above
    from callboard.backends.cluster.etcd import requests as ask  # noqa: PLC0415 - as above

    name = f"test-{uuid4().hex}"
    url = f"{shared.url('etcd')}?name={name}"

    def wipe() -> None:
        with closing(open_etcd_cluster(url)) as client:
            for part in ("term", "lock/", "node/"):
                key = f"/callboard/{name}/{part}".encode()
                gone = ask.delete(key)
                gone.request_delete_range.range_end = ask.end_of(key) if part.endswith("/") else b""
                client._link.txn([], [gone], [])

    def kept() -> int:
        with closing(open_etcd_cluster(url)) as client:
            found = client._link.txn([], [ask.scan(f"/callboard/{name}/".encode(), 1_000)], [])
            return len([kv for kv in found.responses[0].response_range.kvs if b"/message/" not in kv.key])

    return Place("etcd", lambda: open_etcd_cluster(url), 1.0, wipe, kept=kept)


def zookeeper_place(_folder: Path) -> Place:
    """A cluster of its own name on the ZooKeeper that all tests share."""
    import zookeeperkit  # noqa: PLC0415 - only where it is used

    return zookeeperkit.open_place()


def database_place(kind: str) -> Place:
    """A cluster in a database of the PostgreSQL or MariaDB that all tests share."""
    from cluster_servers import open_place  # noqa: PLC0415 - as above

    return open_place(kind)


PLACES: dict[str, Callable[[Path], Place]] = {
    "memory": memory_place,
    "sqlite": sqlite_place,
    "redis": redis_place,
    "etcd": etcd_place,
    "consul": consul_place,
    "postgresql": lambda _: database_place("postgresql"),
    "mariadb": lambda _: database_place("mariadb"),
    "zookeeper": zookeeper_place,
}


@pytest.fixture(params=PLACES)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClusterRig]:
    """A rig on each kind of cluster."""
    with ExitStack() as cleanup:
        made = ClusterRig(PLACES[request.param](tmp_path))
        if made.place.done is not None:
            cleanup.callback(made.place.done)
        cleanup.callback(made.close)
        yield made

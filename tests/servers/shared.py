"""Servers that all tests of a process share, started by the first that asks and ended with the run.

An address in the environment (CALLBOARD_TEST_REDIS_URL, and likewise _POSTGRESQL_, _MARIADB_, _ETCD_, _CONSUL_,
_ZOOKEEPER_) goes before a server of our own. There the tests make databases of their own and drop them; of Redis they
take databases that are empty, of etcd, Consul and ZooKeeper names.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import servers
from servers.databases import Databases, Mariadb, Postgresql, Prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

_ending = ExitStack()
_urls: dict[str, str] = {}
_databases: dict[tuple[str, Prepare], Databases] = {}
_dialects = {"postgresql": Postgresql, "mariadb": Mariadb}
_LOCK = "callboard-tests:database:"
_LOCK_S = 7_200


def url(kind: str) -> str:
    """The address of the shared server of a kind: redis, postgresql, mariadb, etcd, consul, zookeeper.

    A test that kills or stops a server makes its own: `servers.redis()`.
    """
    if kind not in _urls:
        named = os.environ.get(f"CALLBOARD_TEST_{kind.upper()}_URL", "")
        _urls[kind] = named or _ending.enter_context(getattr(servers, kind)()).url
    return _urls[kind]


@contextmanager
def database(kind: str, prepare: Prepare) -> Iterator[str]:
    """A database on the shared server, as `prepare(url)` makes it (once), for the caller alone: its address.

    Args:
        kind: postgresql or mariadb.
        prepare: a function of a module, for it is known again by its identity.
    """
    key = (kind, prepare)
    if key not in _databases:
        made = _databases[key] = Databases(url(kind), _dialects[kind](), prepare)
        _ending.callback(made.close)
    with _databases[key].database() as address:
        yield address


@contextmanager
def redis_database() -> Iterator[str]:
    """An empty database of the shared Redis, for the caller alone: its address. Channels are no database's own."""
    import redis  # noqa: PLC0415 - only who uses this server needs its driver

    at = urlsplit(url("redis"))
    with redis.Redis.from_url(urlunsplit(at._replace(path="/0")), protocol=2) as first:
        number = next((n for n in range(1, _count(first)) if _taken(first, at, n)), None)
        servers.require(number, "the Redis server has no empty database but 0")
        address = urlunsplit(at._replace(path=f"/{number}"))
        try:
            yield address
        finally:
            with redis.Redis.from_url(address, protocol=2) as own:
                own.flushdb()
            first.delete(f"{_LOCK}{number}")


def _count(first) -> int:
    return int(first.config_get("databases").get("databases", 16))


def _taken(first, at, number: int) -> bool:
    """Whether it was free (other runs may use the same server) and empty; it is ours then."""
    import redis  # noqa: PLC0415 - as above

    if not first.set(f"{_LOCK}{number}", "taken", nx=True, ex=_LOCK_S):
        return False
    with redis.Redis.from_url(urlunsplit(at._replace(path=f"/{number}")), protocol=2) as own:
        if own.dbsize() == 0:
            return True
    first.delete(f"{_LOCK}{number}")
    return False


def close() -> None:
    """End all of them."""
    _urls.clear()
    _databases.clear()
    _ending.close()

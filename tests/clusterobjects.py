"""Addresses of clusters for tests of the public cluster objects; `url` in a test file is its fixture.

To hold another backend to them, add a maker to URLS.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


def named(address: str) -> str:
    """A name of its own on a server."""
    return f"{address}{'&' if '?' in address else '?'}name=test-{uuid4().hex}"


@contextmanager
def memory_url(_folder: Path) -> Iterator[str]:
    """A cluster of this process."""
    yield f"memory://{uuid4().hex}"


@contextmanager
def sqlite_url(folder: Path) -> Iterator[str]:
    """A file."""
    yield f"sqlite:///{folder}/cluster.db"


@contextmanager
def redis_url(_folder: Path) -> Iterator[str]:
    """A name of its own on the Redis that all tests share."""
    from servers import shared  # noqa: PLC0415 - only where it is used

    yield named(shared.url("redis"))


@contextmanager
def consul_url(_folder: Path) -> Iterator[str]:
    """A name of its own on the Consul that all tests share."""
    from servers import shared  # noqa: PLC0415 - as above

    yield named(shared.url("consul"))


@contextmanager
def etcd_url(_folder: Path) -> Iterator[str]:
    """A name of its own on the etcd that all tests share."""
    from servers import shared  # noqa: PLC0415 - as above

    yield named(shared.url("etcd"))


@contextmanager
def database_url(kind: str) -> Iterator[str]:
    """A database of its own on the PostgreSQL or MariaDB that all tests share."""
    from cluster_servers import prepare  # noqa: PLC0415 - as above
    from servers import shared  # noqa: PLC0415 - as above

    with shared.database(kind, prepare) as address:
        yield address


@contextmanager
def zookeeper_url(_folder: Path) -> Iterator[str]:
    """A name of its own on the ZooKeeper that all tests share."""
    import zookeeperkit  # noqa: PLC0415 - only where it is used

    with zookeeperkit.name() as address:
        yield address


URLS: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
    "memory": memory_url,
    "sqlite": sqlite_url,
    "redis": redis_url,
    "consul": consul_url,
    "etcd": etcd_url,
    "postgresql": lambda _: database_url("postgresql"),
    "mariadb": lambda _: database_url("mariadb"),
    "zookeeper": zookeeper_url,
}


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An address of each kind."""
    with URLS[request.param](tmp_path) as address:
        yield address

"""What the tests of the Redis store on its real server are written with; `server = rediskit.server` is the fixture."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import redis
import servers

from callboard.backends.store.redis import RedisStoreOptions, open_redis
from callboard.core.records import NewJob, PoolReport, QueueShare

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

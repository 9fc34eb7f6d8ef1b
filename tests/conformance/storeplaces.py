"""The stores under test, and how each is opened."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from servers import shared
from storekit import FakeClock, Place, Rig, Settings

from callboard.backends.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

    from callboard.backends.store.sql.options import SqlStoreOptions


def memory_place(settings: Settings, clock: FakeClock, _folder: Path) -> Place:
    """A store in memory: a second client is the same object."""
    options = {} if settings.retention is None else {"retention": settings.retention}
    store = MemoryStore(settings.max_jobs or 100_000, clock, **options)
    return Place("memory", lambda: store, shared=False)


def sqlite_place(settings: Settings, clock: FakeClock, folder: Path) -> Place:
    """A store in a SQLite file: a second client has connections of its own."""
    from callboard.backends.store.sql import open_sqlite  # noqa: PLC0415 - only where it is used: memory needs no SQL

    path = folder / f"jobs-{len(list(folder.iterdir()))}.db"
    return Place("sqlite", lambda: open_sqlite(str(path), clock=clock, options=sql_options(settings)), shared=True)


def postgresql_place(settings: Settings, clock: FakeClock, _folder: Path) -> Place:
    """A store in a database of its own on a shared PostgreSQL, whose clock is the test's."""
    from callboard.backends.store.sql import open_postgresql  # noqa: PLC0415 - as above

    database = shared.database("postgresql", prepare_postgresql)
    url = database.__enter__()

    start = clock.wall - clock.boot

    def time_ms(_server_ms: int) -> int:
        return round((start + clock.boot) * 1000)

    return Place("postgresql", lambda: open_postgresql(url, options=sql_options(settings), time_ms=time_ms),
                 shared=True, own_clock=True, close=lambda: database.__exit__(None, None, None) or None)


def prepare_postgresql(url: str) -> None:
    """Make the tables."""
    from callboard.backends.store.sql import open_postgresql  # noqa: PLC0415 - as above

    open_postgresql(url).close()


def mariadb_place(settings: Settings, clock: FakeClock, _folder: Path) -> Place:
    """A store in a database of its own on a shared MariaDB, whose clock is the test's."""
    from callboard.backends.store.sql import open_mariadb  # noqa: PLC0415 - as above

    database = shared.database("mariadb", prepare_mariadb)
    url = database.__enter__()
    start = clock.wall - clock.boot

    def time_ms(_server_ms: int) -> int:
        return round((start + clock.boot) * 1000)

    return Place("mariadb", lambda: open_mariadb(url, options=sql_options(settings), time_ms=time_ms),
                 shared=True, own_clock=True, close=lambda: database.__exit__(None, None, None) or None)


def prepare_mariadb(url: str) -> None:
    """Make the tables."""
    from callboard.backends.store.sql import open_mariadb  # noqa: PLC0415 - as above

    open_mariadb(url).close()


def sql_options(settings: Settings) -> SqlStoreOptions:
    """As a test wants them."""
    from callboard.backends.store.sql.options import SqlStoreOptions  # noqa: PLC0415 - as above

    options = SqlStoreOptions()
    if settings.max_jobs is not None:
        options = replace(options, queue_max_jobs=settings.max_jobs)
    if settings.retention is not None:
        options = replace(options, retention=settings.retention)
    return options


def redis_place(settings: Settings, clock: FakeClock, _folder: Path) -> Place:
    """A store of its own name on the Redis that all tests share; its time is the server's, here the clock's."""
    from callboard.backends.store.redis import RedisStoreOptions, open_redis  # noqa: PLC0415 - as above

    start = clock.wall - clock.boot
    options = RedisStoreOptions(clock_ms=lambda: round((start + clock.boot) * 1000))
    if settings.max_jobs is not None:
        options = replace(options, queue_max_jobs=settings.max_jobs)
    if settings.retention is not None:
        options = replace(options, retention=settings.retention)
    url = f"{shared.url('redis')}?name=test-{uuid4().hex}"
    return Place("redis", lambda: open_redis(url, options), shared=True, own_clock=True)


PLACES: dict[str, Callable[[Settings, FakeClock, Path], Place]] = {
    "memory": memory_place, "sqlite": sqlite_place, "postgresql": postgresql_place, "mariadb": mariadb_place,
    "redis": redis_place,
}


def rigs(make_place: Callable[[Settings, FakeClock, Path], Place], folder: Path, cleanup: ExitStack) -> Rig:
    """A rig on a new store, closed with `cleanup`."""
    clock = FakeClock()

    def make(settings: Settings) -> Rig:
        place = make_place(settings, clock, folder)
        cleanup.callback(place.close)
        rig = Rig(place, clock, make)
        cleanup.callback(lambda: [store.close() for store in rig.opened])
        return rig

    return make(Settings())

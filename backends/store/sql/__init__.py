"""The job store on SQL databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .administration import migrate_tables, migration_sql
from .options import SqlStoreOptions
from .sqlite.store import open_sqlite
from .store import SqlStore

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "SqlStore", "SqlStoreOptions", "migrate_tables", "migration_sql", "open_mariadb", "open_postgresql",
    "open_sqlite",
]


def open_postgresql(
    url: str, *, options: SqlStoreOptions | None = None, time_ms: Callable[[int], int] | None = None
) -> SqlStore:
    """See `postgresql.store.open_postgresql`; loads the driver."""
    from .postgresql import store  # noqa: PLC0415 - who uses SQLite needs no psycopg

    return store.open_postgresql(url, options=options or SqlStoreOptions(), time_ms=time_ms)


def open_mariadb(
    url: str, *, options: SqlStoreOptions | None = None, time_ms: Callable[[int], int] | None = None
) -> SqlStore:
    """See `mariadb.store.open_mariadb`; loads the driver."""
    from .mariadb import store  # noqa: PLC0415 - who uses SQLite needs no PyMySQL

    return store.open_mariadb(url, options=options or SqlStoreOptions(), time_ms=time_ms)

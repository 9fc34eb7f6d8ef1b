"""What the PostgreSQL store's tests share: a database of a test's own, and what somebody else does to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from callboard.backends.store.sql import SqlStoreOptions, open_postgresql

if TYPE_CHECKING:
    from callboard.backends.store.sql import SqlStore

QUICK = SqlStoreOptions(busy_s=0.5)
WAIT_S = 30.0


def opened(url: str, options: SqlStoreOptions | None = None) -> SqlStore:
    """A store on the server's clock."""
    return open_postgresql(url, options=options or SqlStoreOptions())


def prepare(url: str) -> None:
    """Make the tables."""
    opened(url).close()


def edit(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """What somebody else does to the database; what the last statement gives."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = None
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor is not None and cursor.description else []


def cut(url: str) -> None:
    """End every session of callboard's in the database, as an administrator would."""
    edit(url, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
              "WHERE datname = current_database() AND application_name LIKE 'callboard'")

"""What an administrator does to a store's tables: bring them up to date, or have the SQL for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from callboard.core.errors import InvalidArgument

from .statements import PREFIX, checked_prefix
from .versions import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WAIT_S: Final = 60.0
"""How long a migration waits for another one."""


def migrate_tables(kind: str, place: str, *, prefix: str = PREFIX) -> None:
    """Make a store's tables, or bring them up to date, where they are not. Nodes of the version before go on working.

    Args:
        kind: sqlite, postgresql or mariadb.
        place: the file, or the database's address.
        prefix: what the tables' names begin with.

    Raises:
        InvalidArgument: Raised when the kind or the prefix is none of ours.
        StoreUnavailable: Raised when it can't be reached; the message says why.
        StoreError: Raised when this user may not make the tables, or they are none of ours.
        SchemaTooNew: Raised when a newer callboard migrated them.
    """
    checked_prefix(prefix)
    ways = {"sqlite": _migrate_sqlite, "postgresql": _migrate_postgresql, "mariadb": _migrate_mariadb}
    _of(kind, ways)(place, prefix)


def migration_sql(kind: str, place: str, *, prefix: str = PREFIX) -> str:
    """What `migrate_tables` would do, as SQL for an administrator to run; "" where the tables are up to date.

    Args:
        kind: as for migrate_tables.
        place: as for migrate_tables; it is only looked at.
        prefix: as for migrate_tables.

    Raises:
        InvalidArgument: Raised when the kind or the prefix is none of ours.
        StoreUnavailable: Raised when it can't be reached; the message says why.
        SchemaTooNew: Raised when a newer callboard migrated it.
    """
    checked_prefix(prefix)
    version = _of(kind, {"sqlite": _version_sqlite, "postgresql": _version_postgresql,
                         "mariadb": _version_mariadb})(place, prefix)
    if version >= SCHEMA_VERSION:
        return ""
    from .migrate import script  # noqa: PLC0415 - SQLAlchemy and alembic cost 0.3 s, and are rarely needed

    return script(kind, version, prefix=prefix)


def _of(kind: str, ways: Mapping[str, Callable[[str, str], Any]]) -> Callable[[str, str], Any]:
    if kind not in ways:
        raise InvalidArgument(f"a store on {kind!r} has no tables; those on {', '.join(ways)} have")
    return ways[kind]


def _migrate_sqlite(path: str, prefix: str) -> None:
    from .sqlite.schema import prepare  # noqa: PLC0415 - each database's part is loaded when it is used

    prepare(path, WAIT_S, prefix)


def _migrate_postgresql(url: str, prefix: str) -> None:
    from .postgresql.database import Address  # noqa: PLC0415 - as above
    from .postgresql.schema import prepare  # noqa: PLC0415 - as above

    prepare(Address(url, WAIT_S), prefix)


def _migrate_mariadb(url: str, prefix: str) -> None:
    from .mariadb.address import parse_address  # noqa: PLC0415 - as above
    from .mariadb.schema import prepare  # noqa: PLC0415 - as above

    prepare(parse_address(url), WAIT_S, prefix)


def _version_sqlite(path: str, prefix: str) -> int:
    from .sqlite.errors import translate  # noqa: PLC0415 - as above
    from .sqlite.schema import version  # noqa: PLC0415 - as above

    if not Path(path).exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return version(connection, path, prefix)
    except sqlite3.Error as error:
        raise translate(error, path) from error


def _version_postgresql(url: str, prefix: str) -> int:
    from .postgresql.database import Address  # noqa: PLC0415 - as above
    from .postgresql.schema import version  # noqa: PLC0415 - as above

    return version(Address(url, WAIT_S), prefix)


def _version_mariadb(url: str, prefix: str) -> int:
    from .mariadb.address import parse_address  # noqa: PLC0415 - as above
    from .mariadb.schema import version  # noqa: PLC0415 - as above

    return version(parse_address(url), prefix)

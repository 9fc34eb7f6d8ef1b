"""Opening a file: create it, refuse what is not ours, bring an older schema up to date."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from callboard.backends.store.sql.statements import PREFIX
from callboard.backends.store.sql.versions import SCHEMA_VERSION, VERSION_TABLE
from callboard.core.errors import InvalidArgument, SchemaTooNew, StoreError, StoreUnavailable

from .errors import is_busy, translate
from .locks import opening, turn_of

SQLITE_MIN: Final = (3, 37, 0)
"""The first with STRICT tables."""

_PAUSE_S: Final = 0.01


def prepare(path: str, wait_s: float, prefix: str = PREFIX) -> None:
    """Make the file a store of this version; another process may be doing the same.

    Args:
        path: the file; its directory must exist.
        wait_s: how long to wait for another process at most.
        prefix: what the tables' names begin with.

    Raises:
        StoreUnavailable: Raised when the file can't be opened or written; the message says why.
        SchemaTooNew: Raised when a newer callboard migrated it.
        StoreError: Raised when it belongs to another application, or is no database.
    """
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old; callboard needs 3.37 or later")
    if not path or path.startswith(":"):
        raise InvalidArgument(f"{path!r} is no file; a store in memory is memory://")
    turn_of(os.path.realpath(path)).refuse_unsafe()
    deadline_s = time.monotonic() + wait_s
    with opening:
        _create(path)
    while True:
        try:
            with opening, closing(_connect(path)) as connection:
                if version(connection, path, prefix) < SCHEMA_VERSION:
                    _migrate(connection, path, prefix)
                return
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() >= deadline_s:
                raise translate(error, path) from error
        time.sleep(random.uniform(_PAUSE_S / 2, _PAUSE_S))  # noqa: S311 - jitter, no secret


def _create(path: str) -> None:
    """Create an empty file that only its owner may read: jobs carry what users put into them.

    One that exists is never opened here: closing it would drop the locks that this process holds on it for SQLite.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        _check_access(path)
    except FileNotFoundError as error:
        raise StoreUnavailable(f"job store {path}: the directory {Path(path).absolute().parent} does not exist; "
                               "create it", cause=error) from error
    except OSError as error:
        raise StoreUnavailable(f"job store {path}: can't be created: {error.strerror}", cause=error) from error


def _check_access(path: str) -> None:
    if Path(path).is_dir():
        raise StoreUnavailable(f"job store {path}: is a directory; name a file in it")
    folder = Path(path).resolve().parent
    for place in (path, folder):
        if not os.access(place, os.R_OK | os.W_OK):
            raise StoreUnavailable(f"job store {path}: {place} is read-only for this user; give the user write access "
                                   "to the file and its directory (SQLite writes two files beside it)")


def _connect(path: str) -> sqlite3.Connection:
    uri = Path(path).absolute().as_uri() + "?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)


def version(connection: sqlite3.Connection, path: str, prefix: str) -> int:
    """Of the schema; 0: there is none of ours."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    versions = VERSION_TABLE.replace(PREFIX, prefix)
    if versions not in tables:
        foreign = sorted(table for table in tables if not table.startswith("sqlite_"))
        if foreign and not any(table.endswith(VERSION_TABLE.removeprefix(PREFIX)) for table in tables):
            raise StoreError(f"job store {path}: the database belongs to another application (it has the table "
                             f"{foreign[0]!r}); give callboard a file of its own")
        return 0
    found = connection.execute(f"SELECT version_num FROM {versions}").fetchall()  # noqa: S608 - a checked name
    if len(found) != 1 or not str(found[0][0]).isdecimal():
        raise StoreError(f"job store {path}: its schema version can't be read; restore the file from a copy")
    number = int(found[0][0])
    if number > SCHEMA_VERSION:
        needs = connection.execute(f"SELECT schema_version FROM {prefix}store").fetchone()  # noqa: S608 - a checked name
        if needs is None or needs[0] > SCHEMA_VERSION:
            raise SchemaTooNew(f"job store {path}: has schema version {number}, this callboard knows {SCHEMA_VERSION};"
                               " upgrade callboard on this machine")
    return number


def _migrate(connection: sqlite3.Connection, path: str, prefix: str) -> None:
    """Run what is missing, in one transaction: who comes second waits, and finds it done."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreUnavailable(f"job store {path}: its file system can't share memory between processes (a network "
                               "file system?); put the file on a local disk")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version(connection, path, prefix) < SCHEMA_VERSION:
            from callboard.backends.store.sql.migrate import upgrade  # noqa: PLC0415 - SQLAlchemy and alembic cost 0.3 s, and are rarely needed

            upgrade(connection, prefix=prefix)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise

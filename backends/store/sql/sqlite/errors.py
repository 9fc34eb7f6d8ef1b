"""What SQLite's errors mean for us."""

from __future__ import annotations

import sqlite3
from typing import Final

from callboard.core.errors import QueueError, StoreError, StoreReset, StoreUnavailable

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_MEANS: Final = {
    sqlite3.SQLITE_FULL: "the disk (or the file's limit) is full, nothing was written; make room",
    sqlite3.SQLITE_READONLY: "the file or its directory is read-only for this user; "
    "give the user write access to both (SQLite writes two files beside it)",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened; check that its directory exists and that this user may write "
    "to it",
    sqlite3.SQLITE_PERM: "this user may not open the file",
    sqlite3.SQLITE_AUTH: "this user may not open the file",
    sqlite3.SQLITE_IOERR: "reading or writing the file failed; check the disk and the limit of file sizes",
    sqlite3.SQLITE_NOLFS: "the file is too large for this system",
    sqlite3.SQLITE_NOMEM: "no memory is left",
}
_BROKEN: Final = {
    sqlite3.SQLITE_CORRUPT: "the file is corrupt; restore it from a copy, or `sqlite3 FILE .recover` into a new one",
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database; give another path",
    sqlite3.SQLITE_FORMAT: "the file is not a SQLite database that this version reads",
}




def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where the error came from the Python module itself."""
    code: int = getattr(error, "sqlite_errorcode", 0) or 0
    return code & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Another connection is in the way; trying again may help."""
    return primary_code(error) in _BUSY


def translate(error: sqlite3.Error, path: str) -> QueueError:
    """The error to raise instead: StoreUnavailable, StoreReset or StoreError; the message names file and remedy."""
    code = primary_code(error)
    what = f"job store {path}"
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_DBMOVED:
        return StoreReset(f"{what}: the file was moved, deleted or replaced; start the node again", cause=error)
    if code in _BUSY:
        return StoreUnavailable(f"{what}: locked by another process for too long; look for one that was stopped inside "
                                "a transaction", cause=error)
    if code in _MEANS:
        return StoreUnavailable(f"{what}: {_MEANS[code]} ({error})", cause=error)
    if code in _BROKEN:
        return StoreError(f"{what}: {_BROKEN[code]} ({error})", cause=error)
    if "no such table" in str(error) or "no such column" in str(error):
        return StoreReset(f"{what}: its tables are gone or are others ({error})", cause=error)
    return StoreError(f"{what}: {error}", cause=error)

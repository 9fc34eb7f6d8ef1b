"""What PostgreSQL's errors mean for us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.backends.store.sql.errors import Clash
from callboard.core.errors import InvalidArgument, QueueError, StoreError, StoreReset, StoreUnavailable

if TYPE_CHECKING:
    import psycopg

_CLASHES: Final = frozenset({"40P01", "40001", "23505"})  # deadlock, serialisation, unique key
_MEANS: Final = {
    "57014": "a statement took too long; look for one that waits for a lock, and at the server's load",
    "55P03": "a row stayed locked for too long; look for a transaction that is idle or slow",
    "25P03": "a transaction stood still for too long and was ended",
    "25006": "the server is read-only (a standby, or out of disk); name the primary",
    "53100": "the server's disk is full, nothing was written; make room",
    "53200": "the server is out of memory",
    "53300": "the server has no connection left; raise max_connections or run fewer nodes",
    "57P01": "the server is shutting down, or ended this connection",
    "57P02": "the server crashed and is recovering",
    "57P03": "the server is starting up",
    "28000": "the server refuses this user",
    "28P01": "the server refuses this user's password",
    "3D000": "there is no such database on the server; create it",
}
_GONE: Final = frozenset({"42P01", "42703", "3F000"})  # no such table, column, schema
_BAD_VALUES: Final = frozenset({"22021", "22P05", "22001", "22003"})


def is_clash(error: psycopg.Error) -> bool:
    """Another transaction was in the way; trying again may help."""
    return error.sqlstate in _CLASHES


def said(error: psycopg.Error) -> str:
    """The first line of what the server or the driver says; no password is in it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def translate(error: psycopg.Error, name: str) -> QueueError:
    """The error to raise instead; the message names the database and the remedy."""
    import psycopg  # noqa: PLC0415 - loaded when a database is used

    code = error.sqlstate or ""
    what = f"job store {name}"
    told = said(error)
    if code in _CLASHES:
        return Clash(f"{what}: another transaction was in the way ({told})", cause=error)
    if code in _GONE:
        return StoreReset(f"{what}: its tables are gone or are others ({told})", cause=error)
    if code in _BAD_VALUES or (not code and isinstance(error, psycopg.DataError)):
        return InvalidArgument(f"{what}: a value can't be stored ({told})", cause=error)
    away = code[:2] in {"08", "53", "57", "58"} or (not code and isinstance(error, psycopg.OperationalError))
    if code in _MEANS or away:
        return StoreUnavailable(f"{what}: {_MEANS.get(code, 'it can not be reached')} ({told})", cause=error)
    if code == "42501":
        told += "; grant it, or run `callboard migrate` as the tables' owner"
    return StoreError(f"{what}: {told}", cause=error)

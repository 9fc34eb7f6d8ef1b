"""What MariaDB's errors mean for us."""

from __future__ import annotations

from typing import Final

from pymysql import err
from pymysql.constants import CR, ER

from callboard.backends.store.sql.errors import Clash
from callboard.core.errors import QueueError, StoreError, StoreReset, StoreUnavailable

_NO_PASSWORD: Final = 1698
_KILLED: Final = 1927
_SHUTDOWN: Final = 1053
_AFTER_GONE: Final = 4031  # MySQL's and newer MariaDB's word for a connection that idled too long
_GONE: Final = frozenset({
    0, CR.CR_CONN_HOST_ERROR, CR.CR_CONNECTION_ERROR, CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST,
    CR.CR_SERVER_LOST_EXTENDED, CR.CR_UNKNOWN_HOST, CR.CR_COMMANDS_OUT_OF_SYNC, _KILLED, _SHUTDOWN, _AFTER_GONE,
})
_IN_THE_WAY: Final = frozenset({
    ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT, ER.CHECKREAD, ER.DUP_ENTRY,  # the last: somebody was first to take a key
})
_MEANS: Final = {
    ER.ACCESS_DENIED_ERROR: "user and password are not accepted; check the address, and that this host may log in",
    _NO_PASSWORD: "user and password are not accepted; check the address, and that this host may log in",
    ER.DBACCESS_DENIED_ERROR: "this user may not use the database; grant it SELECT, INSERT, UPDATE, DELETE there",
    ER.BAD_DB_ERROR: "there is no such database; create it",
    ER.CON_COUNT_ERROR: "the server has no connection left; raise max_connections or start fewer programs",
    ER.TOO_MANY_USER_CONNECTIONS: "this user has too many connections; raise the limit or start fewer programs",
    ER.USER_LIMIT_REACHED: "this user's limit is reached; raise it",
    ER.HOST_IS_BLOCKED: "the server blocks this host after failed attempts; an administrator runs FLUSH HOSTS",
    ER.HOST_NOT_PRIVILEGED: "the server lets no user of this host in",
    ER.DISK_FULL: "the server's disk is full, nothing was written; make room",
    ER.RECORD_FILE_FULL: "a table or its tablespace is full, nothing was written; make room",
    ER.ERROR_ON_WRITE: "the server can't write to its disk",
    ER.GET_ERRNO: "the server's storage engine failed",
    ER.OPTION_PREVENTS_STATEMENT: "the server is read-only (a replica?); name the one that takes writes",
    ER.OUTOFMEMORY: "the server has no memory left",
    ER.OUT_OF_RESOURCES: "the server has no memory left",
    ER.QUERY_INTERRUPTED: "the server stopped a statement that took too long, or somebody did",
    CR.CR_SSL_CONNECTION_ERROR: "no encrypted connection: the server offers none, or its certificate is not accepted",
}
_TIMES_OUT: Final = 1969
_NOT_OURS: Final = frozenset({ER.NO_SUCH_TABLE, ER.BAD_FIELD_ERROR, ER.BAD_TABLE_ERROR, 1932, 4091})
_DENIED: Final = frozenset({ER.TABLEACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR,
                            ER.SPECIFIC_ACCESS_DENIED_ERROR})


def code_of(error: BaseException) -> int:
    """The number of an error; 0 where it has none."""
    code = error.args[0] if error.args else 0
    return code if isinstance(code, int) else 0


def is_gone(error: BaseException) -> bool:
    """The connection is of no use any more, and nothing is known of the last statement."""
    if isinstance(error, err.InterfaceError):
        return True
    if isinstance(error, err.MySQLError):
        return code_of(error) in _GONE or isinstance(error, err.InternalError)
    return isinstance(error, (OSError, EOFError))


def translate(error: BaseException, name: str) -> QueueError:  # noqa: PLR0911 - an error each
    """The error to raise instead: Clash, StoreUnavailable, StoreReset or StoreError; says what to do about it."""
    code = code_of(error)
    what, said = f"job store {name}", str(error.args[-1] if error.args else error)
    if code in _IN_THE_WAY:
        return Clash(f"{what}: other transactions were in the way ({said})", cause=error)
    if code in _MEANS:
        return StoreUnavailable(f"{what}: {_MEANS[code]} ({said})", cause=error)
    if code == _TIMES_OUT:
        return StoreUnavailable(f"{what}: a statement took too long ({said})", cause=error)
    if is_gone(error):
        return StoreUnavailable(f"{what}: can't be reached, or the connection was lost ({said})", cause=error)
    if code in _NOT_OURS:
        return StoreReset(f"{what}: its tables are gone or are others ({said})", cause=error)
    if code in _DENIED:
        return StoreError(f"{what}: the user's rights do not suffice ({said})", cause=error)
    if code == ER.NET_PACKET_TOO_LARGE:
        return StoreError(f"{what}: too much for one message; raise the server's max_allowed_packet", cause=error)
    return StoreError(f"{what}: {said} (error {code})", cause=error)

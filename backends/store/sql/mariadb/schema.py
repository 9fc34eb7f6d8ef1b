"""Opening a database: look whether the server does, bring the schema up to date."""

from __future__ import annotations

import re
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from pymysql.constants import ER
from pymysql.err import MySQLError

from callboard.backends.store.sql.mariadb.connection import connect
from callboard.backends.store.sql.mariadb.errors import code_of, translate
from callboard.backends.store.sql.statements import PREFIX
from callboard.backends.store.sql.versions import SCHEMA_VERSION, VERSION_TABLE
from callboard.core.errors import SchemaTooNew, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from typing import Any

    from callboard.backends.store.sql.mariadb.address import Address
    from callboard.backends.store.sql.mariadb.connection import Raw

VERSION_MIN: Final = (10, 11)
"""The first version that callboard is tested with."""
PACKET_MIN_BYTES: Final = 8 << 20
"""The server takes messages of at least this size: a job's body of 1 MiB is twice as long in a statement."""
MIGRATION_TIMEOUT_S: Final = 3_600
"""Large tables take their time."""
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.\d+.*MariaDB", re.IGNORECASE)
_SERVER: Final = "SELECT @@version, @@max_allowed_packet, @@innodb_flush_log_at_trx_commit, @@log_bin, @@binlog_format"


class Server(NamedTuple):
    """What matters of a server's settings.

    Attributes:
        packet_max_bytes: of one message.
        durable: commits are on its disk when they return.
        galera: it is a node of a cluster that writes everywhere.
    """

    version: str
    packet_max_bytes: int
    durable: bool
    galera: bool


def prepare(address: Address, wait_s: float, prefix: str = PREFIX) -> Server:
    """Make the database a store of this version; another process may be doing the same.

    Args:
        address: the database, which exists.
        wait_s: how long to wait for another process's migration at most.
        prefix: what the tables' names begin with.

    Raises:
        StoreUnavailable: Raised when the server can't be reached, or does not do; the message says why.
        SchemaTooNew: Raised when a newer callboard migrated it.
        StoreError: Raised when the tables are none of ours, or this user may not make them.
    """
    try:
        with closing(connect(address)) as raw:
            server = _look(raw, address.name)
            if _version(raw, address.name, prefix) < SCHEMA_VERSION:
                _migrate(address, wait_s, prefix)
            return server
    except (MySQLError, OSError) as error:
        raise translate(error, address.name) from error


def version(address: Address, prefix: str = PREFIX) -> int:
    """Of the schema; 0: there is none. Raises as `prepare`."""
    try:
        with closing(connect(address)) as raw:
            return _version(raw, address.name, prefix)
    except (MySQLError, OSError) as error:
        raise translate(error, address.name) from error


def _ask(raw: Raw, text: str) -> tuple[tuple[Any, ...], ...]:
    with raw.cursor() as cursor:
        cursor.execute(text)
        return tuple(cursor.fetchall())


def _look(raw: Raw, name: str) -> Server:
    ((version, packet_max_bytes, flush, log_bin, log_format),) = _ask(raw, _SERVER)
    found = _VERSION.match(version)
    if found is None or (int(found[1]), int(found[2])) < VERSION_MIN:
        raise StoreUnavailable(f"job store {name}: the server is {version}; callboard needs MariaDB "
                               f"{'.'.join(map(str, VERSION_MIN))} or later")
    if packet_max_bytes < PACKET_MIN_BYTES:
        raise StoreUnavailable(f"job store {name}: the server takes messages of {packet_max_bytes:,} bytes only; set "
                               f"its max_allowed_packet to {PACKET_MIN_BYTES >> 20}M or more")
    if log_bin and log_format == "STATEMENT":
        raise StoreUnavailable(f"job store {name}: the server logs statements, which can't be done for READ COMMITTED; "
                               "set its binlog_format to ROW or MIXED")
    galera = any(value == "ON" for _, value in _ask(raw, "SHOW VARIABLES LIKE 'wsrep_on'"))
    return Server(version, packet_max_bytes, flush == 1, galera)


def _version(raw: Raw, name: str, prefix: str) -> int:
    """0: there is none of ours yet."""
    try:
        found = _ask(raw, f"SELECT version_num FROM {VERSION_TABLE.replace(PREFIX, prefix)}")  # noqa: S608 - a checked name
    except MySQLError as error:
        if code_of(error) == ER.NO_SUCH_TABLE:
            return 0
        raise
    if not found:
        return 0  # a first migration that ended in its middle
    if len(found) != 1 or not str(found[0][0]).isdecimal():
        raise StoreError(f"job store {name}: its schema version can't be read; restore the database from a copy")
    version = int(found[0][0])
    if version > SCHEMA_VERSION:
        needs = _ask(raw, f"SELECT schema_version FROM {prefix}store")  # noqa: S608 - a checked name
        if not needs or needs[0][0] > SCHEMA_VERSION:
            raise SchemaTooNew(f"job store {name}: has schema version {version}, this callboard knows {SCHEMA_VERSION};"
                               " upgrade callboard on this machine")
    return version


def _migrate(address: Address, wait_s: float, prefix: str) -> None:
    """Run what is missing: one process does, the others wait. Each step can be run again, for none is undone."""
    lock = f"{prefix}{sha256(address.database.encode()).hexdigest()}"[:64]
    with closing(connect(address, MIGRATION_TIMEOUT_S)) as raw:
        ((got,),) = _ask(raw, f"SELECT GET_LOCK('{lock}', {max(1, round(wait_s))})")
        if got != 1:
            raise StoreUnavailable(f"job store {address.name}: another process has been migrating it for {wait_s:g} s; "
                                   "wait, and start again")
        if _version(raw, address.name, prefix) < SCHEMA_VERSION:
            from callboard.backends.store.sql.mariadb.migrating import migrate  # noqa: PLC0415 - SQLAlchemy and alembic cost 0.3 s, and are rarely needed

            _ask(raw, f"SET SESSION max_statement_time = 0, SESSION lock_wait_timeout = {round(wait_s) + 30}")
            migrate(raw, address, prefix)

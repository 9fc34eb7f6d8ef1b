"""Opening a database: find its schema's version by a plain read, and bring an older one up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from callboard.backends.store.sql.versions import SCHEMA_VERSION, VERSION_TABLE
from callboard.core.errors import SchemaTooNew, StoreError

from .errors import translate
from .text import ours

if TYPE_CHECKING:
    from .database import Address


def prepare(address: Address, prefix: str) -> None:
    """Make the database's tables, or bring them up to date, where they are not.

    Raises:
        StoreUnavailable: Raised when it can't be reached.
        StoreError: Raised when this user may not make the tables; the message says what to do.
        SchemaTooNew: Raised when a newer callboard migrated it.
    """
    if version(address, prefix) >= SCHEMA_VERSION:
        return
    from .migrating import migrate  # noqa: PLC0415 - SQLAlchemy and alembic cost 0.3 s, and are rarely needed

    migrate(address, prefix)


def version(address: Address, prefix: str) -> int:
    """Of the schema; 0: there is none."""
    table = VERSION_TABLE.replace("callboard_", prefix)
    try:
        with psycopg.connect(address.conninfo, autocommit=True) as connection:
            if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() == (None,):
                return 0
            found = connection.execute(ours(f"SELECT version_num FROM {table}")).fetchall()  # noqa: S608 - a checked name
            if len(found) != 1 or not str(found[0][0]).isdecimal():
                raise StoreError(f"job store {address.name}: its schema version can't be read from {table}")
            number = int(found[0][0])
            needs = connection.execute(ours(f"SELECT schema_version FROM {prefix}store")).fetchone()  # noqa: S608 - as above
    except psycopg.Error as error:
        raise translate(error, address.name) from error
    if number > SCHEMA_VERSION and (needs is None or needs[0] > SCHEMA_VERSION):
        raise SchemaTooNew(f"job store {address.name}: has schema version {number}, this callboard knows "
                           f"{SCHEMA_VERSION}; upgrade callboard on this machine")
    return number

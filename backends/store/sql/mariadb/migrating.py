"""Run the migrations on MariaDB. Imported only when one has to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymysql.constants import ER
from pymysql.err import MySQLError
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from callboard.backends.store.sql.mariadb.errors import code_of, translate
from callboard.backends.store.sql.migrate import Borrowed, run
from callboard.core.errors import StoreError

if TYPE_CHECKING:
    from callboard.backends.store.sql.mariadb.address import Address
    from callboard.backends.store.sql.mariadb.connection import Raw

_DENIED = frozenset({ER.TABLEACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR,
                     ER.SPECIFIC_ACCESS_DENIED_ERROR})


def migrate(raw: Raw, address: Address, prefix: str, revision: str = "head") -> None:
    """Bring the tables to a revision. The version is noted after each one: what ended in its middle is run again."""
    engine = create_engine("mariadb+pymysql://", creator=lambda: Borrowed(raw), poolclass=StaticPool)
    try:
        with engine.connect() as connection:
            run(connection, revision, prefix=prefix)
    except DBAPIError as error:
        cause = error.orig
        if cause is not None and code_of(cause) in _DENIED:
            raise StoreError(f"job store {address.name}: its tables are missing or of an older version, and this user "
                             "may not make them; run `callboard migrate` as a user who may", cause=cause) from cause
        if isinstance(cause, MySQLError):
            raise translate(cause, address.name) from cause
        raise
    finally:
        engine.dispose()

"""Run the migrations on PostgreSQL. Imported only when one has to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from callboard.backends.store.sql.migrate import run
from callboard.core.errors import StoreError, StoreUnavailable

from .errors import translate

if TYPE_CHECKING:
    from .database import Address

_LOCK: Final = 7_241_990_613_255_041  # of those who migrate: any number that nobody else uses
_WAIT: Final = "SELECT set_config('lock_timeout', '30s', true), set_config('statement_timeout', '0', true)"


def migrate(address: Address, prefix: str, revision: str = "head") -> None:
    """Bring the tables to a revision in one transaction; who comes second waits, and finds it done."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(address.conninfo),
                           poolclass=NullPool)
    try:
        with engine.begin() as connection:
            connection.execute(text(_WAIT))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            run(connection, revision, prefix=prefix)
    except DBAPIError as error:
        cause = error.orig
        if isinstance(cause, psycopg.errors.InsufficientPrivilege):
            raise StoreError(f"job store {address.name}: its tables are missing or of an older version, and this user "
                             "may not make them; run `callboard migrate` as a user who may", cause=cause) from cause
        if isinstance(cause, psycopg.Error):
            raise translate(cause, address.name) from cause
        raise StoreUnavailable(f"job store {address.name}: can't be migrated ({cause})", cause=error) from error
    finally:
        engine.dispose()

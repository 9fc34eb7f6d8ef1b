"""Run alembic on a connection of ours. Imported only when a migration has to run."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.resources import as_file, files
from io import StringIO
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

from .statements import PREFIX
from .versions import NEEDS_VERSION, VERSION_TABLE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator

    from sqlalchemy import Connection


class Borrowed:
    """A connection that lives on, whatever SQLAlchemy does: it neither ends the transaction nor closes."""

    def __init__(self, connection: object) -> None:
        """Borrow a driver's connection."""
        self._connection = connection

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def commit(self) -> None:
        """The caller commits."""

    def rollback(self) -> None:
        """The caller rolls back."""

    def close(self) -> None:
        """The caller closes."""


def upgrade(connection: sqlite3.Connection, revision: str = "head", *, prefix: str = PREFIX) -> None:
    """Bring a SQLite file's schema to a revision, within the transaction that the connection is in."""
    engine = create_engine("sqlite://", creator=lambda: Borrowed(connection), poolclass=StaticPool)
    with engine.connect() as borrowed:
        run(borrowed, revision, prefix=prefix)


def run(connection: Connection, revision: str = "head", *, prefix: str = PREFIX) -> None:
    """Bring the schema to a revision, within the connection's transaction.

    `callboard_store` gets the oldest version that may go on working: each transaction reads it there, so that a process
    of an older one notices a migration while it runs.
    """
    with _config(prefix) as config:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    versions = VERSION_TABLE.replace(PREFIX, prefix)
    version = connection.execute(text(f"SELECT version_num FROM {versions}")).scalar_one()  # noqa: S608 - a checked name
    needs = min(int(version), NEEDS_VERSION)
    connection.execute(text(f"UPDATE {prefix}store SET schema_version = :needs"), {"needs": needs})  # noqa: S608 - a checked name


def script(dialect: str, version: int, *, prefix: str = PREFIX) -> str:
    """What `run` would do to a schema of this version (0: none), as SQL for an administrator to run.

    Args:
        dialect: SQLAlchemy's name of it.
        version: of the schema now.
        prefix: what the tables' names begin with.
    """
    output = StringIO()
    with _config(prefix) as config:
        config.attributes["dialect"] = dialect
        config.attributes["output"] = output
        command.upgrade(config, f"{version:04}:head" if version else "head", sql=True)
    note = f"UPDATE {prefix}store SET schema_version = {NEEDS_VERSION};\n"  # noqa: S608 - checked names
    written, commit, _ = output.getvalue().rpartition("COMMIT;")
    return f"{written}{note}\nCOMMIT;\n" if commit else f"{output.getvalue()}\n{note}"


@contextmanager
def _config(prefix: str) -> Generator[Config]:
    with as_file(files(f"{__package__}.migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["prefix"] = prefix
        yield config

"""Run alembic on a connection of ours. Imported only when a migration has to run."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from .schema import VERSION_TABLE

if TYPE_CHECKING:
    import sqlite3


_NOTE_VERSION: Final = (
    f"UPDATE callboard_store SET schema_version = (SELECT CAST(version_num AS INTEGER) FROM {VERSION_TABLE})"  # noqa: S608 - our own constant
)


class _Borrowed:
    """A connection that lives on, whatever SQLAlchemy does: it neither ends the transaction nor closes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def commit(self) -> None:
        """The caller commits."""

    def rollback(self) -> None:
        """The caller rolls back."""

    def close(self) -> None:
        """The caller closes."""


def upgrade(connection: sqlite3.Connection, revision: str = "head") -> None:
    """Bring the schema to a revision, within the transaction that the connection is in.

    `callboard_store` gets the version too: each transaction reads it there, so that a process of an older version
    notices a migration while it runs.
    """
    engine = create_engine("sqlite://", creator=lambda: _Borrowed(connection), poolclass=StaticPool)
    with as_file(files(f"{__package__}.migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        with engine.connect() as borrowed:
            config.attributes["connection"] = borrowed
            command.upgrade(config, revision)
    connection.execute(_NOTE_VERSION)

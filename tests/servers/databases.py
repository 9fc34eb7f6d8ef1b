"""Databases for tests on one server: cloned from a prepared template, used again after a clean.

To clean what a test wrote takes a few milliseconds, to make a database a hundred: PostgreSQL waits for a checkpoint.
"""

# ruff: noqa: S608 - the names in these statements were made here or read from the server's catalogue

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from kit import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

Prepare = Callable[[str], object]
"""Makes the tables of a database, given its address."""


_END_S = 10.0
_OURS = "callboard-tests"


def address(url: str, database: str) -> str:
    """The same server's address with another database."""
    return urlunsplit(urlsplit(url)._replace(path="/" + quote(database)))


class Dialect(Protocol):
    """What one kind of server does to databases; `url` is of its database for administration."""

    def create(self, url: str, name: str, template: str | None) -> None:
        """Make a database, empty or as the template is."""

    def drop(self, url: str, name: str) -> None:
        """Drop it, whoever is connected."""

    def picture(self, url: str, name: str) -> Any:
        """What is in it: its tables' columns and their rows."""

    def clean(self, url: str, name: str, picture: Any) -> bool:
        """End the sessions in it and bring back what the picture shows; False if its tables are not those any more."""


class Databases:
    """The databases of one server that were prepared in one way.

    Args:
        url: of the server, as a user who may make databases.
        dialect: its kind's.
        prepare: makes the tables, once.
    """

    def __init__(self, url: str, dialect: Dialect, prepare: Prepare) -> None:
        self._url = url
        self._dialect = dialect
        self._prefix = f"callboard_test_{secrets.token_hex(4)}"
        self._made: list[str] = []
        self._free: list[str] = []
        self._template = self._make(None)
        prepare(address(url, self._template))
        self._picture = dialect.picture(url, self._template)

    def _make(self, template: str | None) -> str:
        name = f"{self._prefix}_{len(self._made)}"
        self._made.append(name)
        self._dialect.create(self._url, name, template)
        return name

    @contextmanager
    def database(self) -> Iterator[str]:
        """One as it was prepared, for the caller alone: its address."""
        name = self._free.pop() if self._free else self._make(self._template)
        try:
            yield address(self._url, name)
        finally:
            if self._dialect.clean(self._url, name, self._picture):
                self._free.append(name)
            else:
                self._dialect.drop(self._url, name)

    def close(self) -> None:
        """Drop them all."""
        for name in self._made:
            self._dialect.drop(self._url, name)


class Postgresql:
    """Of PostgreSQL."""

    def __init__(self) -> None:
        self._open: dict[str, Any] = {}

    def _on(self, url: str) -> Any:
        import psycopg  # noqa: PLC0415 - only who uses this server needs its driver

        if url not in self._open or self._open[url].closed:
            self._open[url] = psycopg.connect(url, autocommit=True, application_name=_OURS)
        return self._open[url]

    def _leave(self, url: str) -> None:
        if connection := self._open.pop(url, None):
            connection.close()

    def create(self, url: str, name: str, template: str | None) -> None:
        """By the server's own copy of files."""
        if template:
            self._leave(address(url, template))
        self._on(url).execute(f'CREATE DATABASE "{name}" TEMPLATE "{template or "template0"}"')

    def drop(self, url: str, name: str) -> None:
        """With force."""
        self._leave(address(url, name))
        self._on(url).execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def picture(self, url: str, name: str) -> Any:
        """Columns, rows as COPY writes them, and where sequences stand."""
        on = self._on(address(url, name))
        tables = {row[0] for row in self._columns(on)}
        rows = {}
        for table in tables:
            with on.cursor().copy(f"COPY {table} TO STDOUT") as copy:
                rows[table] = b"".join(map(bytes, copy))
        sequences = on.execute("""
            SELECT format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value), last_value IS NOT NULL
            FROM pg_sequences""").fetchall()
        shown = self._columns(on), {table: text for table, text in rows.items() if text}, sequences
        self._leave(address(url, name))  # else it could be no template
        return shown

    @staticmethod
    def _columns(on: Any) -> list[tuple[str, str, str]]:
        return on.execute("""
            SELECT c.oid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod)
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
              AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
            ORDER BY c.oid::regclass::text, a.attnum""").fetchall()

    def _sessions(self, url: str, name: str) -> list[Any]:
        """End the sessions in a database; those that are not gone yet (PostgreSQL's own wait looks every 100 ms)."""
        return self._on(url).execute(
            "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name <> %s",
            [name, _OURS],
        ).fetchall()

    def clean(self, url: str, name: str, picture: Any) -> bool:
        """Delete, copy in, and set sequences back; all with triggers off, so in any order."""
        columns, rows, sequences = picture
        eventually(lambda: not self._sessions(url, name), _END_S, f"the sessions in {name} have ended")
        on = self._on(address(url, name))
        if self._columns(on) != columns:
            return False
        on.execute("SET session_replication_role = replica")
        on.execute(";".join(f"DELETE FROM {table}" for table in {column[0] for column in columns}))
        for table, text in rows.items():
            with on.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                copy.write(text)
        for sequence in sequences:
            on.execute("SELECT setval(%s, %s, %s)", sequence)
        return True


class Mariadb:
    """Of MariaDB."""

    def __init__(self) -> None:
        self._open: dict[str, Any] = {}

    def _on(self, url: str) -> Any:
        import pymysql  # noqa: PLC0415 - only who uses this server needs its driver

        if url not in self._open:
            at = urlsplit(url)
            self._open[url] = pymysql.connect(
                host=at.hostname, port=at.port or 3306, user=unquote(at.username or ""),
                password=unquote(at.password or ""), autocommit=True,
            ).cursor()  # fmt: skip
        return self._open[url]

    def _asked(self, url: str, text: str, *values: object) -> list[Any]:
        on = self._on(url)
        on.execute(text, values or None)
        return list(on.fetchall())

    def create(self, url: str, name: str, template: str | None) -> None:
        """Table by table, as the template's are."""
        self._asked(url, f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        for table in self._tables(url, template) if template else ():
            self._asked(url, f"CREATE TABLE `{name}`.`{table}` LIKE `{template}`.`{table}`")
            self._asked(url, f"INSERT INTO `{name}`.`{table}` SELECT * FROM `{template}`.`{table}`")

    def _tables(self, url: str, name: str) -> list[str]:
        return [row[0] for row in self._asked(url, f"SHOW TABLES FROM `{name}`")]

    def drop(self, url: str, name: str) -> None:
        """After ending its sessions."""
        self._end_sessions(url, name)
        self._asked(url, f"DROP DATABASE IF EXISTS `{name}`")

    def _end_sessions(self, url: str, name: str) -> None:
        import pymysql  # noqa: PLC0415 - as above

        for (session,) in self._asked(url, "SELECT id FROM information_schema.processlist WHERE db = %s", name):
            try:
                self._asked(url, f"KILL {session}")
            except pymysql.err.OperationalError as error:
                if error.args[0] != pymysql.constants.ER.NO_SUCH_THREAD:
                    raise

    def picture(self, url: str, name: str) -> Any:
        """Its columns, which tables have rows, and its name: rows are copied from it."""
        tables = self._tables(url, name)
        filled = [table for table in tables if self._asked(url, f"SELECT 1 FROM `{name}`.`{table}` LIMIT 1")]
        return self._columns(url, name), filled, name

    def _columns(self, url: str, name: str) -> list[Any]:
        return self._asked(url, """
            SELECT table_name, column_name, column_type FROM information_schema.columns
            WHERE table_schema = %s ORDER BY table_name, ordinal_position""", name)

    def clean(self, url: str, name: str, picture: Any) -> bool:
        """Delete, copy from the template, and set counters back."""
        columns, filled, template = picture
        self._end_sessions(url, name)
        if self._columns(url, name) != columns:
            return False
        self._asked(url, "SET foreign_key_checks = 0")
        for table in dict.fromkeys(column[0] for column in columns):
            self._asked(url, f"DELETE FROM `{name}`.`{table}`")
        for table in filled:
            self._asked(url, f"INSERT INTO `{name}`.`{table}` SELECT * FROM `{template}`.`{table}`")
        moved = self._asked(url, """
            SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND auto_increment > 1""", name)
        for (table,) in moved:
            self._asked(url, f"ALTER TABLE `{name}`.`{table}` AUTO_INCREMENT = 1")
        return True

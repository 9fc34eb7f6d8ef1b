"""The `store` cluster on MariaDB: its connections, and the bells that ring for its acts."""

from __future__ import annotations

import re
import select
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pymysql
from pymysql.constants import CLIENT

from callboard.backends.cluster.follow import POLL_S
from callboard.backends.store.sql.errors import Clash
from callboard.backends.store.sql.mariadb.address import parse_address
from callboard.backends.store.sql.mariadb.bells import MariadbBells
from callboard.backends.store.sql.mariadb.connection import Driver, connect
from callboard.backends.store.sql.mariadb.dialect import mariadb_dialect
from callboard.backends.store.sql.mariadb.errors import translate
from callboard.backends.store.sql.mariadb.literals import literal
from callboard.backends.store.sql.mariadb.schema import prepare
from callboard.backends.store.sql.statements import PREFIX

from .cluster import TIMEOUT_S, ServerCluster, guarded
from .link import SETUP_S, Clashed
from .statements import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from callboard.backends.store.sql.mariadb.address import Address

MIGRATION_S: Final = 15.0
"""How long opening waits for another process that makes the tables."""
_LEAST_S: Final = 0.001
_VALUE: Final = re.compile(r"%\((\w+)\)s")
_SETTINGS: Final = {
    "autocommit": "1",
    "sql_mode": "'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES,ANSI_QUOTES,NO_ENGINE_SUBSTITUTION'",
    "time_zone": "'+00:00'",
    "innodb_lock_wait_timeout": "1",
    "lock_wait_timeout": "1",
    "idle_transaction_timeout": "1",
}
_SETUP: Final = (
    f"SET {', '.join(f'SESSION {name} = {value}' for name, value in _SETTINGS.items())}, "
    "SESSION max_statement_time = {act_s:g};"
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
)
"""Times below a term's ttl."""


class MariadbLink:
    """`link.Connection` of MariaDB."""

    def __init__(self, address: Address, statements: Mapping[str, str], timeout_s: float, wait_s: float) -> None:
        """Connect.

        Args:
            address: where.
            statements: by name.
            timeout_s: how long an act may take.
            wait_s: how long connecting may take (the driver waits for 1 s at least).

        Raises:
            ClusterUnavailable: Raised when it can't be reached.
        """
        self._name = address.name
        self._statements = statements
        with guarded():
            try:
                self._driver: Any = Driver(
                    **address.arguments(), charset="utf8mb4", collation="utf8mb4_nopad_bin", autocommit=None,
                    connect_timeout=max(1, round(wait_s)), read_timeout=max(timeout_s, SETUP_S),
                    write_timeout=max(timeout_s, SETUP_S),
                    client_flag=CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS, program_name="callboard",
                )
                self._run(_SETUP.format(act_s=timeout_s))
            except (pymysql.MySQLError, OSError) as error:
                raise translate(error, self._name) from error

    def ask(self, statement: str, values: Mapping[str, object], end_s: float) -> Sequence[Sequence[Any]]:
        """Run a statement; its rows."""
        text = _VALUE.sub(lambda value: literal(values[value[1]]), self._statements[statement])
        # What the driver waits for an answer at most, looked at before each: it has no other way to say it.
        self._driver._read_timeout = max(_LEAST_S, end_s - time.monotonic())  # noqa: SLF001 - see above
        with guarded():
            try:
                return self._run(text)
            except (pymysql.MySQLError, OSError) as error:
                meant = translate(error, self._name)
                if isinstance(meant, Clash) and "deadlock" in str(error).lower():
                    raise Clashed(str(error)) from error
                raise meant from error

    def _run(self, text: str) -> Sequence[Sequence[Any]]:
        """The rows of the first result that has some; a block has one more after it."""
        with self._driver.cursor() as cursor:
            cursor.execute(text)
            rows: Sequence[Sequence[Any]] = cursor.fetchall()
            while cursor.nextset():
                rows = rows or cursor.fetchall()
            return rows

    def is_sound(self) -> bool:
        """Whether nothing waits to be read: between acts, a server sends its farewell alone."""
        held = self._driver._sock if self._driver.open else None  # noqa: SLF001 - a ping would cost a round trip
        return held is not None and not select.select([held], [], [], 0)[0]

    def close(self) -> None:
        """Hang up."""
        self._driver.close()


class MariadbCluster(ServerCluster):
    """The cluster in a MariaDB database."""

    def __init__(
        self, url: str, *, prefix: str = PREFIX, timeout_s: float = TIMEOUT_S, poll_s: float = POLL_S
    ) -> None:
        """Connect; make the tables, or bring them up to date, where they are not.

        Args:
            url: mariadb://USER:PASSWORD@HOST:PORT/DATABASE, as the job store's.
            prefix: what the tables' names begin with, as the job store's.
            timeout_s: how long a call may take; well below the terms' ttl.
            poll_s: how late a change is seen whose bell was lost.

        Raises:
            InvalidArgument: Raised when the address can't be read.
            ClusterUnavailable: Raised when the server can't be reached, or this user can't make the tables.
        """
        address = parse_address(url)
        with guarded():
            prepare(address, MIGRATION_S, prefix)
        super().__init__(
            address.name, partial(MariadbLink, address, load("mariadb", prefix), timeout_s), timeout_s=timeout_s,
            poll_s=poll_s,
        )
        statements = mariadb_dialect(prefix).statements
        self._bells = MariadbBells(lambda: connect(address), statements, f"cluster {self.cluster_id}", timeout_s)

    def _changed(self) -> None:
        self._bells.ring("cluster")

"""The `store` cluster on PostgreSQL: its connections, and the bells that its acts ring by NOTIFY."""

from __future__ import annotations

import hashlib
import select
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psycopg

from callboard.backends.cluster.follow import POLL_S
from callboard.backends.store.sql.postgresql.bells import PostgresqlBells
from callboard.backends.store.sql.postgresql.connection import Link as StoreLink
from callboard.backends.store.sql.postgresql.connection import Waiting
from callboard.backends.store.sql.postgresql.database import Address
from callboard.backends.store.sql.postgresql.errors import is_clash, translate
from callboard.backends.store.sql.postgresql.schema import prepare
from callboard.backends.store.sql.statements import PREFIX

from .cluster import TIMEOUT_S, ServerCluster, guarded
from .link import SETUP_S, Clashed
from .statements import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SETUP: Final = """
SET default_transaction_isolation = 'read committed';
SET lock_timeout = {lock_ms};
SET statement_timeout = {act_ms};
SET idle_in_transaction_session_timeout = {act_ms};
SET client_min_messages = 'error';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""
"""Times below a term's ttl; and a term is on the disk when it is granted."""


class PostgresqlLink:
    """`link.Connection` of PostgreSQL."""

    def __init__(self, address: Address, statements: Mapping[str, str], timeout_s: float, _wait_s: float) -> None:
        """Connect; the address says how long that may take.

        Args:
            address: where.
            statements: by name.
            timeout_s: how long an act may take.

        Raises:
            ClusterUnavailable: Raised when it can't be reached.
        """
        self._name = address.name
        self._statements = statements
        act_ms = max(1, round(timeout_s * 1000))
        with guarded():
            try:
                self.driver: Waiting = Waiting.connect(address.conninfo, autocommit=True)
                self.driver.deadline_s = time.monotonic() + max(timeout_s, SETUP_S)
                self.driver.execute(_SETUP.format(lock_ms=max(1, act_ms // 2), act_ms=act_ms).encode())
            except psycopg.Error as error:
                raise translate(error, self._name) from error

    def ask(self, statement: str, values: Mapping[str, object], end_s: float) -> Sequence[Sequence[Any]]:
        """Run a statement; its rows."""
        self.driver.deadline_s = end_s
        with guarded():
            try:
                return self.driver.execute(self._statements[statement].encode(), values).fetchall()
            except psycopg.Error as error:
                if is_clash(error):
                    raise Clashed(str(error)) from error
                raise translate(error, self._name) from error

    def is_sound(self) -> bool:
        """Whether nothing waits to be read: between acts, a server sends its farewell alone."""
        return not self.driver.closed and not select.select([self.driver.pgconn.socket], [], [], 0)[0]

    def close(self) -> None:
        """Hang up."""
        self.driver.close()


class PostgresqlCluster(ServerCluster):
    """The cluster in a PostgreSQL database."""

    def __init__(
        self, url: str, *, prefix: str = PREFIX, timeout_s: float = TIMEOUT_S, poll_s: float = POLL_S
    ) -> None:
        """Connect; make the tables, or bring them up to date, where they are not.

        Args:
            url: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, as the job store's.
            prefix: what the tables' names begin with, as the job store's.
            timeout_s: how long a call may take; well below the terms' ttl.
            poll_s: how late a change is seen whose bell was lost.

        Raises:
            InvalidArgument: Raised when the address can't be read.
            ClusterUnavailable: Raised when the server can't be reached, or this user can't make the tables.
        """
        address = Address(url, timeout_s)
        with guarded():
            prepare(address, prefix)
        super().__init__(
            address.name, partial(PostgresqlLink, address, load("postgresql", prefix), timeout_s), timeout_s=timeout_s,
            poll_s=poll_s,
        )
        channel = "callboard_" + hashlib.sha256(self.cluster_id.encode()).hexdigest()[:32]
        self._bells = PostgresqlBells(lambda: StoreLink(address.conninfo, timeout_s), channel, timeout_s)
        self._bell = {"channel": channel, "payload": self._bells.payload("cluster")}

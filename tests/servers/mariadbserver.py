"""A MariaDB of the test's own."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from servers.packages import Recipe, find
from servers.process import HOST, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

RECIPE = Recipe("mariadb", ("mariadbd", "mariadb-install-db"), ("mariadb-server-core", "mariadb-client-core"))
_SETTINGS = {
    "bind_address": HOST,
    "skip_name_resolve": "1",
    "max_connections": "200",
    "innodb_buffer_pool_size": "64M",
    "innodb_log_file_size": "48M",
    "character_set_server": "utf8mb4",
    "performance_schema": "0",
    "default_time_zone": "+00:00",
}
_HASTY = {"innodb_flush_log_at_trx_commit": "2", "innodb_doublewrite": "0", "innodb_flush_method": "nosync"}
_USERS = """\
CREATE DATABASE IF NOT EXISTS `{database}`;
CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '{password}';
GRANT ALL ON *.* TO '{user}'@'%' WITH GRANT OPTION;
"""


@dataclass(frozen=True)
class MariadbOptions:
    """How it is set up.

    Attributes:
        durable: whether commits are on disk when they return; else they survive kill -9 of the server alone.
        settings: more of its `[mariadbd]` settings.
    """

    durable: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


class MariadbServer(Server):
    """A MariaDB with one user, `callboard`, who may do everything, and a database of that name."""

    name = "mariadb"
    stop_signal = signal.SIGTERM
    user = "callboard"
    database = "callboard"

    def __init__(self, options: MariadbOptions | None = None) -> None:
        self.options = options or MariadbOptions()
        super().__init__(find(RECIPE))

    @property
    def url(self) -> str:
        """The database `callboard`."""
        return self.url_of(self.database)

    def url_of(self, database: str) -> str:
        """Another database."""
        return f"mariadb://{self.user}:{self.password}@{HOST}:{self.port}/{quote(database)}"

    def prepare(self) -> None:
        """Make the data, with its one user."""
        self.run([
            self.programs["mariadb-install-db"], "--no-defaults", *self._places(), f"--datadir={self.folder / 'data'}",
            "--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve",
        ])  # fmt: skip
        self.write("users", _USERS.format(database=self.database, user=self.user, password=self.password))

    def _places(self) -> list[str]:
        root = self.programs.root
        return [f"--basedir={root / 'usr'}", f"--lc-messages-dir={root / 'usr/share/mysql'}"] if root else []

    def command(self) -> list[str]:
        """Its user is made anew at each start, if need be: the password is in a file."""
        settings = {
            **_SETTINGS,
            **({} if self.options.durable else _HASTY),
            **self.options.settings,
            "port": str(self.port),
            "socket": str(self.folder / "s"),
            "datadir": str(self.folder / "data"),
            "pid_file": str(self.folder / "pid"),
            "tmpdir": str(self.folder),
            "init_file": str(self.folder / "users"),
        }
        named = [f"--{name}={value}" for name, value in settings.items()]
        return [self.programs["mariadbd"], "--no-defaults", *self._places(), *named]

    def answers(self) -> bool:
        """Whether it takes connections."""
        import pymysql  # noqa: PLC0415 - only who uses this server needs its driver

        pymysql.connect(host=HOST, port=self.port, user=self.user, password=self.password, database=self.database,
                        connect_timeout=2, read_timeout=2).close()
        return True

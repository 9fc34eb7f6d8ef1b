"""A PostgreSQL of the test's own."""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from servers.packages import Recipe, find
from servers.process import HOST, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

RECIPE = Recipe(
    "postgresql",
    ("initdb", "postgres"),
    ("postgresql",),
    places=("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin"),
    skip="postgresql|postgresql-common|postgresql-client.*|postgresql-contrib",
)
_SETTINGS = {
    "listen_addresses": HOST,
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "4GB",
    "dynamic_shared_memory_type": "mmap",  # in the data folder: a killed server leaves nothing elsewhere
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %a ",
    "autovacuum_naptime": "5s",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_HASTY = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class PostgresqlOptions:
    """How it is set up.

    Attributes:
        durable: whether commits are on disk when they return; else they survive kill -9 of the server alone.
        settings: more of postgresql.conf.
    """

    durable: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


class PostgresqlServer(Server):
    """A cluster with one superuser, `callboard`, and a database of that name."""

    name = "postgresql"
    stop_signal = signal.SIGINT  # fast: sessions are ended
    death_signal = signal.SIGQUIT  # immediate, and its shared memory goes with it
    user = "callboard"
    database = "callboard"

    def __init__(self, options: PostgresqlOptions | None = None) -> None:
        self.options = options or PostgresqlOptions()
        super().__init__(find(RECIPE))

    @property
    def url(self) -> str:
        """The database `callboard`."""
        return self.url_of(self.database)

    def url_of(self, database: str) -> str:
        """Another database."""
        return f"postgresql://{self.user}:{self.password}@{HOST}:{self.port}/{quote(database)}"

    def prepare(self) -> None:
        """Make a cluster."""
        self.run([
            self.programs["initdb"], "-D", str(self.folder / "data"), "--no-sync", "--no-instructions", "--locale=C",
            "--encoding=UTF8", "--username", self.user, "--auth=scram-sha-256",
            "--pwfile", str(self.write("password", self.password)),
        ])  # fmt: skip

    def command(self) -> list[str]:
        """Settings on the command line; none is a secret."""
        settings = {
            **_SETTINGS,
            **({} if self.options.durable else _HASTY),
            **self.options.settings,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
        }
        named = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self.programs["postgres"], "-D", str(self.folder / "data"), *named]

    def answers(self) -> bool:
        """Whether it takes connections; makes the database at the first time."""
        import psycopg  # noqa: PLC0415 - only who uses this server needs its driver

        with psycopg.connect(self.url_of("postgres"), connect_timeout=2, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self.database]).fetchone():
                connection.execute(f'CREATE DATABASE "{self.database}"')
        return True

    def tidy(self) -> None:
        """Remove the segment of shared memory that a killed server leaves; its id is the last in the seventh line."""
        pid_file = self.folder / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines() if pid_file.exists() else []
        if len(lines) > 6 and lines[6].split() and shutil.which("ipcrm"):
            subprocess.run(["ipcrm", "-m", lines[6].split()[-1]], capture_output=True, check=False)

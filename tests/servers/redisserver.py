"""A Redis of the test's own."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servers.packages import Recipe, find
from servers.process import HOST, Server

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = Recipe("redis", ("redis-server",), ("redis-server",))
_CONFIG = """\
bind {host}
port {port}
unixsocket {folder}/s
dir {folder}
daemonize no
supervised no
save ""
appendonly {appendonly}
appendfsync {appendfsync}
no-appendfsync-on-rewrite no
aof-use-rdb-preamble yes
databases {databases}
maxmemory-policy noeviction
aclfile {folder}/users
"""
_TLS = """\
tls-port {tls_port}
tls-cert-file {folder}/server.pem
tls-key-file {folder}/server.key
tls-ca-cert-file {folder}/ca.pem
tls-auth-clients no
"""


@dataclass(frozen=True)
class RedisOptions:
    """How it is set up.

    Attributes:
        appendonly: whether writes are kept in a file at all.
        durable: whether each write is on disk before it is acknowledged; else within a second.
        databases: how many, from 0.
    """

    appendonly: bool = True
    durable: bool = False
    databases: int = 1_000


class RedisServer(Server):
    """A Redis with one user, `callboard`, who may do everything, and nobody else."""

    name = "redis"
    stop_signal = signal.SIGTERM
    user = "callboard"

    def __init__(self, options: RedisOptions | None = None) -> None:
        self.options = options or RedisOptions()
        super().__init__(find(RECIPE))

    @property
    def url(self) -> str:
        """Database 0."""
        return f"redis://{self.user}:{self.password}@{HOST}:{self.port}/0"

    @property
    def socket(self) -> Path:
        """Its Unix socket."""
        return self.folder / "s"

    def command(self) -> list[str]:
        """Settings in a file: a command line is seen by everyone."""
        options = self.options
        text = _CONFIG.format(
            host=HOST, port=self.port, folder=self.folder, databases=options.databases,
            appendonly="yes" if options.appendonly else "no", appendfsync="always" if options.durable else "everysec",
        )
        self.write("users", f"user default off\nuser {self.user} on >{self.password} ~* &* +@all\n")
        return [self.programs["redis-server"], str(self.write("redis.conf", text))]

    def answers(self) -> bool:
        """Whether it has loaded its data."""
        import redis  # noqa: PLC0415 - only who uses this server needs its driver

        with redis.Redis.from_url(self.url, socket_timeout=1.0, protocol=2) as client:
            return bool(client.ping())

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
port 0
tls-port {port}
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
        tls: whether it speaks TLS alone, with a certificate for 127.0.0.1 and localhost; `ca` is who signed it.
        limited: rules of a second user, `limited`, with the same password, such as `~callboard* &callboard* +@all`.
        default: rules of the user `default`, which is off.
    """

    appendonly: bool = True
    durable: bool = False
    databases: int = 1_000
    tls: bool = False
    limited: str = ""
    default: str = "~* &* +@all"


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
        return self.url_of(self.user)

    def url_of(self, user: str) -> str:
        """Database 0, as another user."""
        scheme = "rediss" if self.options.tls else "redis"
        return f"{scheme}://{user}:{self.password}@{HOST}:{self.port}/0"

    @property
    def ca(self) -> Path:
        """The certificate of who signed the server's."""
        return self.folder / "ca.pem"

    def prepare(self) -> None:
        """Make certificates, if need be."""
        if not self.options.tls:
            return
        import trustme  # noqa: PLC0415 - only who uses TLS needs it

        authority = trustme.CA()
        server = authority.issue_cert(HOST, "localhost")
        self.write("ca.pem", authority.cert_pem.bytes().decode())
        self.write("server.pem", "".join(pem.bytes().decode() for pem in server.cert_chain_pems))
        self.write("server.key", server.private_key_pem.bytes().decode())

    @property
    def socket(self) -> Path:
        """Its Unix socket."""
        return self.folder / "s"

    def command(self) -> list[str]:
        """Settings in a file: a command line is seen by everyone."""
        options = self.options
        text = (_CONFIG + (_TLS if options.tls else "port {port}\n")).format(
            host=HOST, port=self.port, folder=self.folder, databases=options.databases,
            appendonly="yes" if options.appendonly else "no", appendfsync="always" if options.durable else "everysec",
        )
        users = {self.user: "~* &* +@all", **({"limited": options.limited} if options.limited else {})}
        lines = [f"user {name} on >{self.password} {rules}\n" for name, rules in users.items()]
        # Without its rights the default user, as which the server reads its own file, would drop what scripts wrote.
        self.write("users", "".join([f"user default off {options.default}\n", *lines]))
        return [self.programs["redis-server"], str(self.write("redis.conf", text))]

    def answers(self) -> bool:
        """Whether it has loaded its data."""
        import redis  # noqa: PLC0415 - only who uses this server needs its driver

        trust = {"ssl_ca_certs": str(self.ca)} if self.options.tls else {}
        with redis.Redis.from_url(self.url, socket_timeout=1.0, protocol=2, **trust) as client:
            return bool(client.ping())

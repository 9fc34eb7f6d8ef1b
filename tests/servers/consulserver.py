"""A Consul of the test's own: one agent that is a server, or three that elect one of them."""

from __future__ import annotations

import json
import ssl
import urllib.request
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kit import eventually

from servers.packages import Recipe, find
from servers.process import HOST, Server, free_port

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = Recipe("consul", ("consul",), ("consul",), suite="bullseye")  # no later release of Debian's has it
_READY_S = 60.0


@dataclass(frozen=True)
class ConsulOptions:
    """How it is set up.

    Attributes:
        tls: whether it speaks HTTPS alone, with a certificate for 127.0.0.1 and localhost; `ca` is who signed it.
        peers: Serf's ports of all servers of an ensemble, its own among them.
        number: which of them it is.
        token: of all of them; "" for one of its own.
    """

    tls: bool = False
    peers: tuple[int, ...] = ()
    number: int = 0
    token: str = ""


class ConsulServer(Server):
    """A Consul that refuses who has no token."""

    name = "consul"

    def __init__(self, options: ConsulOptions | None = None) -> None:
        self.options = options or ConsulOptions()
        self._ports: tuple[int, int, int] = (0, 0, 0)
        super().__init__(find(RECIPE))
        self.password = self.options.token or str(uuid.uuid4())

    @property
    def url(self) -> str:
        """Of the cluster, as who may do everything."""
        return self.url_of(self.password)

    def url_of(self, token: str) -> str:
        """Of the cluster, with another token; a name= is to follow."""
        if not self.options.tls:
            return f"consul://{token}@{HOST}:{self.port}?"
        return f"consuls://{token}@{HOST}:{self.port}?ca={self.ca}&"

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

    def command(self) -> list[str]:
        """Settings in a file: a command line is seen by everyone."""
        if self._ports[0] != self.port:
            serf = self.options.peers[self.options.number] if self.options.peers else free_port()
            self._ports = (self.port, free_port(), serf)
        return [self.programs["consul"], "agent", "-config-file", str(self.write("consul.json", self._settings()))]

    def _settings(self) -> str:
        http, rpc, serf = self._ports
        peers = self.options.peers
        settings: dict[str, Any] = {
            "server": True, "node_name": f"server-{self.options.number}", "data_dir": str(self.folder / "data"),
            "bind_addr": HOST, "client_addr": HOST, "disable_update_check": True, "log_level": "warn",
            "performance": {"raft_multiplier": 1},
            "ports": {"http": http, "server": rpc, "serf_lan": serf, "serf_wan": -1, "dns": -1, "grpc": -1},
            "acl": {"enabled": True, "default_policy": "deny",
                    "tokens": {"master": self.password, "agent": self.password}},
            **({"bootstrap_expect": len(peers), "retry_join": [f"{HOST}:{port}" for port in peers if port != serf],
                "retry_interval": "1s"} if peers else {"bootstrap": True}),
        }
        if self.options.tls:
            settings["ports"] |= {"http": -1, "https": http}
            settings |= {"ca_file": str(self.ca), "cert_file": str(self.folder / "server.pem"),
                         "key_file": str(self.folder / "server.key")}
        return json.dumps(settings)

    def ask(self, path: str, body: object = None, verb: str = "GET") -> Any:
        """Say something to its HTTP interface, as who may do everything; what it answers."""
        request = urllib.request.Request(  # noqa: S310 - of our own server
            f"{'https' if self.options.tls else 'http'}://{HOST}:{self.port}/v1/{path}", method=verb,
            data=None if body is None else json.dumps(body).encode(), headers={"X-Consul-Token": self.password},
        )
        trust = ssl.create_default_context(cafile=str(self.ca)) if self.options.tls else None
        with urllib.request.urlopen(request, timeout=5.0, context=trust) as answer:  # noqa: S310 - of our own server
            return json.loads(answer.read() or b"null")

    def answers(self) -> bool:
        """Whether it has a leader, lists itself, and takes writes; one of several: whether it is there at all."""
        leader = self.ask("status/leader")
        if self.options.peers:
            return True
        checks = self.ask(f"health/node/server-{self.options.number}") if leader else []
        return bool(checks) and self.ask("kv/ready", "", "PUT") is True

    def token(self, rules: str) -> str:
        """A new token with these rules alone."""
        name = uuid.uuid4().hex
        policy = self.ask("acl/policy", {"Name": name, "Rules": rules}, "PUT")
        return self.ask("acl/token", {"Policies": [{"ID": policy["ID"]}]}, "PUT")["SecretID"]


class ConsulEnsemble:
    """Three servers of one datacenter.

    Attributes:
        servers: all, in order.
    """

    def __init__(self) -> None:
        peers = tuple(free_port() for _ in range(3))
        token = str(uuid.uuid4())
        self._ending = ExitStack()
        self.servers = [self._ending.enter_context(_Unstarted(ConsulOptions(peers=peers, number=n, token=token)))
                        for n in range(3)]

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    @property
    def url(self) -> str:
        """All of them."""
        hosts = ",".join(f"{HOST}:{server.port}" for server in self.servers)
        return f"consul://{self.servers[0].password}@{hosts}?"

    def leader(self) -> ConsulServer | None:
        """Raft's, as the first one says that is alive."""
        asked = next(server for server in self.servers if server.alive)
        said = asked.ask("status/leader")
        return next((each for each in self.servers if said == f"{HOST}:{each.rpc_port}"), None)

    def wait(self) -> None:
        """Wait until those that are alive take writes."""
        alive = [server for server in self.servers if server.alive]
        eventually(lambda: all(map(_writes, alive)), _READY_S, "the servers have a leader")


class _Unstarted(ConsulServer):
    """Closed at the end, started later."""

    def __enter__(self) -> Self:
        return self

    @property
    def rpc_port(self) -> int:
        """Where other servers speak to it."""
        return self._ports[1]


def _writes(server: ConsulServer) -> bool:
    try:
        checks = server.ask(f"health/node/server-{server.options.number}")
        return bool(checks) and server.ask("kv/ready", "", "PUT") is True
    except OSError:
        return False

"""An etcd of the test's own, alone or one of three."""

from __future__ import annotations

import platform
import ssl
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from servers.packages import Recipe, find
from servers.process import HOST, Server, free_port

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = Recipe("etcd", ("etcd",), ("etcd-server",))
_RIGHTS = b"/callboard/"
_LIMITED = "limited"


@dataclass(frozen=True)
class EtcdOptions:
    """How it is set up.

    Attributes:
        tls: whether clients speak TLS, with a certificate for 127.0.0.1 and localhost; `ca` is who signed it.
        client_certificates: with TLS, whether clients must show one; `client.pem` and `client.key` are one.
        users: whether clients must give a user and a password; it has the user of `url` and `limited`, who may only
            use the keys below /callboard/. Else everyone may do everything.
        quota_bytes: how large its data may become; 0 is its default.
        election_timeout_ms: of its own; leases can't be shorter than 1.5 times that.
    """

    tls: bool = False
    client_certificates: bool = False
    users: bool = True
    quota_bytes: int = 0
    election_timeout_ms: int = 200


@dataclass
class _Peers:
    """The members of an ensemble: their names and peers' ports, filled before the first starts."""

    ports: dict[str, int] = field(default_factory=dict)

    def text(self) -> str:
        return ",".join(f"{name}=http://{HOST}:{port}" for name, port in self.ports.items())


class EtcdServer(Server):
    """An etcd with the users `root` and `limited`, of the same password."""

    name = "etcd"
    user = "root"

    def __init__(self, options: EtcdOptions | None = None, member: str = "alone", peers: _Peers | None = None) -> None:
        self.options = options or EtcdOptions()
        self.member = member
        self.peers = peers or _Peers()
        self.peers.ports[member] = free_port()
        self._users_made = not self.options.users
        super().__init__(find(RECIPE))
        if platform.machine() != "x86_64":
            self.variables["ETCD_UNSUPPORTED_ARCH"] = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())

    @property
    def url(self) -> str:
        """Its address, without options."""
        return self.url_of(self.user)

    def url_of(self, user: str) -> str:
        """Its address, as another user."""
        secret = f"{user}:{self.password}@" if self.options.users else ""
        return f"{'etcds' if self.options.tls else 'etcd'}://{secret}{HOST}:{self.port}/"

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
        self.write("ca.pem", authority.cert_pem.bytes().decode())
        certificates = {"server": authority.issue_cert(HOST, "localhost"), "client": authority.issue_cert("client")}
        for name, made in certificates.items():
            self.write(f"{name}.pem", "".join(pem.bytes().decode() for pem in made.cert_chain_pems))
            self.write(f"{name}.key", made.private_key_pem.bytes().decode())

    def command(self) -> list[str]:
        """No secret is in it: users are made when it runs."""
        here = f"{'https' if self.options.tls else 'http'}://{HOST}:{self.port}"
        peer = f"http://{HOST}:{self.peers.ports[self.member]}"
        tls = ["--cert-file", f"{self.folder}/server.pem", "--key-file", f"{self.folder}/server.key"]
        if self.options.client_certificates:
            tls += ["--client-cert-auth", "--trusted-ca-file", str(self.ca)]
        return [
            self.programs["etcd"], "--name", self.member, "--data-dir", f"{self.folder}/data",
            "--heartbeat-interval", str(self.options.election_timeout_ms // 10),
            "--election-timeout", str(self.options.election_timeout_ms),
            "--listen-client-urls", here, "--advertise-client-urls", here,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", self.peers.text(), "--initial-cluster-token", "callboard-tests",
            "--bcrypt-cost", "4", "--quota-backend-bytes", str(self.options.quota_bytes),
            *(tls if self.options.tls else []),
        ]  # fmt: skip

    def healthy(self) -> bool:
        """Whether it has a leader and answers."""
        trust = None
        if self.options.tls:
            trust = ssl.create_default_context(cafile=str(self.ca))
            trust.load_cert_chain(self.folder / "client.pem", self.folder / "client.key")
        scheme = "https" if self.options.tls else "http"
        with urllib.request.urlopen(f"{scheme}://{HOST}:{self.port}/health", timeout=1.0, context=trust) as answer:  # noqa: S310 - an address of ours
            return b'"true"' in answer.read()

    def answers(self) -> bool:
        """Whether it is ready; its users are made then."""
        if self.healthy() and not self._users_made:
            self.make_users()
            self._users_made = True
        return self._users_made

    def make_users(self) -> None:
        """Let nobody in but two users."""
        with self.channel() as channel:
            from etcd3 import etcdrpc  # noqa: PLC0415 - only who uses this server needs its driver

            auth = etcdrpc.AuthStub(channel)
            for name, role in ((self.user, "root"), (_LIMITED, _LIMITED)):
                auth.RoleAdd(etcdrpc.AuthRoleAddRequest(name=role), timeout=5.0)
                auth.UserAdd(etcdrpc.AuthUserAddRequest(name=name, password=self.password), timeout=5.0)
                auth.UserGrantRole(etcdrpc.AuthUserGrantRoleRequest(user=name, role=role), timeout=5.0)
            rights = etcdrpc.auth_pb2.Permission(permType=2, key=_RIGHTS, range_end=_RIGHTS[:-1] + b"0")  # 2: all
            auth.RoleGrantPermission(etcdrpc.AuthRoleGrantPermissionRequest(name=_LIMITED, perm=rights), timeout=5.0)
            auth.AuthEnable(etcdrpc.AuthEnableRequest(), timeout=5.0)

    def channel(self):
        """A connection of somebody else's."""
        import grpc  # noqa: PLC0415 - as above

        if not self.options.tls:
            return grpc.insecure_channel(f"{HOST}:{self.port}")
        files = [(self.folder / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")]
        return grpc.secure_channel(f"{HOST}:{self.port}", grpc.ssl_channel_credentials(*files))


class EtcdEnsemble:
    """Three of them, each of which can be killed and started again; without users."""

    def __init__(self, election_timeout_ms: int = 200) -> None:
        peers = _Peers()
        options = EtcdOptions(users=False, election_timeout_ms=election_timeout_ms)
        self.servers = [EtcdServer(options, f"m{n}", peers) for n in range(3)]

    @property
    def url(self) -> str:
        """The address of all of them."""
        return f"etcd://{','.join(f'{HOST}:{server.port}' for server in self.servers)}/"

    def leader(self) -> EtcdServer:
        """The one that leads, by what those that run say."""
        from etcd3 import etcdrpc  # noqa: PLC0415 - as above

        for server in self.servers:
            if server.alive:
                with server.channel() as channel:
                    told = etcdrpc.MaintenanceStub(channel).Status(etcdrpc.StatusRequest(), timeout=5.0)
                if told.leader == told.header.member_id:
                    return server
        raise LookupError("none of them leads now")

    def __enter__(self) -> Self:
        for server in self.servers:
            server.launch()
        for server in self.servers:
            server.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.close()

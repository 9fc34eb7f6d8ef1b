"""A ZooKeeper of the test's own, and ensembles of three."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kit import eventually

from servers.packages import Programs, Recipe, find
from servers.process import HOST, Server, free_port

_JARS = (
    "zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "netty-common", "netty-buffer", "netty-codec",
    "netty-handler", "netty-resolver", "netty-transport", "netty-transport-native-epoll",
    "netty-transport-native-unix-common", "metrics-core",
    "commons-cli", "snappy-java", "jackson-annotations", "jackson-core", "jackson-databind",
)
RECIPE = Recipe(
    "zookeeper", (),
    ("libzookeeper-java", "libslf4j-java", "libnetty-java", "libdropwizard-metrics-java", "libcommons-cli-java",
     "libsnappy-java", "libjackson2-annotations-java", "libjackson2-core-java", "libjackson2-databind-java"),
    files=tuple(f"usr/share/java/{jar}.jar" for jar in _JARS), skip="ca-certificates-java|openjdk-.*|default-jre.*",
)
JAVA = Recipe(
    "java", ("java",), ("default-jre-headless",),
    skip="ca-certificates.*|java-common|libcups.*|libavahi.*|libpcsclite.*",
)
_CONFIG = """\
dataDir={folder}/data
tickTime={tick_ms}
initLimit=50
syncLimit=10
minSessionTimeout={session_min_ms}
maxSessionTimeout=60000
maxClientCnxns=0
admin.enableServer=false
forceSync=no
snapCount=100000
preAllocSize=4096
4lw.commands.whitelist=srvr
"""
_SILENT = logging.Logger("kazoo of the tests' servers", logging.CRITICAL + 1)  # noqa: LOG001 - apart from all others
_PLAIN = "clientPortAddress={host}\nclientPort={port}\n"
_TLS = """\
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
secureClientPortAddress={host}
secureClientPort={port}
ssl.keyStore.location={folder}/server.pem
ssl.keyStore.type=PEM
ssl.trustStore.location={folder}/ca.pem
ssl.trustStore.type=PEM
ssl.clientAuth=none
"""


@dataclass(frozen=True)
class ZookeeperOptions:
    """How it is set up.

    Attributes:
        tick_ms: its unit of time; sessions end at multiples of it.
        session_min_ms: the shortest session that it grants.
        tls: whether it speaks TLS alone, with a certificate for 127.0.0.1 and localhost; `ca` is who signed it.
        member: number of this server in its ensemble, from 1; 0: it is alone.
        ports: of all servers of the ensemble, by number: (peers, elections).
    """

    tick_ms: int = 200
    session_min_ms: int = 400
    tls: bool = False
    member: int = 0
    ports: tuple[tuple[int, int], ...] = ()


class ZookeeperServer(Server):
    """A ZooKeeper; whoever comes may make nodes, and guard them by a user and a password of their own choice."""

    name = "zookeeper"

    def __init__(self, options: ZookeeperOptions | None = None) -> None:
        self.options = options or ZookeeperOptions()
        # This machine's Java goes first even where servers are to be fetched: apt plans no package that is installed
        here = shutil.which("java")
        self.java = Programs({"java": Path(here)}) if here else find(JAVA)
        super().__init__(find(RECIPE))

    @property
    def url(self) -> str:
        """Its address, for anybody."""
        return f"{'zookeepers' if self.options.tls else 'zookeeper'}://{HOST}:{self.port}"

    @property
    def ca(self) -> Path:
        """The certificate of who signed the server's."""
        return self.folder / "ca.pem"

    def prepare(self) -> None:
        """Make its folder, its number, and certificates, if need be."""
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        os.chown(data, *self._account)
        if self.options.member:
            self.write("data/myid", str(self.options.member))
        if not self.options.tls:
            return
        import trustme  # noqa: PLC0415 - only who uses TLS needs it
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above; trustme brings it

        authority = trustme.CA()
        server = authority.issue_cert(HOST, "localhost")
        self.write("ca.pem", authority.cert_pem.bytes().decode())
        # Java reads no other form of a key
        key = serialization.load_pem_private_key(server.private_key_pem.bytes(), None).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.write("server.pem", "".join(pem.decode() for pem in (key, *(c.bytes() for c in server.cert_chain_pems))))

    def command(self) -> list[str]:
        """A small heap, and the collector that starts fastest."""
        options = self.options
        text = (_CONFIG + (_TLS if options.tls else _PLAIN)).format(
            folder=self.folder, host=HOST, port=self.port, tick_ms=options.tick_ms,
            session_min_ms=options.session_min_ms,
        )
        text += "".join(f"server.{n}={HOST}:{peers}:{elections}\n" for n, (peers, elections) in
                        enumerate(options.ports, 1))
        jars = os.pathsep.join(self.programs[f"{jar}.jar"] for jar in _JARS)
        return [
            self.java["java"], "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", f"-Djava.io.tmpdir={self.folder}",
            "-cp", jars, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self.write("zoo.cfg", text)),
        ]

    def _environment(self) -> dict[str, str]:
        return {**self.java.environment(), "TMPDIR": str(self.folder)}

    def answers(self) -> bool:
        """Whether it serves."""
        return _session(f"{HOST}:{self.port}", self.ca) if self.options.tls else bool(_mode(self.port))


class ZookeeperEnsemble:
    """Three servers; `servers[n]` can be killed and started again. `with` starts and ends them."""

    name = "zookeeper"

    def __init__(self, size: int = 3, tick_ms: int = 200) -> None:
        ports = tuple((free_port(), free_port()) for _ in range(size))
        self._ending = ExitStack()
        self.servers: list[ZookeeperServer] = []
        for n in range(size):
            options = ZookeeperOptions(tick_ms=tick_ms, session_min_ms=2 * tick_ms, member=n + 1, ports=ports)
            self.servers.append(self._ending.enter_context(closing(_Member(options))))

    @property
    def url(self) -> str:
        """All of them."""
        return "zookeeper://" + ",".join(f"{HOST}:{server.port}" for server in self.servers)

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        self.leader()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def leader(self) -> ZookeeperServer:
        """The server that leads the ensemble now."""
        def look():
            alive = [one for one in self.servers if one.alive]
            with suppress(OSError):
                return next((one for one in alive if _mode(one.port) == b"leader"), None)
            return None

        return eventually(look, 30.0, "the ensemble has a leader")


class _Member(ZookeeperServer):
    """One of an ensemble: alone it gives no sessions, so it is ready when it listens for its peers."""

    def answers(self) -> bool:
        with closing(socket.create_connection((HOST, self.options.ports[self.options.member - 1][1]), 1.0)):
            return True


def _mode(port: int) -> bytes:
    """What a server is in its ensemble: standalone, leader, follower; b"" while it does not serve."""
    with closing(socket.create_connection((HOST, port), 1.0)) as link:
        link.sendall(b"srvr")
        said = link.makefile("rb").read(4_096)
    return next((line[6:] for line in said.splitlines() if line.startswith(b"Mode: ")), b"")


def _session(hosts: str, ca: Path) -> bool:
    """Whether a session is given there over TLS, and a read answered."""
    from kazoo.client import KazooClient  # noqa: PLC0415 - only who uses this server needs its driver

    client = KazooClient(hosts, timeout=2.0, use_ssl=True, ca=str(ca), logger=_SILENT)
    try:
        client.start(timeout=1.0)
        client.exists("/")
        client.stop()
    finally:
        client.close()
    return True

"""Cluster objects made from a service's settings instead of an address."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from callboard.core.errors import InvalidArgument
from callboard.core.options import whole
from callboard.distributed.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Sequence

REDIS_DB_MAX: Final = 1 << 20
_NOT_IN_PLACES: Final = frozenset("/?#@%\\ ,")


@dataclass(frozen=True, slots=True)
class RedisClusterConfig:
    """A Redis server. For TLS or a Unix socket: `cluster_from_url("rediss://...")`.

    Attributes:
        addr: HOST:PORT.
        password: empty means none; never shown.
        db: the database's number.
        node_id: this program's name; host and process id unless given.
        user: empty means the server's default user.
    """

    addr: str = "localhost:6379"
    password: str = field(default="", repr=False)
    db: int = 0
    node_id: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class EtcdClusterConfig:
    """Servers of etcd, HOST:PORT each, and who is to log in. For TLS: `cluster_from_url("etcds://...")`."""

    endpoints: Sequence[str] = ("localhost:2379",)
    node_id: str = ""
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ConsulClusterConfig:
    """A Consul agent, HOST:PORT, and a token if it asks for one. For TLS: `cluster_from_url("consuls://...")`."""

    address: str = "localhost:8500"
    node_id: str = ""
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ZooKeeperClusterConfig:
    """Servers of ZooKeeper, HOST:PORT each, and who is to log in. For TLS: `cluster_from_url("zookeepers://...")`."""

    servers: Sequence[str] = ("localhost:2181",)
    node_id: str = ""
    user: str = ""
    password: str = field(default="", repr=False)


class RedisCluster(Cluster):
    """The cluster on Redis."""

    def __init__(self, config: RedisClusterConfig) -> None:
        """Nothing is opened yet. Raises UsageError."""
        db = whole(config.db, "db", 0, REDIS_DB_MAX)
        login = _login(config.user, config.password)
        super().__init__(f"redis://{login}{_places([config.addr], 'addr')}/{db}", config.node_id)


class EtcdCluster(Cluster):
    """The cluster on etcd."""

    def __init__(self, config: EtcdClusterConfig) -> None:
        """Nothing is opened yet. Raises UsageError."""
        login = _login(config.user, config.password)
        super().__init__(f"etcd://{login}{_places(config.endpoints, 'endpoints')}", config.node_id)


class ConsulCluster(Cluster):
    """The cluster on Consul."""

    def __init__(self, config: ConsulClusterConfig) -> None:
        """Nothing is opened yet. Raises UsageError."""
        token = f"{quote(config.token, safe='')}@" if config.token else ""
        super().__init__(f"consul://{token}{_places([config.address], 'address')}", config.node_id)


class ZooKeeperCluster(Cluster):
    """The cluster on ZooKeeper."""

    def __init__(self, config: ZooKeeperClusterConfig) -> None:
        """Nothing is opened yet. Raises UsageError."""
        login = _login(config.user, config.password)
        super().__init__(f"zookeeper://{login}{_places(config.servers, 'servers')}", config.node_id)


def _login(user: str, password: str) -> str:
    """What stands before the host: a password may hold any character."""
    if not (user or password):
        return ""
    return f"{quote(user, safe='')}:{quote(password, safe='')}@"


def _places(places: Sequence[str], what: str) -> str:
    """HOST:PORT of each server, checked; with commas between."""
    if isinstance(places, str) or not places:
        raise InvalidArgument(f"{what} must be a list of HOST:PORT, not {places!r}")
    for place in places:
        host, _, port = place.rpartition(":")
        plain = place.isprintable() and not _NOT_IN_PLACES.intersection(place)
        if not (host and plain and port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
            raise InvalidArgument(f"{what} must be HOST:PORT, such as localhost:6379, not {place[:255]!r}")
    return ",".join(places)

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
    """A Redis server. For TLS, a user's name or a Unix socket: `cluster_from_url("rediss://...")`.

    Attributes:
        addr: HOST:PORT. password: empty means none; never shown.
        db: the database's number.
        node_id: this program's name; host and process id unless given.
    """

    addr: str = "localhost:6379"
    password: str = field(default="", repr=False)
    db: int = 0
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class EtcdClusterConfig:
    """Servers of etcd, HOST:PORT each. For TLS or a password: `cluster_from_url("etcds://...")`."""

    endpoints: Sequence[str] = ("localhost:2379",)
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class ConsulClusterConfig:
    """A Consul agent, HOST:PORT. For TLS or a token: `cluster_from_url("consuls://...")`."""

    address: str = "localhost:8500"
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class ZooKeeperClusterConfig:
    """Servers of ZooKeeper, HOST:PORT each. For TLS or a password: `cluster_from_url("zookeepers://...")`."""

    servers: Sequence[str] = ("localhost:2181",)
    node_id: str = ""


class RedisCluster(Cluster):
    """The cluster on Redis."""

    def __init__(self, config: RedisClusterConfig) -> None:
        """Nothing is opened yet. Raises UsageError."""
        password = f":{quote(config.password, safe='')}@" if config.password else ""
        db = whole(config.db, "db", 0, REDIS_DB_MAX)
        super().__init__(f"redis://{password}{_places([config.addr], 'addr')}/{db}", config.node_id)


class EtcdCluster(Cluster):
    """The cluster on etcd."""

    def __init__(self, config: EtcdClusterConfig) -> None:
        """Nothing is opened yet. Raises UsageError."""
        super().__init__(f"etcd://{_places(config.endpoints, 'endpoints')}", config.node_id)


class ConsulCluster(Cluster):
    """The cluster on Consul."""

    def __init__(self, config: ConsulClusterConfig) -> None:
        """Nothing is opened yet. Raises UsageError."""
        super().__init__(f"consul://{_places([config.address], 'address')}", config.node_id)


class ZooKeeperCluster(Cluster):
    """The cluster on ZooKeeper."""

    def __init__(self, config: ZooKeeperClusterConfig) -> None:
        """Nothing is opened yet. Raises UsageError."""
        super().__init__(f"zookeeper://{_places(config.servers, 'servers')}", config.node_id)


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

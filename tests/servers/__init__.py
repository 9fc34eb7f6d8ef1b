"""Real servers for tests, without root and without touching the system.

    with servers.redis() as server:
        server.url
        server.kill()
        server.start()

A machine that has no such server and can't get it skips the test with the reason, and fails it under CI=true.
"""

from __future__ import annotations

from kit import require

from servers.consulserver import ConsulEnsemble, ConsulOptions, ConsulServer
from servers.etcdserver import EtcdEnsemble, EtcdOptions, EtcdServer
from servers.mariadbserver import MariadbOptions, MariadbServer
from servers.packages import Missing
from servers.postgresqlserver import PostgresqlOptions, PostgresqlServer
from servers.process import Broken, Server
from servers.redisserver import RedisOptions, RedisServer
from servers.zookeeperserver import ZookeeperEnsemble, ZookeeperOptions, ZookeeperServer

__all__ = [
    "Broken",
    "ConsulEnsemble",
    "ConsulServer",
    "EtcdEnsemble",
    "EtcdServer",
    "MariadbServer",
    "Missing",
    "PostgresqlServer",
    "RedisServer",
    "Server",
    "ZookeeperEnsemble",
    "ZookeeperServer",
    "consul",
    "consul_ensemble",
    "etcd",
    "etcd_ensemble",
    "mariadb",
    "postgresql",
    "redis",
    "zookeeper",
    "zookeeper_ensemble",
]


def redis(**options: object) -> RedisServer:
    """A new Redis, not yet started; options: see RedisOptions."""
    return _made(lambda: RedisServer(RedisOptions(**options)))


def postgresql(**options: object) -> PostgresqlServer:
    """A new PostgreSQL, not yet started; options: see PostgresqlOptions."""
    return _made(lambda: PostgresqlServer(PostgresqlOptions(**options)))


def mariadb(**options: object) -> MariadbServer:
    """A new MariaDB, not yet started; options: see MariadbOptions."""
    return _made(lambda: MariadbServer(MariadbOptions(**options)))


def consul(**options: object) -> ConsulServer:
    """A new Consul, not yet started; options: see ConsulOptions."""
    return _made(lambda: ConsulServer(ConsulOptions(**options)))


def consul_ensemble() -> ConsulEnsemble:
    """Three new servers of one Consul, started by `with`."""
    return _made(ConsulEnsemble)


def etcd(**options: object) -> EtcdServer:
    """A new etcd, not yet started; options: see EtcdOptions."""
    return _made(lambda: EtcdServer(EtcdOptions(**options)))


def etcd_ensemble(election_timeout_ms: int = 200) -> EtcdEnsemble:
    """Three new etcd servers that elect a leader of theirs, not yet started."""
    return _made(lambda: EtcdEnsemble(election_timeout_ms))


def zookeeper(**options: object) -> ZookeeperServer:
    """A new ZooKeeper, not yet started; options: see ZookeeperOptions."""
    return _made(lambda: ZookeeperServer(ZookeeperOptions(**options)))


def zookeeper_ensemble(**options: object) -> ZookeeperEnsemble:
    """Three new ZooKeepers, not yet started; options: see ZookeeperEnsemble."""
    return _made(lambda: ZookeeperEnsemble(**options))


def _made(make):
    try:
        return make()
    except Missing as error:
        require(None, str(error))
        raise

"""The cluster classes of each service, made from configs: they reach real servers, or say where a config is wrong."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest
from servers import shared

import callboard

HIDDEN = "zz:/@?#%"
MAKERS = {
    "redis": lambda place, at, node: callboard.RedisCluster(
        callboard.RedisClusterConfig(place, at.password, 1, node, at.user)),
    "etcd": lambda place, at, node: callboard.EtcdCluster(
        callboard.EtcdClusterConfig([place], node, at.user, at.password)),
    "consul": lambda place, at, node: callboard.ConsulCluster(
        callboard.ConsulClusterConfig(place, node, at.user)),
    "zookeeper": lambda place, at, node: callboard.ZooKeeperCluster(
        callboard.ZooKeeperClusterConfig([place], node, at.user, at.password)),
}  # fmt: skip


class Login(NamedTuple):
    """Who the shared server's address says is to log in; Consul's token stands at the user's place."""

    user: str
    password: str


def make(kind: str, node: str):
    at = urlsplit(shared.url(kind))
    login = Login(unquote(at.username or ""), unquote(at.password or ""))
    return MAKERS[kind](at.netloc.rpartition("@")[2], login, node)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_config_reaches_its_service_and_shows_no_secret(kind: str):
    at = urlsplit(shared.url(kind))
    name = f"node-{uuid4().hex}"
    with make(kind, name) as one, make(kind, "other") as other:
        assert one.node_id == name
        one.register(name)
        assert name in {info.node for info in other.nodes()}
        token = one.acquire_lock(name, 30)
        assert token is not None
        assert other.acquire_lock(name, 30) is None
        assert one.release_lock(token)
        secret = at.password or at.username
        assert secret is None or secret not in repr(one)
    with make(kind, "later") as later:
        assert name not in {info.node for info in later.nodes()}


@pytest.mark.parametrize("config", [
    callboard.RedisClusterConfig(password=HIDDEN), callboard.EtcdClusterConfig(password=HIDDEN),
    callboard.ConsulClusterConfig(token=HIDDEN), callboard.ZooKeeperClusterConfig(password=HIDDEN),
], ids=lambda config: type(config).__name__)  # fmt: skip
def test_a_secret_is_in_the_address_alone_and_stays_what_it_is(config):
    kind = type(config).__name__.removesuffix("Config")
    cluster = getattr(callboard, kind)(config)
    at = urlsplit(cluster.url)
    assert unquote(at.password or at.username) == HIDDEN
    assert "zz" not in repr(config) + repr(cluster)


@pytest.mark.parametrize(("made", "url"), [
    (lambda: callboard.EtcdCluster(callboard.EtcdClusterConfig(["a:1", "b:2"])), "etcd://a:1,b:2"),
    (lambda: callboard.ZooKeeperCluster(callboard.ZooKeeperClusterConfig(("a:1", "[::1]:2"))),
     "zookeeper://a:1,[::1]:2"),
    (lambda: callboard.ConsulCluster(callboard.ConsulClusterConfig()), "consul://localhost:8500"),
    (lambda: callboard.RedisCluster(callboard.RedisClusterConfig(db=3)), "redis://localhost:6379/3"),
], ids=["etcd", "zookeeper", "consul", "redis"])  # fmt: skip
def test_the_address_that_is_made(made, url: str):
    assert made().url == url


@pytest.mark.parametrize("made", [
    lambda: callboard.EtcdCluster(callboard.EtcdClusterConfig("localhost:2379")),  # a text is no list of them
    lambda: callboard.EtcdCluster(callboard.EtcdClusterConfig([])),
    lambda: callboard.EtcdCluster(callboard.EtcdClusterConfig(["user:secret@localhost:2379"])),
    lambda: callboard.ZooKeeperCluster(callboard.ZooKeeperClusterConfig(["a:1,b:2"])),
    lambda: callboard.ConsulCluster(callboard.ConsulClusterConfig("localhost")),
    lambda: callboard.ConsulCluster(callboard.ConsulClusterConfig("localhost:8500?token=x")),
])
def test_a_wrong_config_fails_where_it_is_given(made):
    with pytest.raises(callboard.InvalidArgument) as caught:
        made()
    assert "HOST:PORT" in caught.value.message

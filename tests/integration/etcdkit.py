"""What the tests of the cluster on etcd share; `server = etcdkit.server` in a test file is its fixture."""

from uuid import uuid4

import pytest
import servers
from kit import eventually

from callboard.backends.cluster.etcd import open_etcd_cluster
from callboard.backends.cluster.etcd import requests as ask
from callboard.core.errors import ClusterUnavailable
from callboard.core.records import NodeInfo

WAIT_S = 20.0
TIMEOUT_S = 1.0


@pytest.fixture(scope="module")
def server():
    """A server of these tests' own, which they leave running."""
    with servers.etcd() as started:
        yield started


@pytest.fixture
def opened(server, request):
    """Opens clusters on it, of one name for the test; closes them at the end."""
    every, name = [], f"test-{uuid4().hex}"

    def make(url=None, *, timeout_s=TIMEOUT_S):
        every.append(open_etcd_cluster(f"{url or server.url}?name={name}", timeout_s))
        return every[-1]

    yield make
    for cluster in every:
        cluster.close()
    assert server.alive, request.node.name


def node(name="n1", **more):
    return NodeInfo(name, f"boot-{name}", **more)


def raw(cluster, *parts):
    """What somebody else does, in one transaction."""
    return cluster._link.txn([], list(parts), [])


def keys(cluster, part=b""):
    """The installation's keys, and whether each has an end."""
    found = raw(cluster, ask.scan(cluster._at + part, 10_000)).responses[0].response_range.kvs
    return {kv.key.removeprefix(cluster._at).decode(): bool(kv.lease) for kv in found}


def works(call):
    """Try an act until the server is back."""

    def tried():
        try:
            return (call(),)
        except ClusterUnavailable:
            return None

    return eventually(tried, WAIT_S, "the server is back")[0]


def leased(cluster):
    """A lease that is nobody's."""
    return cluster._link.grant(60)[0]

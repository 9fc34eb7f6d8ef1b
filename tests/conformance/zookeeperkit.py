"""The cluster on ZooKeeper for tests: installations of random names on a server, and what others do there."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager, suppress
from uuid import uuid4

import pytest
from cluster_kit import Place
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from servers import shared

from callboard.backends.cluster.zookeeper import open_zookeeper_cluster
from callboard.core.records import NodeInfo

TIMEOUT_S = 1.0
"""Of each call of the clusters that `opened` opens."""
SILENT = logging.Logger("kazoo of the tests", logging.CRITICAL + 1)  # noqa: LOG001 - apart from all others


@contextmanager
def another(url, login=None):
    """A client of somebody else's."""
    client = KazooClient(url.partition("://")[2].rpartition("@")[2].partition("/")[0].partition("?")[0], timeout=10.0,
                         logger=SILENT, auth_data=[("digest", login)] if login else None)
    client.start(timeout=10.0)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def delete(client, path):
    """Delete a node and all below; what goes by itself meanwhile is as good."""
    with suppress(NoNodeError):
        for name in client.get_children(path):
            delete(client, f"{path}/{name}")
        client.delete(path)


def below(client, path):
    """All nodes below one, broadcasts left out; what goes meanwhile is not there."""
    found = []
    with suppress(NoNodeError):
        for name in client.get_children(path):
            found += [f"{path}/{name}", *([] if name == "messages" else below(client, f"{path}/{name}"))]
    return found


def wipe(url, base):
    """Delete leases, locks and members, and leave the rest."""
    with another(url) as client:
        root = f"{base}/{client.get(base)[0].decode()}"
        for area in ("term", "locks", "members"):
            for name in client.get_children(f"{root}/{area}"):
                delete(client, f"{root}/{area}/{name}")


@contextmanager
def name(url=None):
    """The address of an installation of its own on the shared server, or another; removed at the end."""
    own = f"test-{uuid4().hex}"
    url = url or shared.url("zookeeper")
    try:
        yield f"{url}{'' if url.endswith(('?', '&')) else '&' if '?' in url else '?'}name={own}"
    finally:
        with another(url) as client:
            delete(client, f"/{own}")


def base(address):
    """Where an installation is."""
    return "/" + address.rpartition("name=")[2]


def open_place(ttl_s=1.0):
    """A cluster of its own name on the shared server."""
    ending = ExitStack()
    address = ending.enter_context(name())
    def kept():
        with another(address) as client:
            return len(below(client, base(address)))

    return Place("zookeeper", lambda: open_zookeeper_cluster(address), ttl_s, lambda: wipe(address, base(address)),
                 done=ending.close, kept=kept)


@pytest.fixture
def address():
    """An installation of its own on the shared server."""
    with name() as made:
        yield made


@pytest.fixture
def opened(request):
    """Opens clusters; closes them at the end."""
    every = []

    def make(url=None, timeout_s=TIMEOUT_S):
        every.append(open_zookeeper_cluster(url or request.getfixturevalue("address"), timeout_s))
        return every[-1]

    yield make
    for cluster in every:
        cluster.close()


def node(name="n1", **more):
    """A member."""
    return NodeInfo(name, f"boot-{name}", **more)

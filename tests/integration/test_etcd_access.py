"""The cluster on etcd: users, TLS, several servers; no secret is shown."""

import logging
from contextlib import closing
from uuid import uuid4

import etcdkit
import pytest
import servers
from etcdkit import WAIT_S, node, works
from kit import eventually

from callboard.backends.cluster.etcd import open_etcd_cluster
from callboard.backends.cluster.etcd import requests as ask
from callboard.core.errors import ClusterUnavailable, QueueError

server = etcdkit.server
opened = etcdkit.opened


@pytest.fixture(scope="module")
def tls():
    """A server that speaks TLS alone and asks clients for a certificate."""
    with servers.etcd(tls=True, client_certificates=True) as started:
        yield started


def test_tls_with_a_client_certificate_user_and_password(tls):
    files = f"?ca={tls.ca}&cert={tls.folder}/client.pem&key={tls.folder}/client.key"
    with closing(open_etcd_cluster(tls.url_of("limited") + files)) as cluster:
        got = []
        cluster.subscribe(got.append)
        term = cluster.campaign("A", 9.0)
        assert cluster.renew(term, 9.0)
        cluster.broadcast(b"x")
        eventually(lambda: got == [b"x"], WAIT_S, "the broadcast arrives")


@pytest.mark.parametrize("change", ["no ca", "another ca", "no certificate", "in the clear"])
def test_who_cannot_be_trusted_is_refused(tls, change, tmp_path):
    import trustme  # noqa: PLC0415 - for this test alone

    other = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(other)
    own = f"&cert={tls.folder}/client.pem&key={tls.folder}/client.key"
    url = {"no ca": f"{tls.url}?{own[1:]}", "another ca": f"{tls.url}?ca={other}{own}",
           "no certificate": f"{tls.url}?ca={tls.ca}", "in the clear": tls.url.replace("etcds:", "etcd:")}[change]
    with pytest.raises(ClusterUnavailable) as refused:
        open_etcd_cluster(url, 1.0).close()
    assert tls.password not in str(refused.value)


@pytest.mark.parametrize("secret", ["callboard:canary@", "nobody:canary@", ""])
def test_a_wrong_login_is_refused_and_no_secret_is_shown(server, caplog, capfd, secret):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(QueueError, match=r"no such user|refuses") as refused:
        open_etcd_cluster(f"etcd://{secret}127.0.0.1:{server.port}").close()
    told = capfd.readouterr()
    assert "canary" not in f"{refused.value!r} {refused.value.__cause__} {caplog.text} {told.out} {told.err}"


def test_no_secret_is_in_what_a_cluster_says_of_itself(server, opened, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    cluster = opened()
    cluster.subscribe(print)
    cluster.close()
    with pytest.raises(ClusterUnavailable) as gone:
        cluster.leader()
    shown = f"{cluster!r} {vars(cluster)!r} {cluster.characteristics} {cluster._link.login.address!r} {gone.value}"
    told = capfd.readouterr()
    for secret in (server.password, cluster._link.login.token):
        assert secret
        assert secret not in f"{shown} {caplog.text} {told.out} {told.err}"


def test_rights_to_its_own_keys_are_enough_and_without_them_it_says_so(server):
    with closing(open_etcd_cluster(f"{server.url_of('limited')}?name={uuid4().hex}")) as cluster:
        term, lock = cluster.campaign("A", 9.0), cluster.acquire_lock("k", "h", 9.0)
        cluster.register(node(), 9.0)
        cluster.broadcast(b"x")
        assert cluster.renew(term, 9.0)
        assert cluster.release_lock(lock)
        cluster.unregister("boot-n1")
        cluster.resign(term)
        cluster._at = b"/other/"
        with pytest.raises(ClusterUnavailable, match="PERMISSION_DENIED"):
            cluster._act(do=[ask.get(b"/other/x")])


def test_one_of_three_servers_dies_and_every_act_goes_on():
    with servers.etcd_ensemble() as three, closing(open_etcd_cluster(three.url)) as cluster:
        term = cluster.campaign("A", 60.0)
        got = []
        cluster.subscribe(got.append)
        for message in (b"one", b"two"):
            dead = three.leader()
            dead.kill()
            assert works(lambda: cluster.renew(term, 60.0)) is True
            works(lambda: cluster.broadcast(message))  # noqa: B023 - used at once
            dead.start()
        eventually(lambda: {b"one", b"two"} <= set(got), WAIT_S, "both broadcasts arrive")
        assert works(cluster.leader) == term

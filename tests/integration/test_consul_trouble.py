"""A Consul that is killed, stopped, replaced, guarded by tokens and TLS, or no Consul at all."""

from __future__ import annotations

import http.server
import logging
import threading
import time
from contextlib import ExitStack

import pytest
import servers
from kit import eventually

from callboard.backends.cluster.consul import open_consul_cluster
from callboard.core.errors import ClusterUnavailable
from callboard.core.records import NodeInfo

WAIT_S = 30.0
TTL_S = 3.0
POLICY = """
key_prefix "callboard/" { policy = "write" }
service_prefix "callboard-" { policy = "write" }
session_prefix "" { policy = "write" }
node_prefix "" { policy = "read" }
"""
"""As in docs/consul.md."""


@pytest.fixture
def opened():
    """Opens clusters; closes them at the end."""
    with ExitStack() as cleanup:
        def make(url, **options):
            cluster = open_consul_cluster(url, **options)
            cleanup.callback(cluster.close)
            return cluster

        yield make


def tried(call):
    """What it gives; None while there is no answer."""
    try:
        return call()
    except ClusterUnavailable:
        return None


def test_a_server_that_is_killed_and_started_again_in_mid_lease(opened):
    with servers.consul() as server:
        a, b = opened(server.url), opened(server.url)
        got, hint = [], threading.Event()
        b.subscribe(got.append)
        b.watch(hint.set)
        a.broadcast(b"before")
        eventually(lambda: got == [b"before"], WAIT_S, "it arrives")
        term, name = a.campaign("A", TTL_S), a.cluster_id
        lock = a.acquire_lock("k", "h", 600.0)
        a.register(NodeInfo("n1", "b1"), 600.0)
        server.kill()
        with pytest.raises(ClusterUnavailable, match="can't be reached"):
            a.renew(term, TTL_S)
        hint.clear()
        server.start()
        kept = eventually(lambda: (tried(lambda: a.renew(term, TTL_S)),), WAIT_S, "an answer")[0]
        if kept:  # then it is in force for all, and for its ttl
            assert b.leader() == term
            assert b.campaign("B", TTL_S) is None
        won = eventually(lambda: tried(lambda: b.campaign("B", 600.0)), WAIT_S, "the next leads")
        assert won.number > term.number
        assert a.renew(term, TTL_S) is False
        assert hint.wait(WAIT_S), "the watch goes on"
        assert b.cluster_id == name
        again = tried(lambda: a.acquire_lock("k", "h", 600.0))
        assert again.number >= lock.number
        a.broadcast(b"after")
        eventually(lambda: got == [b"before", b"after"], WAIT_S, "broadcasts go on")
        a.register(NodeInfo("n1", "b1"), 600.0)
        eventually(lambda: b.nodes() == (NodeInfo("n1", "b1"),), WAIT_S, "the member is there")


def test_a_server_that_is_stopped_costs_the_timeout_and_holds_nobody_up(opened):
    with servers.consul() as server:
        a = opened(server.url, timeout_s=1.0)
        a.watch(lambda: None)
        term = a.campaign("A", 60.0)
        server.pause()
        begun_s = time.monotonic()
        with pytest.raises(ClusterUnavailable, match=r"no answer within 1\.0 s"):
            a.renew(term, 60.0)
        assert time.monotonic() - begun_s < 3.0
        begun_s = time.monotonic()
        a.close()
        assert time.monotonic() - begun_s < 3.0
        server.resume()


def test_a_server_that_lost_its_data_is_noticed(opened):
    with servers.consul() as server, servers.consul(token=server.password) as other:
        a = opened(server.url)
        term = a.campaign("A", 60.0)
        a._keys.link._clients[0].base_uri = f"http://127.0.0.1:{other.port}"
        a._renewals._clients[0].base_uri = f"http://127.0.0.1:{other.port}"
        for call in (a.leader, lambda: a.renew(term, 60.0) or a.leader(), lambda: a.campaign("A", 60.0)):
            with pytest.raises(ClusterUnavailable, match="was emptied or replaced"):
                call()


def test_of_several_agents_the_next_is_asked(opened):
    with servers.consul() as server:
        a = opened(server.url.replace("127.0.0.1:", "127.0.0.1:1,127.0.0.1:"))
        term = a.campaign("A", 60.0)
        assert term is not None
        assert a.renew(term, 60.0)
        a.broadcast(b"x")
        a.resign(term)
        assert a.leader() is None
        with pytest.raises(ClusterUnavailable, match=r"can't be reached: .*refused"):
            opened(f"consul://{server.password}@127.0.0.1:1,localhost:2")


@pytest.mark.timeout(240)
def test_three_servers_of_which_the_leading_one_is_killed(opened):
    with servers.consul_ensemble() as ensemble:
        a = opened(ensemble.url)
        first = a.campaign("A", 600.0)
        ensemble.leader().kill()
        ensemble.wait()
        b = opened(ensemble.url)
        assert b.cluster_id == a.cluster_id
        held = eventually(lambda: (tried(a.leader),), WAIT_S, "an answer")[0]
        assert held is None or held == first
        a.resign(first)
        term = eventually(lambda: tried(lambda: b.campaign("B", 600.0)), WAIT_S, "the next leads")
        assert term.number > first.number
        assert eventually(lambda: tried(a.leader), WAIT_S, "both see it") == term


def test_tokens_the_least_that_is_enough_and_less(opened, caplog):
    with servers.consul() as server, caplog.at_level(logging.DEBUG):
        enough, less = server.token(POLICY), server.token('key_prefix "callboard/" { policy = "write" }')
        a = opened(server.url_of(enough))
        a.register(NodeInfo("n1", "b1"), 600.0)
        a.watch(lambda: None)
        a.broadcast(b"x")
        term = a.campaign("A", 600.0)
        lock = a.acquire_lock("k", "h", 600.0)
        assert a.nodes() == (NodeInfo("n1", "b1"),)
        assert a.renew(term, 600.0)
        a.resign(term)
        assert a.release_lock(lock)
        a.unregister("b1")
        told = []
        for call in (lambda: opened(server.url_of("canary-token")),
                     lambda: opened(server.url_of(less)).campaign("A", 9.0)):
            with pytest.raises(ClusterUnavailable) as refused:
                call()
            told.append(f"{refused.value}\n{refused.value!r}\n{refused.value.__cause__!r}")
        assert "the token may not do this" in told[1]
        shown = f"{told}{caplog.text}{vars(a)}{a._link.address!r}"
        for secret in (server.password, enough, less, "canary-token"):
            assert secret not in shown


def test_tls_checks_who_answers(opened, tmp_path):
    import trustme  # noqa: PLC0415 - only who uses TLS needs it

    with servers.consul(tls=True) as server:
        a = opened(server.url)
        assert a.campaign("A", 60.0) is not None
        a.watch(lambda: None)
        stranger = tmp_path / "ca.pem"
        trustme.CA().cert_pem.write_to_path(str(stranger))
        for wrong in (server.url.replace(str(server.ca), str(stranger)), server.url.partition("?")[0]):
            with pytest.raises(ClusterUnavailable, match=r"(?i)certificate"):
                opened(wrong)
        with pytest.raises(ClusterUnavailable):
            opened(server.url.partition("?")[0].replace("consuls:", "consul:"))


def test_a_datacenter_is_the_agents_own(opened):
    with servers.consul() as server:
        assert opened(f"{server.url}dc=dc1").leader() is None
        with pytest.raises(ClusterUnavailable):
            opened(f"{server.url}dc=elsewhere")


def test_the_environments_word_does_not_count(opened, monkeypatch):
    with servers.consul() as server:
        for name, value in {"CONSUL_HTTP_ADDR": "127.0.0.1:1", "CONSUL_HTTP_TOKEN": "other", "HTTP_PROXY": "http://127.0.0.1:1",
                            "http_proxy": "http://127.0.0.1:1", "CONSUL_HTTP_SSL": "true"}.items():
            monkeypatch.setenv(name, value)
        assert opened(server.url).leader() is None


class Hostile(http.server.BaseHTTPRequestHandler):
    """No Consul."""

    seen: list[tuple[str, str | None]]
    how = ""

    def do_GET(self):
        self.seen.append((self.path, self.headers.get("X-Consul-Token")))
        if self.how == "redirects":
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        body = {"deep": b"[" * 100_000, "long": b" " * (17 << 20), "text": b"<html>", "other": b'{"a": 1}'}[self.how]
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("how", ["redirects", "deep", "long", "text", "other"])
def test_what_is_no_consul_is_refused_and_gets_the_token_once(opened, how):
    handler = type("Handler", (Hostile,), {"how": how, "seen": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with pytest.raises(ClusterUnavailable, match="16,777,216 bytes" if how == "long" else "cluster on consul://"):
                opened(f"consul://canary@127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
    assert not [path for path, _ in handler.seen if "elsewhere" in path]

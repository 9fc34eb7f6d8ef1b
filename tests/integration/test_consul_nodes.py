"""Jobs in a SQLite file, leadership on Consul: two nodes, the leading one killed; what doctor says."""

from __future__ import annotations

import signal
from uuid import uuid4

import pytest
from clikit import Place
from servers import shared

from callboard.backends.cluster.consul import open_consul_cluster


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def url():
    """An installation of the test's own, whose keys it removes."""
    name = f"test-{uuid4().hex}"
    given = shared.url("consul")
    address = f"{given}{'' if given.endswith('?') else '?'}name={name}"
    yield address
    cluster = open_consul_cluster(address)
    cluster._link._ask("delete", f"kv/{name}/", (("recurse", ""),), "", None)
    cluster.close()


def test_two_nodes_one_leads_and_the_other_takes_over(place, url):
    place.env["CALLBOARD_CLUSTER"] = url
    token = url.partition("//")[2].partition("@")[0]
    with place.node("--node-id", "n1", "--queue", "emails:1") as first:
        begun = first.wait_event("dispatcher.term_begun")
        with place.node("--node-id", "n2", "--queue", "emails:1") as second:
            place.push("send_email", "--arg", "to=x")
            place.until("the first ran", lambda s: sum(q["completed"] for q in s["queues"]) == 1)
            first.signal(signal.SIGKILL)
            then = second.wait_event("dispatcher.term_begun")
            assert then["epoch"] > begun["epoch"]
            place.push("send_email", "--arg", "to=y")
            place.until("the second ran", lambda s: sum(q["completed"] for q in s["queues"]) == 2)
            told = place.ok("doctor")
            assert "cluster" in told
            assert "limit: a term is renewed only through the agent" in told
            said = f"{told}{first.events}{first.other}{second.events}{second.other}"
            assert token not in said
            assert "consul://***@" in said
        first.wait()


def test_a_consul_that_is_not_there_is_said(place):
    done = place.run("node", "--app", "shop", CALLBOARD_CLUSTER="consul://canary@127.0.0.1:1")
    assert done.code == 3, done
    assert "consul://127.0.0.1:1: can't be reached" in done.out + done.err
    assert "canary" not in done.out + done.err


@pytest.mark.parametrize("store", ["consul://canary@h", "consuls://h"])
def test_consul_keeps_no_jobs(place, store):
    done = place.run("push", "send_email", "--app", "shop", CALLBOARD_STORE=store)
    assert done.code == 2, done
    assert "keeps no jobs" in done.err
    assert "canary" not in done.err

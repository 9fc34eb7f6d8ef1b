"""Clients on another machine: nodes' sockets are out of reach, so questions go through the cluster backend."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from uuid import uuid4

import pytest
from clikit import Done, Place, queue_of
from kit import eventually
from servers import shared

from callboard.client import Client
from callboard.core.errors import InvalidArgument, PayloadTooLarge, Unavailable
from callboard.core.messages import AskStatus, NodeStatus, PushJobs, Scale
from callboard.core.messages import Done as DoneMessage
from callboard.core.records import NewJob

KEY, OLD = "new-" * 10, "old-" * 10
AWAY = """
import socket
socket.gethostname = lambda: "another-machine"
"""


class Cluster:
    """Two nodes, and how to speak to them from a machine of another name."""

    def __init__(self, place, store, nodes):
        self.place, self.store, self.nodes = place, store, nodes

    @contextmanager
    def client(self, key=""):
        with Client(self.store, cluster_key=key) as client:
            yield client

    def run(self, *args, **env):
        """The real command, on another machine."""
        path = os.pathsep.join((str(self.place.folder / "away"), self.place.env.get("PYTHONPATH", "")))
        return self.place.run(*args, PYTHONPATH=path, **env)


@pytest.fixture(params=["sqlite", "redis"])
def cluster(request, tmp_path):
    place = Place(tmp_path)
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "sitecustomize.py").write_text(AWAY)
    redis = f"{shared.url('redis')}?name=wire-{uuid4().hex}" if request.param == "redis" else ""
    store = redis or f"sqlite:///{tmp_path}/callboard.db"
    place.env |= {"CALLBOARD_STORE": store, "CALLBOARD_CLUSTER": store}
    with (place.node("--node-id", "n1", "--queue", "emails:2") as first,
          place.node("--node-id", "n2", "--queue", "emails:3") as second):
        for node in (first, second):
            node.wait_event("cluster.listening")
        yield Cluster(place, store, (first, second))


@pytest.fixture
def away(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "another-machine")


def test_the_command_line_from_another_machine(cluster):
    status = cluster.run("status", "--json")
    assert status.code == 0, status
    assert [(node["node"], node["reachable"]) for node in status.json["nodes"]] == [("n1", True), ("n2", True)]
    assert all(set(node["restarts"]) >= {"cluster", "elector"} for node in status.json["nodes"])

    scaled = cluster.run("scale", "emails", "7", "--node", "n2")
    assert scaled.code == 0, scaled
    cluster.nodes[1].wait_event("worker.scaled", slots=7)

    pushed = cluster.run("push", "send_email", "--arg", "to=a@b")  # a node tells what the job takes
    assert pushed.code == 0, pushed
    assert "needs to" in cluster.run("push", "send_email").err

    events = cluster.run("events", "--event", "worker.scaled", "--json")
    assert events.code == 0, events
    assert [(line["node"], line["slots"]) for line in map(json.loads, events.out.splitlines())] == [("n2", 7)]


@pytest.mark.parametrize("cluster", ["sqlite"], indirect=True)
def test_a_remote_node_is_followed(cluster):
    path = os.pathsep.join((str(cluster.place.folder / "away"), cluster.place.env.get("PYTHONPATH", "")))
    follow = subprocess.Popen(
        [sys.executable, "-m", "callboard", "events", "--follow", "--event", "job.completed", "--json"],
        cwd=cluster.place.folder, env=cluster.place.env | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)
    try:
        ids, seen = set(), set()
        while not seen:  # single jobs' events are kept only from when somebody asks for them
            ids.add(cluster.place.push("send_email", "--arg", "to=x"))
            eventually(lambda: queue_of(_status(cluster), "emails")["completed"] == len(ids), 20.0, "they ran")
            os.set_blocking(follow.stdout.fileno(), False)
            eventually(lambda: seen.update(map(_job, follow.stdout)) or seen or len(ids) < 5, 5.0, "an event")
        more = cluster.place.push("send_email", "--arg", "to=y")
        eventually(lambda: seen.update(map(_job, follow.stdout)) or more in seen, 20.0, "the event of the next job")
        assert seen <= {*ids, more}
    finally:
        follow.terminate()
        follow.wait(20.0)
        follow.stdout.close()


def _job(line):
    return json.loads(line)["job"]


def _status(cluster):
    return json.loads(cluster.place.ok("status", "--json"))


@pytest.mark.usefixtures("away")
def test_a_program_on_another_machine(cluster):
    with cluster.client() as client:
        status = client.dispatcher.ask(AskStatus(), timeout=10.0)
        assert isinstance(status, NodeStatus)
        assert status.leading == (status.node == client.status().leader)
        assert client.dispatcher.ask(Scale("emails", 4), timeout=10.0) == DoneMessage(4)
        for node in cluster.nodes:
            node.wait_event("worker.scaled", slots=4)
        with pytest.raises(PayloadTooLarge, match="through the cluster backend"):
            client.dispatcher.ask(PushJobs((NewJob("i", "send_email", "emails", b"x" * 70_000),)), timeout=5.0)
        with pytest.raises(InvalidArgument):
            client.dispatcher.ask(Scale("emails", 10**6), timeout=5.0)
        started_s = time.monotonic()
        client.scale("emails", 6)
        for node in cluster.nodes:
            node.wait_event("worker.scaled", slots=6)
        assert time.monotonic() - started_s < 1.0  # S-goal: within a second on every node


@pytest.mark.usefixtures("away")
def test_only_who_has_a_key_is_answered(tmp_path):
    place = Place(tmp_path)
    secret = tmp_path / "cluster.key"
    secret.write_text(f"{KEY},{OLD}\n")
    secret.chmod(0o600)
    store = f"sqlite:///{tmp_path}/callboard.db"
    with place.node("--node-id", "n1", "--queue", "emails:2", CALLBOARD_CLUSTER_KEY_FILE=str(secret)) as node:
        node.wait_event("cluster.listening")
        for keys in (KEY, f"{OLD},{KEY}"):
            with Client(store, cluster_key=keys) as client:
                assert isinstance(client.dispatcher.ask(AskStatus(), timeout=10.0), NodeStatus)
        for key, reason in (("x" * 32, "not authentic"), ("", "not signed")):
            with Client(store, cluster_key=key) as client:
                with pytest.raises(Unavailable, match="CALLBOARD_CLUSTER_KEY"):
                    client.dispatcher.ask(AskStatus(), timeout=0.5)
                node.wait_event("cluster.message_refused", reason=reason)
                (view,) = client.status().nodes
                assert not view.reachable  # shown as the store knows it
        doctor = place.run("doctor", CALLBOARD_CLUSTER_KEY_FILE=str(secret), CALLBOARD_STORE=store)
    said = f"{node.events} {node.other} {doctor}"
    assert KEY not in said
    assert OLD not in said
    assert "cluster_key = (not shown)" in doctor.out


def test_what_a_command_says_of_a_bad_key(tmp_path):
    place = Place(tmp_path)
    place.push("send_email", "--arg", "to=x")
    short = place.run("status", CALLBOARD_CLUSTER_KEY="hunter2")
    assert isinstance(short, Done)
    assert short.code == 2
    assert "at least 32" in short.err
    assert "hunter2" not in short.err
    secret = tmp_path / "key"
    secret.write_text(KEY)
    secret.chmod(0o644)
    assert "chmod 600" in place.run("status", CALLBOARD_CLUSTER_KEY_FILE=str(secret)).err
    (tmp_path / "callboard.toml").write_text(f'cluster_key = "{KEY}"')
    assert "can be read by others" in place.run("status").err

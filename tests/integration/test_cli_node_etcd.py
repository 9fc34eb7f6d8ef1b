"""Two nodes keep their jobs in a file and elect on etcd."""

from __future__ import annotations

import os
import signal

import pytest
import servers
from clikit import Place, queue_of
from kit import eventually


@pytest.fixture(scope="module")
def server():
    """A server of these tests' own."""
    with servers.etcd() as started:
        yield started


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_the_leader_is_killed_and_the_other_takes_over(place, server):
    url = f"{server.url}?name={place.folder.name}"
    place.env |= {"CALLBOARD_STORE": "sqlite:///callboard.db", "CALLBOARD_CLUSTER": url}
    both = ("--queue", "emails:2")
    with place.node("--node-id", "n1", *both) as first:
        began = first.wait_event("dispatcher.term_begun")
        assert server.password not in str(first.events)
        with place.node("--node-id", "n2", *both) as second:
            place.until("both are there", lambda s: [n["reachable"] for n in s["nodes"]] == [True, True])
            doctor = place.run("doctor")
            assert doctor.code == 0, doctor
            assert f"etcd://root:***@127.0.0.1:{server.port}" in doctor.out
            assert server.password not in doctor.out + doctor.err
            assert "etcd's revisions" in doctor.out
            os.killpg(first.process.pid, signal.SIGKILL)
            first.wait()
            then = second.wait_event("dispatcher.term_begun")
            assert then["epoch"] == began["epoch"] + 1
            place.ok("push", "send_email", "--arg", "to=later", "--app", "shop")
            eventually((place.folder / "sent.txt").exists, 20.0, "the job ran")
            after = place.until("n1 is gone", lambda s: [n["node"] for n in s["nodes"]] == ["n2"])
            assert after["leader"] == "n2"
            assert queue_of(after, "emails")["completed"] == 1
            assert second.stop() == 0
            assert second.other == [], "grpc writes nothing to stderr"


def test_an_address_of_etcd_is_no_store(place):
    done = place.run("status", "--store", "etcd://h")
    assert done.code == 2
    assert "etcd:// keeps no jobs" in done.err

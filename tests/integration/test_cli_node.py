"""`callboard node`: starts with an app alone, joins, stops gracefully, is hurried by a second signal."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest
from clikit import NodeProcess, Place, queue_of
from kit import eventually

from callboard.client import Client


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_with_nothing_but_an_app_it_works_on_a_file_and_a_push_needs_only_the_node(place):
    with place.node() as node:
        assert node.wait_event("node.starting")["store"] == "sqlite:///callboard.db"
        job_id = place.ok("push", "send_email", "--arg", "to=a@b", "--arg-json", "n=3", "--queue", "default").strip()
        status = place.until("the job is done", lambda s: queue_of(s, "default")["completed"] == 1)
        assert (place.folder / "sent.txt").read_text() == "a@b 3\n"
        assert status["leader"] == status["nodes"][0]["node"]
        assert status["epoch"] == 1
        assert len(job_id) == 32
        assert node.stop() == 0
    assert place.status()["nodes"] == []
    assert (place.folder / "callboard.db").stat().st_mode & 0o077 == 0


def test_a_second_node_joins_and_takes_over_when_the_first_is_killed(place):
    with place.node("--node-id", "n1", "--queue", "emails:2") as first:
        first.wait_event("dispatcher.term_begun")
        with place.node("--node-id", "n2", "--queue", "emails:2") as second:
            both = place.until("both are there", lambda s: [n["reachable"] for n in s["nodes"]] == [True, True])
            assert both["leader"] == "n1"
            assert queue_of(both, "emails")["slots"] == 4
            os.killpg(first.process.pid, signal.SIGKILL)
            first.wait()
            second.wait_event("dispatcher.term_begun")
            place.push("send_email", "--arg", "to=later")
            eventually((place.folder / "sent.txt").exists, 20.0, "the job ran")
            after = place.until("n1 is gone", lambda s: [n["node"] for n in s["nodes"]] == ["n2"])
            assert after["leader"] == "n2"
            assert after["epoch"] == 2


@pytest.fixture
def _hangups_not_ignored():
    """Under nohup the tests' own process ignores SIGHUP, and a node that it starts would too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_hangups_not_ignored")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_begins_a_graceful_stop_that_waits_for_what_runs(place, number):
    with place.node() as node:
        place.push("wait_for", "--arg", "path=go")
        eventually((place.folder / "go.started").exists, 20.0, "the job runs")
        node.signal(number)
        node.wait_event("supervisor.stopping", reason=number.name)
        (place.folder / "go").touch()
        assert node.wait() == 0
        node.wait_event("node.stopped", code=0)
    assert queue_of(place.status(), "default")["completed"] == 1


def test_a_second_signal_kills_what_runs_and_the_job_goes_back(place):
    with place.node() as node:
        place.push("wait_for", "--arg", "path=never")
        eventually((place.folder / "never.started").exists, 20.0, "the job runs")
        node.signal(signal.SIGINT)
        node.wait_event("supervisor.stopping")
        node.signal(signal.SIGINT)
        node.wait_event("supervisor.stop_hurried")
        assert node.wait() == 0
    queue = queue_of(place.status(), "default")
    assert (queue["running"], queue["ready"] + queue["delayed"]) == (0, 1)


def test_the_grace_ends_and_what_runs_is_killed(place):
    with place.node("--stop-grace", "0.3") as node:
        place.push("wait_for", "--arg", "path=never")
        eventually((place.folder / "never.started").exists, 20.0, "the job runs")
        assert node.stop() == 0
    assert queue_of(place.status(), "default")["running"] == 0


def test_a_signal_while_the_app_is_imported_stops_the_start(place):
    (place.folder / "slow.py").write_text("import time, pathlib\npathlib.Path('importing').touch()\ntime.sleep(60)\n")
    node = NodeProcess(place.folder, ("--app", "slow"), place.env)
    try:
        eventually((place.folder / "importing").exists, 20.0, "the import runs")
        node.signal(signal.SIGTERM)
        assert node.wait(20) == 0
    finally:
        node.close()


def test_a_second_node_of_the_same_name_gives_up_with_the_reason(place):
    with place.node("--node-id", "n1"):
        args = ("--app", "shop", "--node-id", "n1", "--lease-ttl", "0.5", "--session-ttl", "0.5")
        node = NodeProcess(place.folder, args, place.env)
        try:
            node.wait_event("heartbeat.name_taken")
            assert node.wait() == 1
            assert "n1" in node.wait_event("node.stopped", code=1)["reason"]
        finally:
            node.close()
        assert place.status()["nodes"][0]["reachable"]


def test_signals_that_the_parent_ignored_stay_ignored(place):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited, as under nohup
    try:
        with place.node() as node:
            node.signal(signal.SIGHUP)
            place.push("send_email", "--arg", "to=x", "--queue", "default")
            place.until("it goes on working", lambda s: queue_of(s, "default")["completed"] == 1)
            assert not [e for e in node.events if e["event"] == "node.signal"]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_events_go_to_a_file_of_the_format_asked_for(place):
    log = place.folder / "node.log"
    log.write_text("what was there stays\n")
    node = NodeProcess(place.folder, ("--app", "shop", "--log-file", "node.log"), place.env)
    try:
        eventually(lambda: '"event": "node.ready"' in log.read_text(), 20.0, "it is ready")
        assert node.stop() == 0
        assert (node.events, node.other) == ([], [])
    finally:
        node.close()
    first, *lines = log.read_text().splitlines()
    assert first == "what was there stays"
    assert json.loads(lines[-1])["event"] == "node.stopped"


def test_settings_of_a_file_hold_and_flags_are_stronger(place):
    (place.folder / "callboard.toml").write_text(
        'app = "shop"\nstore = "sqlite:///from-file.db"\nqueues = ["emails:2", "default=2,low:6"]\nnode_id = "filed"\n'
        "lease_ttl = 1\nsession_ttl = 1\n")
    node = NodeProcess(place.folder, ("--node-id", "flagged"), place.env)
    try:
        started = node.wait_event("node.starting")
        assert (started["store"], started["node"]) == ("sqlite:///from-file.db", "flagged")
        assert started["pools"] == {"emails": 2, "default": 6}
        node.wait_event("heartbeat.session_opened")
        (seen,) = Client(f"sqlite:///{place.folder}/from-file.db").status().nodes
        assert [pool.queues for pool in seen.pools] == [{"default": 2, "low": 1}, {"emails": 1}]
        assert node.stop() == 0
    finally:
        node.close()


def test_defaults_for_jobs_that_say_nothing_themselves(place):
    (place.folder / "plain.py").write_text(
        "import callboard, time\n@callboard.job\ndef slow(): time.sleep(60)\n")
    with place.node("--timeout", "0.5", "--max-attempts", "1", app="plain"):
        place.ok("push", "slow")
        status = place.until("it failed", lambda s: queue_of(s, "default")["failed"] == 1)
        assert status["jobs"]["failed_jobs"] == 1
        (row,) = place.run("failed", "list", "--json").json
        assert (row["error_kind"], row["attempts"]) == ("Timeout", 1)


def test_the_main_thread_sleeps_while_the_node_works(place):
    with place.node() as node:
        stat = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/stat")

        def ticks() -> int:
            fields = stat.read_text().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])

        before = ticks()
        done = threading.Event()
        assert not done.wait(1.0)
        assert ticks() - before <= 2

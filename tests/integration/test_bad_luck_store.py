"""Bad luck with the store's file under a running node: it says so in one line, and nothing acknowledged is lost."""

from __future__ import annotations

import resource
import signal
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from clikit import NodeProcess, Place, queue_of
from kit import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TTLS = ("--lease-ttl", "0.5", "--session-ttl", "0.5")


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def files(folder: Path) -> list[Path]:
    return list(folder.glob("callboard.db*"))


def move_away(folder: Path) -> None:
    (folder / "moved").mkdir()
    for file in files(folder):
        file.rename(folder / "moved" / file.name)


def move_back(folder: Path) -> None:
    for file in files(folder / "moved"):
        file.rename(folder / file.name)


def edit(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "callboard.db", timeout=20)) as connection, connection:
        connection.execute(statement)


def replace(folder: Path) -> None:
    move_away(folder)
    Place(folder).push("send_email", "--arg", "to=new", "--queue", "elsewhere")


FOR_GOOD = {
    "replaced": (replace, "the file was moved, deleted or replaced; start the node again"),
    "emptied": (lambda folder: edit(folder, "DELETE FROM callboard_store"), "the store was emptied; start the node ag"),
    "of a newer schema": (lambda folder: edit(folder, "UPDATE callboard_store SET schema_version = 999"),
                          "schema version 999, this callboard knows"),
}


@pytest.mark.parametrize("name", FOR_GOOD)
def test_a_node_whose_store_is_gone_for_good_ends_with_one_line(place, name):
    """It can't come back to life by waiting: whoever supervises the process starts it again, on what is there."""
    change, said = FOR_GOOD[name]
    with place.node(*TTLS) as node:
        place.push("wait_for", "--arg", "path=never", "--queue", "default")
        eventually((place.folder / "never.started").exists, 20.0, "a job runs")
        change(place.folder)
        assert node.wait(10.0) == 1
        assert said in node.wait_event("node.stopped", code=1)["reason"]
        (line,) = [text for text in node.other if text.startswith("callboard: error: the node ended: ")]
        assert said in line
        assert not [event for event in node.events if event["event"] == "supervisor.actor_died"]
        assert len(node.events) < 60, "an event a change, not one a try"


def test_what_was_moved_away_is_complete_when_it_comes_back(place):
    with place.node(*TTLS) as node:
        place.push("wait_for", "--arg", "path=go", "--queue", "default")
        eventually((place.folder / "go.started").exists, 20.0, "a job runs")
        move_away(place.folder)
        assert node.wait(10.0) == 1
        assert "the file was moved, deleted or replaced" in node.wait_event("node.stopped", code=1)["reason"]
    move_back(place.folder)
    (place.folder / "go").touch()
    with place.node(*TTLS):
        place.until("it runs again", lambda s: queue_of(s, "default")["completed"] == 1)
    assert (place.folder / "go.started").read_text() == "xx"


def test_a_store_that_comes_back_soon_costs_nothing(place):
    with place.node("--session-ttl", "3") as node:
        place.push("wait_for", "--arg", "path=go", "--queue", "default")
        eventually((place.folder / "go.started").exists, 20.0, "a job runs")
        move_away(place.folder)
        node.wait_event("heartbeat.store_away")
        (place.folder / "go").touch()
        node.wait_event("worker.store_away", waiting=1)
        move_back(place.folder)
        node.wait_event("heartbeat.store_back")
        node.wait_event("worker.store_back")
        place.until("it is done", lambda s: queue_of(s, "default")["completed"] == 1)
        assert node.stop() == 0
    assert (place.folder / "go.started").read_text() == "x"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    with closing(sqlite3.connect(folder / "callboard.db", timeout=20, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def test_a_file_that_another_process_locks_for_long_costs_the_leadership_and_no_job(place):
    with place.node(*TTLS) as node:
        place.push("wait_for", "--arg", "path=go", "--queue", "default")
        eventually((place.folder / "go.started").exists, 20.0, "a job runs")
        with locked(place.folder):
            (place.folder / "go").touch()
            node.wait_event("elector.stepped_down")
            refused = place.run("push", "send_email", "--arg", "to=x", "--app", "shop")
            assert refused.code == 3
            assert refused.err.splitlines()[-1].startswith("callboard: error: job store ")
            assert "locked by another process for too long" in refused.err.splitlines()[-1]
        place.push("send_email", "--arg", "to=after", "--queue", "default")
        place.until("both are done", lambda s: queue_of(s, "default")["completed"] == 2)
        assert not [event for event in node.events if event["event"] == "supervisor.actor_died"]
        assert node.stop() == 0
    assert (place.folder / "go.started").read_text() == "x"


def limit_file_size(node: NodeProcess, size_bytes: int) -> None:
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def test_a_full_disk_makes_the_node_wait_and_it_goes_on_when_there_is_room(place):
    """A limit of file sizes on the node's process, as on a full disk: it can't write, others can."""
    with place.node(*TTLS) as node:
        place.push("wait_for", "--arg", "path=go", "--queue", "default")
        eventually((place.folder / "go.started").exists, 20.0, "a job runs")
        limit_file_size(node, 8192)
        away = node.wait_event("heartbeat.store_away")
        assert "I/O error" in away["error"] or "full" in away["error"]
        (place.folder / "go").touch()
        node.wait_event("worker.store_away", waiting=1)
        ids = [place.push("send_email", "--arg", "to=meanwhile", "--queue", "default")]
        limit_file_size(node, resource.RLIM_INFINITY)
        place.until("both are done", lambda s: queue_of(s, "default")["completed"] == 2)
        assert len(ids) == 1
        assert not [event for event in node.events if event["event"] == "supervisor.actor_died"]
        assert node.stop() == 0
    assert (place.folder / "go.started").read_text() == "x"
    assert (place.folder / "sent.txt").read_text() == "meanwhile 1\n"


def test_a_second_signal_ends_a_node_soon_though_its_store_is_away(place):
    """What it could not store is not lost: others run it again."""
    with place.node("--session-ttl", "30") as node:
        place.push("wait_for", "--arg", "path=never", "--queue", "default")
        eventually((place.folder / "never.started").exists, 20.0, "a job runs")
        move_away(place.folder)
        node.wait_event("elector.backend_failed")
        node.signal(signal.SIGINT)
        node.wait_event("supervisor.stopping")
        node.signal(signal.SIGINT)
        node.wait_event("supervisor.stop_hurried")
        assert node.wait(25.0) == 0
    move_back(place.folder)
    assert queue_of(place.status(), "default")["running"] == 1, "until its session is over"

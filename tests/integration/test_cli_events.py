"""`callboard events` and Client.events: events of all nodes of the machine, merged; followed as they come and go."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from clikit import Place

from callboard.core.errors import InvalidArgument, Unavailable, UsageError


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@contextmanager
def followed(place, *args):
    """`callboard events --follow`, its lines as they come."""
    process = subprocess.Popen([sys.executable, "-m", "callboard", "events", "--follow", *args], cwd=place.folder,
                               env=place.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    seen, changed = [], threading.Condition()

    def read():
        for line in process.stdout:
            with changed:
                seen.append(line)
                changed.notify_all()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()

    def wait(what, timeout_s=20.0):
        with changed:
            assert changed.wait_for(lambda: any(what(line) for line in seen), timeout_s), seen[-10:]

    try:
        yield process, wait, seen
    finally:
        process.kill()
        process.wait(10)
        thread.join(10)
        process.stdout.close()
        process.stderr.close()


def named(event, **fields):
    """A line of JSON with this event and these fields."""
    def match(line):
        found = json.loads(line)
        return found["event"] == event and fields.items() <= found.items()

    return match


def test_events_are_followed_as_they_happen_across_nodes_that_join(place):
    with place.node("--node-id", "n1", "--queue", "emails:1"), followed(place, "--json") as (process, wait, seen):
        wait(named("node.ready", node="n1"))
        job_id = place.push("send_email", "--arg", "to=x")
        wait(named("job.completed", job=job_id, node="n1"))  # a debug event: kept because somebody follows
        with place.node("--node-id", "n2", "--queue", "other:1"):
            wait(named("node.ready", node="n2"))
            place.ok("scale", "emails", "4")
            wait(named("worker.scaled", node="n1", slots=4))
        wait(named("node.stopped", node="n2"))
        assert len(seen) == len(set(seen))
        process.send_signal(2)
        assert process.wait(20) == 0


def test_filters_hold_and_text_is_for_people(place):
    with place.node("--node-id", "n1", "--queue", "default:1"):
        failing = place.push("boom", "--arg", "text=a\x1b[31mb")
        place.until("it failed", lambda s: s["jobs"]["failed_jobs"] == 1)
        lines = place.ok("events", "--job", failing).splitlines()
        assert len(lines) == 1
        assert "job.failed" in lines[0]
        assert "error_kind=ValueError" in lines[0]
        assert "\x1b" not in place.ok("events")  # what a job says can't steer a terminal
        assert "\\x1b[31m" in lines[0]
        elector = [json.loads(line) for line in place.ok("events", "--actor", "elector", "--json").splitlines()]
        assert {line["actor"] for line in elector} == {"elector"}
        warnings = [json.loads(line) for line in place.ok("events", "--level", "warning", "--json").splitlines()]
        assert {line["level"] for line in warnings} == {"warning"}
        assert len(place.ok("events", "--last", "3").splitlines()) == 3
        assert place.ok("events", "--event", "nothing.such") == ""


def test_events_of_several_nodes_are_one_list_by_time(place):
    with place.node("--node-id", "n1"), place.node("--node-id", "n2"):
        lines = list(place.client.events(last=1000))
        assert {line["node"] for line in lines} == {"n1", "n2"}
        assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
        assert [line["time"] for line in place.client.events(last=2)] == [line["time"] for line in lines[-2:]]


def test_a_closed_iterator_leaves_no_thread_and_no_connection(place):
    with place.node("--node-id", "n1"):
        before = set(threading.enumerate())
        stream = place.client.events(follow=True)
        assert next(stream)["node"] == "n1"
        stream.close()
        assert {t.name for t in set(threading.enumerate()) - before if t.name.startswith("callboard-events")} == set()


def test_wrong_filters_fail_where_they_are_given(place):
    place.push("send_email", "--arg", "to=x")
    with pytest.raises(UsageError, match="did you mean 'info'"):
        place.client.events(level="inof")
    with pytest.raises(InvalidArgument, match="last"):
        place.client.events(last=-1)
    with pytest.raises(Unavailable, match="no node of"):
        place.client.events()

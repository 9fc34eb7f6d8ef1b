"""Handlers that misbehave in a real node: each ends as its own fault says, and the node and its other jobs go on."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from clikit import NodeProcess, Place, queue_of
from kit import eventually

from callboard.settings import EXECUTORS

if TYPE_CHECKING:
    from pathlib import Path

BAD_JOBS = r'''
import os, signal, sys, time
import callboard
from callboard import PermanentError

def note(line):
    with open("notes.txt", "a") as file:
        file.write(line + "\n")

@callboard.job(max_attempts=1)
def good(n: int = 0):
    note(f"good {n}")

@callboard.job(max_attempts=1)
def raises():
    raise ValueError("\udcff\x00\x1b[31mno\nsecond line" + "x" * 100_000)

@callboard.job
def raises_for_good():
    raise PermanentError("never again")

@callboard.job(max_attempts=1, timeout=0.5)
def hangs():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

@callboard.job(max_attempts=1)
def exits():
    sys.exit(3)

@callboard.job(max_attempts=1)
def exits_hard():
    os._exit(4)

@callboard.job(max_attempts=1)
def kills_itself():
    os.kill(os.getpid(), signal.SIGKILL)

@callboard.job(max_attempts=1)
def forks():
    """The fork goes on as if it were the child of the node; nothing of that may count."""
    if os.fork() == 0:
        raise ValueError("in the fork")
    os.wait()

@callboard.job(max_attempts=1)
def leaves_a_fork():
    if os.fork() == 0:
        note(f"fork {os.getpid()}")
        time.sleep(600)

@callboard.job(max_attempts=1)
def prints_binary():
    os.write(1, bytes(range(256)) * 40 + b"\n" + b"\xff" * 20_000)
    sys.stderr.buffer.write(b"\x00\x1b[2J\xc3\x28\n")
    print("\ud800 printed")

@callboard.job(max_attempts=1)
def allocates():
    held = []
    while True:
        held.append(bytearray(16 << 20))

@callboard.job(max_attempts=1)
def returns_unserialisable():
    return lambda: open("/dev/null")

@callboard.job(max_attempts=1)
def raises_unpicklable():
    class Local(Exception):
        def __init__(self, one, two):
            self.lock = __import__("threading").Lock()
        def __str__(self):
            raise RuntimeError("not even this")
        __repr__ = __str__
    raise Local(1, 2)
'''
FAILURES = {
    "raises": "ValueError", "raises_for_good": "PermanentError", "hangs": "Timeout", "exits": "SystemExit",
    "exits_hard": "ChildDied", "kills_itself": "ChildDied", "allocates": "MemoryError", "raises_unpicklable": "Local",
}
"""Jobs that fail, and the kind of error that the failed list names."""
GOOD = ("forks", "leaves_a_fork", "prints_binary", "returns_unserialisable")
BAD = (*FAILURES, *GOOD)


def made(folder: Path) -> Place:
    folder.mkdir(exist_ok=True)
    (folder / "bad.py").write_text(BAD_JOBS)
    return Place(folder)


def push_all(place: Place, names: tuple[str, ...], **options: Any) -> dict[str, str]:
    """Ids by name; checked by what the node tells of its jobs."""
    client = place.client
    return {name: client.push_named(name, {}, **options) for name in names}


def notes(place: Place) -> list[str]:
    path = place.folder / "notes.txt"
    return path.read_text().splitlines() if path.exists() else []


def ends_as_it_should(place: Place, node: NodeProcess) -> None:
    """Every job has ended once, for its own reason; the node works on."""
    place.until("all have ended", lambda s: queue_of(s, "default")["completed"] == len(GOOD)
                and queue_of(s, "default")["failed"] == len(FAILURES), 40.0)
    rows = {row.name: row for row in place.client.queue.failed.list()}
    assert {name: (row.error_kind, row.attempts, row.losses) for name, row in rows.items()} == {
        name: (kind, 1, 0) for name, kind in FAILURES.items()}
    place.client.push_named("good", {"n": 1})
    eventually(lambda: "good 1" in notes(place), 20.0, "the node works on")
    assert node.process.poll() is None
    assert not [event for event in node.events if event["event"] in ("supervisor.actor_died", "template.died")]


def test_whatever_a_handler_does_it_ends_alone(tmp_path):
    """With every executor; the three nodes, each on a store of its own, wait side by side."""
    with ExitStack() as stack:
        started = []
        for executor in EXECUTORS:
            place = made(tmp_path / executor)
            args = ("--executor", executor, "--child-memory-max-mb", "256", "--queue", "default:1")
            node = stack.enter_context(place.node(*args, app="bad"))
            started.append((place, node, push_all(place, BAD)["raises"]))
        for place, node, _ in started:
            ends_as_it_should(place, node)
            forks = [int(line.split()[1]) for line in notes(place) if line.startswith("fork ")]
            assert len(forks) == 1
            printed = "".join(event["line"] for event in node.events if event["event"] == "job.output")
            assert "printed" in printed
            assert not node.other, "what a handler prints comes as events, not between them"
            assert node.stop() == 0
            eventually(lambda forks=forks: not alive(forks[0]), 10.0, "what a handler left behind is dead")
        place, _, raised = started[0]
        for args in (("failed", "list"), ("failed", "show", raised)):
            done = place.run(*args)
            assert done.code == 0
            assert "x1b[31mno" in done.out, "it is shown"
            assert "\x1b" not in done.out, "a terminal would obey what a handler raised"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_node_that_is_killed_takes_hanging_handlers_and_their_forks_along(tmp_path):
    place = made(tmp_path)
    (place.folder / "hang.py").write_text(
        "import os, time, callboard\n@callboard.job(max_attempts=1)\ndef hang():\n    os.fork()\n"
        "    open('pids.txt', 'a').write(f'{os.getpid()}\\n')\n    time.sleep(600)\n")
    with place.node(app="hang") as node:
        place.client.push_named("hang", {})
        path = place.folder / "pids.txt"
        eventually(lambda: path.exists() and len(path.read_text().split()) == 2, 20.0, "it hangs, forked")
        node.signal(signal.SIGKILL)
        node.wait()
        pids = [int(text) for text in path.read_text().split()]
        eventually(lambda: not [pid for pid in pids if alive(pid)], 10.0, "both are dead")

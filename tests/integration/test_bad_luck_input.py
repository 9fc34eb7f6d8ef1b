"""Bad input and bad places as a user meets them: one line that names the thing and the remedy, and nothing written."""

from __future__ import annotations

import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from clikit import Done, NodeProcess, Place, queue_of
from kit import require

import callboard
from callboard import InvalidSchedule, PayloadTooLarge, QueueFull, Scheduler, UnknownOption, Unserialisable
from callboard.core.errors import UsageError

PUSH = ("push", "send_email", "--app", "shop")


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@callboard.job(name="bad_luck_anything")
def anything(value):
    """Take whatever is given."""
    del value


RING: list[object] = []
RING.append(RING)
UNFIT = {
    "an object": (object(), Unserialisable, "object"),
    "a function": (len, Unserialisable, "builtin_function_or_method"),
    "a set": ({1, 2}, Unserialisable, "set"),
    "a deep object": ({"a": [1, {"b": object()}]}, Unserialisable, "object"),
    "a key that is no text": ({"a": {(1, 2): 3}}, Unserialisable, "the keys of a dict must be strings"),
    "a key that is a number": ([{"a": {1: 2}}], Unserialisable, "the keys of a dict must be strings"),
    "a list that holds itself": (RING, Unserialisable, "recursion"),
    "an integer beyond 64 bits": (1 << 70, Unserialisable, "out of range"),
    "half a character": ("\ud800", Unserialisable, "surrogates"),
    "over a mebibyte": ("x" * (1 << 20), PayloadTooLarge, "1,048,576"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_an_argument_that_cant_be_stored_is_refused_at_the_push(name):
    value, kind, said = UNFIT[name]
    queue = callboard.connect(f"memory://unfit-{name}")
    for push in (lambda: queue.push(anything.bind(value)), lambda: queue.later(60, anything.bind(value)),
                 lambda: queue.push_many([anything.bind(1), anything.bind(value)]),
                 lambda: Scheduler(queue).add(anything.bind(value), "* * * * *", name="tick")):
        with pytest.raises(kind) as caught:
            push()
        assert said in str(caught.value)
        assert "bad_luck_anything" in str(caught.value), "it names the job"
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
    assert queue.stats().total_jobs == 0


def test_what_is_given_wrongly_names_the_thing_and_what_was_meant():
    queue = callboard.connect("memory://misuse")
    with pytest.raises(UnknownOption, match=r"'prority'.*did you mean 'priority'\?"):
        queue.push(anything.bind(1), prority=3)
    with pytest.raises(UsageError, match="queue must be 1 to 200"):
        queue.push(anything.bind(1), queue="no spaces")
    with pytest.raises(UnknownOption, match=r"'databse'.*did you mean 'database'"):
        callboard.driver("databse")
    with pytest.raises(InvalidSchedule, match=r"Asia/Shanghia.*did you mean 'Asia/Shanghai'"):
        Scheduler(queue).add(anything.bind(1), "0 9 * * *", name="tick", timezone="Asia/Shanghia")
    with pytest.raises(InvalidSchedule, match="0 0 31 2"):
        Scheduler(queue).add(anything.bind(1), "0 0 31 2 *", name="tick")
    assert queue.stats().total_jobs == 0


def one_line(done: Done, code: int, said: str) -> None:
    """The command failed as it should, in one line beside what the app prints."""
    lines = [line for line in done.err.splitlines() if not line.startswith(("the app prints", '{"time"'))]
    assert (done.code, len(lines)) == (code, 1), done
    assert lines[0].startswith("callboard: error: ")
    assert said in lines[0]


def test_too_large_an_argument_is_one_line_on_the_command_line(place):
    """Over the limit by JSON escapes: a command line itself takes no more than 128 KiB an argument."""
    many = [f"--arg-json=k{n}={json.dumps('x' * 100_000)}" for n in range(11)]
    (place.folder / "shop.py").write_text("import callboard\n@callboard.job\ndef send_email(**more): pass\n")
    one_line(place.run(*PUSH, *many), 2, "1,048,576")
    assert place.status()["jobs"]["total_jobs"] == 0


def test_a_newer_schema_refuses_commands_and_nodes_with_the_remedy(place):
    place.push("send_email", "--arg", "to=x")
    with closing(sqlite3.connect(place.folder / "callboard.db")) as connection, connection:
        connection.execute("UPDATE callboard_schema SET version_num = '0999'")
        connection.execute("UPDATE callboard_store SET schema_version = 999")
    before = (place.folder / "callboard.db").read_bytes()
    for args in (("status",), (*PUSH, "--arg", "to=y"), ("node", "--app", "shop"), ("failed", "list")):
        one_line(place.run(*args), 1, "upgrade callboard")
    assert (place.folder / "callboard.db").read_bytes() == before


AS_NOBODY = """
import os, sys
from callboard.cli.main import run
assert run(["status", "--json"]) == 0  # what it needs is imported while it may read it
os.setuid(65534)
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture
def open_place():
    """A place that other users may enter."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Place(Path(folder))


def test_a_read_only_store_is_one_line_and_exit_code_3(open_place):
    place = open_place
    require(os.geteuid() == 0, "root, to become a user who may not write")
    place.push("send_email", "--arg", "to=x")
    (place.folder / "callboard.db").chmod(0o644)
    for args in (("pause", "emails"), ("purge", "emails")):
        done = subprocess.run([sys.executable, "-c", AS_NOBODY, *args], cwd=place.folder, env=place.env,
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 3, done
        (line,) = done.stderr.splitlines()
        assert line.startswith("callboard: error: job store ")
        assert "read-only for this user" in line
    assert queue_of(place.status(), "emails")["ready"] == 1


def test_a_push_onto_a_full_disk_is_one_line_and_exit_code_3(place):
    place.push("send_email", "--arg", "to=x")
    full = subprocess.run([sys.executable, "-m", "callboard", *PUSH, "--arg", "to=y"], cwd=place.folder, env=place.env,
                          capture_output=True, text=True, timeout=60, check=False,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY)))
    assert full.returncode == 3, full
    (line,) = [text for text in full.stderr.splitlines() if not text.startswith("the app prints")]
    assert "callboard.db: " in line
    assert "Traceback" not in full.stderr
    place.push("send_email", "--arg", "to=z")
    assert queue_of(place.status(), "emails")["ready"] in (2, 3), "y may have been written: then the line says so"


def test_a_second_node_of_a_living_name_ends_with_one_line_that_says_who_has_it(place):
    with place.node("--node-id", "n1") as first:
        second = NodeProcess(place.folder, ("--app", "shop", "--node-id", "n1", "--lease-ttl", "0.5",
                                            "--session-ttl", "0.5"), place.env)
        try:
            assert second.wait() == 1
            second.wait_event("heartbeat.name_taken")
            (line,) = [text for text in second.other if text.startswith("callboard: error: ")]
            for said in ("a node named n1 is alive already", f"pid {first.process.pid} on {socket.gethostname()}",
                         "another name"):
                assert said in line
        finally:
            second.close()
        place.push("send_email", "--arg", "to=x", "--queue", "default")
        place.until("the first works on", lambda s: queue_of(s, "default")["completed"] == 1)


def test_the_name_of_a_node_that_was_killed_is_free_again_after_its_session(place):
    """However impatient the new one is: a session that ends only after some time keeps it waiting, not more."""
    with place.node("--node-id", "n1", "--session-ttl", "4") as first:
        first.process.kill()
        first.wait()
        with place.node("--node-id", "n1", "--lease-ttl", "0.5", "--session-ttl", "0.5"):
            place.push("send_email", "--arg", "to=x", "--queue", "default")
            place.until("the new one works", lambda s: queue_of(s, "default")["completed"] == 1)


# The memory store -----------------------------------------------------------------------------------------------------


def test_a_full_memory_queue_says_its_bound_and_takes_nothing_of_the_batch():
    queue = callboard.connect("memory://full", max_jobs=3)
    queue.push_many([anything.bind(n) for n in range(2)])
    with pytest.raises(QueueFull, match=r"3 jobs") as caught:
        queue.push_many([anything.bind(n) for n in range(2)])
    assert "\n" not in str(caught.value)
    assert queue.stats().total_jobs == 2
    queue.push(anything.bind(3))
    with pytest.raises(QueueFull):
        queue.push(anything.bind(4))


PROGRAM = """
import threading
import callboard

@callboard.job(max_attempts=1)
def work(n):
    if n == 2:
        raise ValueError("two")

if __name__ == "__main__":
    queue = callboard.connect("memory://", max_jobs=5)
    queue.push_many([work.bind(n) for n in range(5)])
    try:
        queue.push(work.bind(5))
    except callboard.QueueFull as error:
        print("full:", error)
    ended = threading.Semaphore(0)
    worker = callboard.Worker(queue, callboard.WorkerConfig(concurrency=2, log_style="off"))
    worker.pool.set_on_completed(lambda job: ended.release())
    worker.pool.set_on_failed(lambda job, error: (print("failed:", error), ended.release()))
    with worker:
        for _ in range(5):
            assert ended.acquire(timeout=30)
        queue.push(work.bind(5))
        assert ended.acquire(timeout=30)
    stats = queue.stats()
    print("stats:", stats.completed_jobs, stats.failed_jobs, stats.pending_jobs, stats.processing_jobs)
"""


def test_a_memory_queue_is_served_by_a_worker_in_the_program(tmp_path):
    """And when it was full, it takes jobs again once some are done."""
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True, timeout=90, check=False,
                          cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    full, failed, stats = done.stdout.splitlines()
    assert full.startswith("full: ")
    assert "5" in full
    assert failed == "failed: ValueError: two"
    assert stats == "stats: 5 1 0 0"

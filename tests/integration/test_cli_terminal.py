"""On a terminal: colours, a question before much is forgotten, a status that is shown again and again."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest
from clikit import Place
from kit import eventually

from callboard.core.records import (
    Assignment,
    Held,
    NewJob,
    NodeInfo,
    Outcome,
    OutcomeKind,
    Plan,
    PoolReport,
    QueueShare,
    TermClaim,
)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def fail_jobs(place, count):
    """Put jobs on the failed list without running a node: as one would report them."""
    place.push("boom")
    store = place.client.store
    store.purge("default")
    store.push([NewJob(f"f{n}", "boom", "default", b"\x81\xa1a\x80", max_attempts=1) for n in range(count)])
    epoch = store.begin_term(TermClaim("c", "test", 1, "boot"))
    report = PoolReport("default", (QueueShare("default"),), count, count)
    session = store.open_session(NodeInfo("n", "boot"), 60.0, (report,))
    taken = store.assign(epoch, Plan((Assignment(session, "default", "default", count),)), session).taken
    store.finish(session, [Outcome(Held(job.ref, job.id, job.token), OutcomeKind.FAILED) for job in taken])
    store.close_session(session)
    assert sum(row.failed for row in store.counts()) == count


@contextmanager
def on_a_terminal(place, *args, **env):
    """A command whose three streams are a terminal; what it shows can be read, and it can be typed to."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "callboard", *args], cwd=place.folder, stdin=theirs,
                               stdout=theirs, stderr=theirs, env=place.env | {"TERM": "xterm"} | env,
                               start_new_session=True)
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait(10)
        os.close(ours)


class Terminal:
    """Our end."""

    def __init__(self, process, descriptor):
        self.process, self._descriptor, self.text = process, descriptor, ""
        os.set_blocking(descriptor, False)

    def _read(self):
        with suppress(OSError):  # nothing yet, or the other end is closed
            self.text += os.read(self._descriptor, 65536).decode(errors="replace")
        return self.text

    def wait_for(self, text, times=1):
        """Until it shows so."""
        eventually(lambda: self._read().count(text) >= times, 20.0, f"{text!r} is shown")

    def type(self, text):
        """Type on it."""
        os.write(self._descriptor, text.encode())

    def end(self):
        """Its exit code, once it has ended and all is read."""
        eventually(lambda: self._read() is not None and self.process.poll() is not None, 20.0, "it ends")
        self._read()
        return self.process.returncode


def test_flush_asks_first_and_no_means_no(place):
    fail_jobs(place, 3)
    with on_a_terminal(place, "failed", "flush") as terminal:
        terminal.wait_for("Forget 3 failed jobs? [y/N]")
        terminal.type("n\n")
        assert terminal.end() == 1
    assert place.client.status().jobs.failed_jobs == 3
    with on_a_terminal(place, "failed", "flush", "--queue", "default") as terminal:
        terminal.wait_for("Forget 3 failed jobs of default? [y/N]")
        terminal.type("y\n")
        assert terminal.end() == 0
        assert "3 jobs forgotten" in terminal.text
    assert place.client.status().jobs.failed_jobs == 0


def test_flush_of_many_shows_how_far_it_is_and_yes_asks_nothing(place):
    fail_jobs(place, 1200)
    with on_a_terminal(place, "failed", "flush", "--yes") as terminal:
        assert terminal.end() == 0
    assert "[y/N]" not in terminal.text
    assert "forgetting" in terminal.text
    assert "100%" in terminal.text
    assert "1,200 jobs forgotten" in terminal.text


def test_colours_are_for_terminals_and_can_be_turned_off(place):
    place.push("send_email", "--arg", "to=x")
    with on_a_terminal(place, "status") as terminal:
        assert terminal.end() == 0
        assert "\x1b[32mhealthy\x1b[0m" in terminal.text
    with on_a_terminal(place, "status", NO_COLOR="1") as terminal:
        assert terminal.end() == 0
        assert "\x1b[32m" not in terminal.text
        assert "healthy" in terminal.text
    assert "\x1b" not in place.ok("status")
    with on_a_terminal(place, "stauts", NO_COLOR="1") as terminal:
        assert terminal.end() == 2
        assert "\x1b" not in terminal.text


def test_watch_shows_it_again_until_ctrl_c(place):
    place.push("send_email", "--arg", "to=x")
    with on_a_terminal(place, "status", "--watch", "0.2") as terminal:
        terminal.wait_for("healthy", times=3)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 0


def test_a_reader_that_goes_away_is_no_error(place):
    fail_jobs(place, 900)
    command = subprocess.Popen([sys.executable, "-m", "callboard", "failed", "list", "--limit", "900"],
                               cwd=place.folder, env=place.env, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    command.stdout.readline()
    command.stdout.close()
    assert command.wait(30) == 0
    assert command.stderr.read() == ""
    command.stderr.close()

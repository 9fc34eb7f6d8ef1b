"""The command line as a person uses it: commands and nodes as processes of their own, in a folder of the test's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from kit import eventually

from callboard.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = '''
import os, time
import callboard

@callboard.job(queue="emails", max_attempts=1, priority=5)
def send_email(to: str, n: int = 1):
    """Send one mail."""
    with open("sent.txt", "a") as file:
        file.write(f"{to} {n!r}\\n")

@callboard.job(max_attempts=1)
def boom(text: str = "x"):
    raise ValueError(text)

@callboard.job
def wait_for(path: str):
    with open(path + ".started", "a") as file:
        file.write("x")
    while not os.path.exists(path):
        time.sleep(0.01)

print("the app prints when it is imported")
'''
READY_S = 30.0
STOP_S = 30.0
QUICK = ("--lease-ttl", "1", "--session-ttl", "1")


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, from JSON."""
        return json.loads(self.out)


class NodeProcess:
    """`callboard node`, its events read from standard error."""

    def __init__(self, folder: Path, args: tuple[str, ...], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "callboard", "node", "--log-format", "json", *args],
            cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.events: list[dict[str, Any]] = []
        self.other: list[str] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self.process.stderr:
            with self._changed:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.other.append(line)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_event(self, event: str, timeout_s: float = READY_S, **fields: Any) -> dict[str, Any]:
        """The first event of that name with these fields."""
        def find() -> dict[str, Any] | None:
            return next((e for e in self.events if e.get("event") == event and fields.items() <= e.items()), None)

        with self._changed:
            self._changed.wait_for(lambda: find() or not self._thread.is_alive(), timeout_s)
            found = find()
        assert found, f"no {event} {fields}: {self.events[-20:]} {self.other}"
        return found

    def signal(self, number: int) -> None:
        """Send a signal to the node alone."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float = STOP_S) -> int:
        """Its exit code."""
        code = self.process.wait(timeout_s)
        self._thread.join(timeout_s)
        return code

    def stop(self) -> int:
        """SIGTERM, then its exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        """Whatever the test did, it ends."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_S)
        self._thread.join(STOP_S)
        self.process.stdout.close()
        self.process.stderr.close()


class Place:
    """A working directory with shop.py, a module of jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {key: value for key, value in os.environ.items()
                    if not key.startswith(("CALLBOARD_", "QUEUE_")) or key == "CALLBOARD_TEST_RUN"}
        self.env["NO_COLOR"] = ""
        (folder / "shop.py").write_text(JOBS)

    def run(self, *args: str, stdin: str | None = None, **env: str) -> Done:
        """Run a command to its end."""
        done = subprocess.run([sys.executable, "-m", "callboard", *args], cwd=self.folder, env=self.env | env,
                              capture_output=True, text=True, timeout=60, check=False, input=stdin)
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *args: str, **env: str) -> str:
        """Run a command that must succeed; what it printed."""
        done = self.run(*args, **env)
        assert done.code == 0, done
        return done.out

    def push(self, *args: str) -> str:
        """Push by the app; the id."""
        return self.ok("push", *args, "--app", "shop").strip()

    @contextmanager
    def node(self, *args: str, app: str = "shop", **env: str) -> Iterator[NodeProcess]:
        """A node that is ready and leads or follows; stopped at the end."""
        node = NodeProcess(self.folder, ("--app", app, *QUICK, *args), self.env | env)
        try:
            node.wait_event("node.ready")
            node.wait_event("heartbeat.session_opened")
            yield node
            node.stop()
        finally:
            node.close()

    @property
    def client(self) -> Client:
        """A client in this process, for looks that are many."""
        return Client(f"sqlite:///{self.folder}/callboard.db")

    def status(self) -> dict[str, Any]:
        """As `callboard status --json` shows it; the command itself has a test of its own."""
        return json.loads(json.dumps(self.client.status().to_dict()))

    def until(self, what: str, predicate: Any, deadline_s: float = 20.0) -> dict[str, Any]:
        """Wait for a status of which the predicate is true."""
        def look() -> dict[str, Any] | None:
            found = self.status()
            return found if predicate(found) else None

        found = eventually(look, deadline_s, what)
        assert found is not None
        return found


def queue_of(status: dict[str, Any], name: str) -> dict[str, Any]:
    """One queue of a status."""
    return next(queue for queue in status["queues"] if queue["queue"] == name)

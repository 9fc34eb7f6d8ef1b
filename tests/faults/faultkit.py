"""Real node processes on one store, killed, stopped and restarted by a test; what they did is kept."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from faulthistory import History, StoreFile
from faultview import StoreView
from kit import eventually

import callboard
from callboard.core.records import QueueShare
from callboard.settings import NodeSettings, PoolConfig

HERE = Path(__file__).resolve().parent
READY_S = 30.0
END_S = 10.0
MARGIN_S = 2.0
"""What a busy machine may add to a time to live."""
FULL = os.environ.get("CALLBOARD_FAULTS", "") == "full"
"""The loads of the promises' table; else short ones, for each run of the whole suite."""
SEED = int(os.environ.get("CALLBOARD_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)


told: list[str] = []
"""Figures of the tests, for the summary at the end of the run."""


def tell(figures):
    """Show figures at the end of the run."""
    told.append(figures)


def boot_s():
    """Seconds of CLOCK_BOOTTIME, as in the evidence."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def within(predicate, deadline_s):
    """As `eventually`, but False at the deadline, where a promise and not the test is to be judged."""
    end_s = time.monotonic() + deadline_s

    def verdict():
        if predicate():
            return "held"
        return "broken" if time.monotonic() >= end_s else ""

    return eventually(verdict, deadline_s + READY_S, "a verdict") == "held"


class Process:
    """One started program of the fleet."""

    def __init__(self, fleet, label, command, name="") -> None:
        self.name = name
        self.label = label
        self.log = fleet.folder / f"log-{label}.jsonl"
        self.out = fleet.folder / f"out-{label}.jsonl"
        path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "FAULT_FOLDER": str(fleet.folder), "FAULT_NODE": label, "PYTHONPATH": path}
        with self.log.open("w") as log, self.out.open("w") as out:
            self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=log, env=environment,
                                          start_new_session=True, text=True)
        self.stopped = []

    @property
    def pid(self):
        return self.popen.pid

    @property
    def alive(self):
        return self.popen.poll() is None

    def ready(self):
        """Wait until the node works."""
        eventually(lambda: '"ready"' in self.out.read_text() or not self.alive, READY_S, f"{self.label} is ready")
        assert self.alive, f"{self.label} ended: {self.log.read_text()[-2000:]}"

    def events(self, name=""):
        """Its events so far whose name begins so."""
        whole = [line for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        lines = [json.loads(line) for line in whole]
        return [line for line in lines if line.get("event", "").startswith(name)]

    def kill(self):
        """Kill -9, and wait for its death; what it started dies by the template."""
        self.popen.kill()
        self.popen.wait(END_S)
        self.popen.stdin.close()

    def stop(self, *, tree=False):
        """SIGSTOP the node's process, or all that it started too."""
        self.stopped = [self.pid, *(descendants(self.pid) if tree else [])]
        for pid in self.stopped:
            os.kill(pid, signal.SIGSTOP)
        eventually(lambda: state_of(self.pid) == "T", END_S, f"{self.label} has stopped")

    def resume(self):
        """SIGCONT whatever was stopped."""
        for pid in self.stopped:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                continue
        self.stopped = []


class Fleet:
    """The processes of one test, their folder, and what the test knows of them.

    Args:
        folder: where the file, the evidence and the logs go; it is the history.
        plants: what is planted into each node, mutants first.
        lease_ttl_s, session_ttl_s: of every node.
        store: where the jobs are, a `faultstores.Home`; a SQLite file in the folder unless given.
        chance: the test's one source of random numbers.
    """

    def __init__(self, folder, *plants, lease_ttl_s=1.5, session_ttl_s=2.0, slots=2, store=None) -> None:
        self.folder = folder
        self.plants = tuple(plant for plant in plants if plant)
        self.lease_ttl_s = lease_ttl_s
        self.session_ttl_s = session_ttl_s
        self.slots = slots
        self.chance = random.Random(SEED)
        self.store = store
        self.url = store.url if store else f"sqlite:///{folder / 'jobs.db'}"
        self.queue = callboard.connect(self.url)
        self.file = StoreView(self.url) if store else StoreFile(folder / "jobs.db")
        self.processes = []
        self.nodes = {}
        self.deaths = []
        self.lives = 0

    def start(self, name, *, ready=True):
        """Start a node of that name; one that died may be started again under the same name."""
        self.lives += 1
        pool = PoolConfig((QueueShare("default"),), self.slots)
        settings = NodeSettings(app=("faultjobs",), store=self.url, node=name, pools=(pool,), log_style="json",
                                lease_ttl_s=self.lease_ttl_s, session_ttl_s=self.session_ttl_s, stop_grace_s=5.0)
        node = Process(self, f"{name}.{self.lives}", [sys.executable, HERE / "fault_node.py", *self.plants], name)
        first = {"settings": asdict(settings), "path": [str(HERE), *sys.path], "events": False}
        node.popen.stdin.write(json.dumps(first) + "\n")
        node.popen.stdin.flush()
        self.processes.append(node)
        self.nodes[name] = node
        if ready:
            node.ready()
        return node

    def start_all(self, *names):
        """Start nodes side by side, and wait until all work and one leads."""
        for name in names:
            self.start(name, ready=False)
        for name in names:
            node = self.nodes[name]
            node.ready()
            eventually(lambda pid=node.pid: self.file.offers(pid), READY_S, f"{name} offers its slots")
        self.leader()

    def leader(self):
        """The living node that leads, by the store's fence; waited for."""
        return eventually(lambda: next((node for node in self.nodes.values()
                                        if node.alive and node.pid == self.file.leader_pid()), None),
                          READY_S, "a node leads")

    def program(self, label, *command):
        """Start another program of the test's."""
        process = Process(self, label, [sys.executable, HERE / command[0], *command[1:]])
        self.processes.append(process)
        return process

    def kill(self, node):
        """Kill -9 a node, and see by the store what it held when it died."""
        node.kill()
        death = self.file.held_by(node)
        self.deaths.append(death)
        return death

    def bury(self, node):
        """A node that was killed by others: as `kill`."""
        node.popen.wait(END_S)
        death = self.file.held_by(node)
        self.deaths.append(death)
        return death

    def history(self):
        """Everything that is known by now."""
        return History(self)

    def session_is_over(self, death):
        """Wait until the leader has ended a dead node's session; False when it took longer than it may."""
        bound_s = self.lease_ttl_s + self.session_ttl_s + MARGIN_S  # a new leader may have to be elected first
        return within(lambda: death.session is None or self.file.ended(death.session), bound_s)

    def settle(self, deadline_s):
        """Wait until every job has ended for good; False when they have not: that is for the caller to judge."""
        return within(lambda: self.file.unfinished() == 0, deadline_s)

    def close(self):
        """End every process."""
        children = []
        for process in self.processes:
            process.resume()
            if process.alive:
                children += descendants(process.pid)
                process.kill()
            if not process.popen.stdin.closed:
                process.popen.stdin.close()
        eventually(lambda: all(state_of(pid) in ("", "Z") for pid in children), END_S, "the children have ended")
        self.queue.close()
        self.file.close()


def descendants(pid):
    """Pids of all that a process started, by parents."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    return found[1:]


def kill_9(pid):
    """Kill a process that may be gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def state_of(pid):
    """One letter of /proc: R, S, T, Z; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""

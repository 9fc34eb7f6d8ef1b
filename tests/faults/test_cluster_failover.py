"""Real processes elect through a file or a server: kill -9 and SIGSTOP of the leader; no queue on top."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import faultkit
import pytest
import servers
from kit import eventually

TTL_S = 1.0
WAIT_S = 30.0
KILLS, PAUSES = (30, 20) if faultkit.FULL else (2, 2)
PROGRAM = Path(__file__).parent / "lone_elector.py"
SEED = int(os.environ.get("CALLBOARD_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600 if faultkit.FULL else 120)]


class Nodes:
    """Processes, and what each of them did."""

    def __init__(self, folder, address, mutant=()) -> None:
        self.folder = folder
        self.address = address
        self.mutant = mutant
        self.started = 0
        self.running = {}

    def start(self):
        name = f"node-{self.started}"
        self.started += 1
        command = [sys.executable, PROGRAM, self.address, name, str(TTL_S), self.log(name), *self.mutant]
        self.running[name] = subprocess.Popen(command)

    def log(self, name):
        return self.folder / f"{name}.log"

    def acts(self):
        """All acts so far: (term, at, node), by time."""
        found = []
        for n in range(self.started):
            name = f"node-{n}"
            if self.log(name).exists():
                lines = self.log(name).read_text().splitlines()
                whole = [line.split() for line in lines if line.count(" ") == 1]
                found += [(int(term), float(at), name) for term, at in whole]
        return sorted(found, key=lambda act: act[1])

    def leader_after(self, term):
        """The first act of a term above `term`."""
        return eventually(lambda: next((act for act in self.acts() if act[0] > term), None), WAIT_S, "a later term")

    def wait_for_acts(self, term, count):
        """Wait until a term has acted so often."""
        eventually(lambda: sum(act[0] == term for act in self.acts()) >= count, WAIT_S, f"term {term} acts")

    def stop(self):
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(WAIT_S)


KINDS = ("sqlite", "postgresql", "mariadb", "etcd", "consul", "zookeeper")


@pytest.fixture(params=KINDS)
def address(request, tmp_path):
    """Where the cluster is: a file, or a server of the test's own."""
    with ExitStack() as cleanup:
        if request.param == "sqlite":
            yield str(tmp_path / "cluster.db")
        else:
            yield cleanup.enter_context(getattr(servers, request.param)()).url


@pytest.fixture
def nodes(tmp_path, address, request):
    nodes = Nodes(tmp_path, address, getattr(request, "param", ()))
    for _ in range(3):
        nodes.start()
    yield nodes
    nodes.stop()


def boot_s():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def check(acts):
    """Terms never fall, each has one node, and no act of one comes after the next has begun."""
    assert len(acts) > 100
    assert [term for term, _, _ in acts] == sorted(term for term, _, _ in acts), "an older term acted after a newer one"
    by_term = {}
    for term, _, node in acts:
        assert by_term.setdefault(term, node) == node, f"term {term} has two nodes"


def test_kill_9_of_the_leader_and_another_acts_within_the_ttl_and_a_second(nodes):
    term, waits = 0, []
    for _ in range(KILLS):
        term, _, name = nodes.leader_after(term)
        nodes.wait_for_acts(term, 100)  # it has renewed by then
        killed_s = boot_s()
        nodes.running.pop(name).kill()
        nodes.start()
        _, at_s, _ = nodes.leader_after(term)
        waits.append(at_s - killed_s)
    kind = nodes.address.partition(":")[0] if ":" in nodes.address else "sqlite"
    faultkit.tell(f"{kind}: leader killed to the next one's first act, s: {[round(wait, 2) for wait in waits]}")
    check(nodes.acts())
    assert max(waits) < TTL_S + 1.0


def stop_leaders(nodes, rounds):
    """SIGSTOP the leader for 1.5 to 3 ttl, again and again; what was acted in the end."""
    print(f"seed {SEED}")  # noqa: T201 - shown when the test fails, to run the same again
    chance = random.Random(SEED)
    term = 0
    for _ in range(rounds):
        term, _, name = nodes.leader_after(term)
        process = nodes.running[name]
        nodes.wait_for_acts(term, 100)
        process.send_signal(signal.SIGSTOP)
        resume_s = boot_s() + TTL_S * chance.uniform(1.5, 3.0)
        nodes.leader_after(term)
        eventually(lambda: boot_s() >= resume_s, WAIT_S, "the pause is over")  # noqa: B023 - used at once
        process.send_signal(signal.SIGCONT)
    term, _, _ = nodes.leader_after(term)
    nodes.wait_for_acts(term, 200)
    return nodes.acts()


def test_a_leader_that_is_stopped_past_its_ttl_does_not_act_when_it_goes_on(nodes):
    check(stop_leaders(nodes, PAUSES))


@pytest.mark.parametrize("address", KINDS if faultkit.FULL else KINDS[:1], indirect=True)
@pytest.mark.parametrize("nodes", [["trustful"]], indirect=True)
def test_and_one_that_never_doubts_its_term_is_caught(nodes):
    with pytest.raises(AssertionError, match="an older term acted after a newer one"):
        check(stop_leaders(nodes, 2))

"""G1: the processes that have the SQLite file open are killed -9 under pushes: what was acknowledged is there.

SIGKILL leaves the page cache alone: this shows nothing of a power loss. So the mutant is not `synchronous = OFF`, which
no kill can show, but a push that is acknowledged before it is committed.
"""

import pytest
from faulthistory import COMPLETED, bit, hold
from faultkit import FULL, tell
from kit import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300 if FULL else 120)]

LOADS = {"": (2_000, 10), "push_acknowledged_before_commit": (500, 3)}
"""Pushes, and kills beside the pusher's own; a mutant shows at once."""
SELF_KILLS = 3
"""The pusher dies between a push and the note of its answer."""


class Pushing:
    """A pusher that is started again until everything is acknowledged."""

    def __init__(self, fleet, mutant) -> None:
        self.fleet = fleet
        self.jobs, self.kills = LOADS[mutant]
        self.plants = [mutant] if mutant else []
        self.starts = 0
        self.process = self.start()

    def start(self):
        self.starts += 1
        arguments = [self.fleet.url, str(self.fleet.folder), str(self.jobs), str(SELF_KILLS)]
        return self.fleet.program(f"pusher.{self.starts}", "fault_pusher.py", *arguments, *self.plants)

    def lines(self, name):
        path = self.fleet.folder / name
        return path.read_text().split() if path.exists() else []

    def goes_on(self, count):
        """Whether so many are acknowledged; starts a dead pusher again."""
        if not self.process.alive:
            assert self.process.popen.returncode in (0, -9), self.process.log.read_text()[-2000:]
            if self.process.popen.returncode == 0:
                return True
            self.process = self.start()
        return len(self.lines("acknowledged.txt")) >= count


def push_under_kills(nodes, mutant):
    """Kill the pusher, a node, or all at once, at random numbers of acknowledged pushes."""
    nodes.start_all("n1", "n2")
    pushing, killed = Pushing(nodes, mutant), []
    margin = pushing.jobs // 20
    for count in sorted(nodes.chance.sample(range(margin, pushing.jobs - margin), pushing.kills)):
        eventually(lambda count=count: pushing.goes_on(count), 30, f"{count} pushes are acknowledged")
        whom = nodes.chance.choice(["pusher", "pusher", "node", "all"])
        if whom != "node" and pushing.process.alive:
            pushing.process.kill()
            killed.append("pusher")
        living = list(nodes.nodes.values())
        for node in {"pusher": [], "node": [nodes.chance.choice(living)], "all": living}[whom]:
            nodes.kill(node)
            del nodes.nodes[node.name]
            nodes.start(f"{node.name}x", ready=False)
            killed.append("node")
    eventually(lambda: pushing.goes_on(pushing.jobs) and not pushing.process.alive, 60, "everything is pushed")
    return pushing, killed


@pytest.mark.parametrize("mutant", ["", "push_acknowledged_before_commit"])
def test_an_acknowledged_push_survives_kill_9_and_a_repeated_one_makes_no_duplicate(fleet, caught, mutant):
    def check():
        nodes = fleet(slots=4)
        pushing, killed = push_under_kills(nodes, mutant)
        acknowledged = pushing.lines("acknowledged.txt")
        assert len(set(acknowledged)) == pushing.jobs
        missing = set(acknowledged) - nodes.file.rows().keys()
        hold(not missing, "G1", f"{len(missing)} acknowledged ids are missing, such as {sorted(missing)[:3]}")
        hold(nodes.settle(30), "G2", f"not everything ended: {nodes.file.states()}")
        history = nodes.history()
        hold(len(history.rows) == pushing.jobs, "G1", f"{len(history.rows)} jobs, {pushing.jobs} ids")
        hold({row.state for row in history.rows.values()} == {COMPLETED}, "G1", f"{nodes.file.states()}")
        history.check_ran("G1")
        history.check_repeats("G1")  # a second row, or a second run without a loss, would be a duplicate
        history.check_charges("G1")
        repeated = len(pushing.lines("repeated.txt"))
        tell(f"G1: {pushing.jobs} pushes, {killed.count('pusher')} x the pusher and {killed.count('node')} x a node "
             f"killed, {SELF_KILLS} x before the answer was noted: 0 acknowledged ids missing, {repeated} pushed "
             "again, no duplicate")
        bit(killed.count("pusher") > 0 and killed.count("node") > 0, "not both kinds were killed")
        bit(repeated > 0, "no outcome was unknown")

    caught(mutant, check)

"""G2, G3: nodes and children are killed -9 under load: every job runs, repeats are explained, charges are exact."""

import math
from dataclasses import dataclass

import faultjobs
import pytest
from faulthistory import bit, hold
from faultkit import FULL, boot_s, kill_9, tell
from faultstores import KINDS, on_short_stores, on_stores, with_mutants
from kit import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400 if FULL else 120)]


@dataclass(frozen=True)
class Load:
    """What runs, and what is killed."""

    jobs: int
    seconds: float
    nodes: int
    slots: int
    kills: int
    every_s: float
    child_every_s: float = math.inf
    finish_s: float = 60.0 if FULL else 40.0


NODES = Load(5_000, 0.02, 3, 1, 20, 3.0) if FULL else Load(900, 0.02, 3, 1, 3, 1.5)
ON_SERVERS = NODES if FULL else Load(200, 0.1, 3, 1, 3, 1.5)
"""Longer jobs: between two of 20 ms a node waits for the server's disk as long, and a kill often strikes nothing."""
SHARE = 4
"""One kill of so many must strike a node that holds something; on a durable server half of its time goes to waiting."""
CHILDREN = (Load(10_000, 0.05, 2, 4, 5, 8.0, 1.0) if FULL else Load(900, 0.05, 2, 4, 3, 1.5, 0.6))
STARTING = 0.1
SMALL = Load(400, 0.02, 3, 1, 3, 1.0)
"""For mutants: they show at once."""


class Killer:
    """Kills nodes and children on time until all of its kills are done."""

    def __init__(self, fleet, load) -> None:
        self.fleet = fleet
        self.load = load
        self.next_node_s = boot_s() + load.every_s
        self.next_child_s = boot_s() + load.child_every_s
        self.left = load.kills
        self.children = []

    def done(self):
        """Do what is due; whether every node kill was done."""
        if boot_s() >= self.next_child_s and self._kill_child():
            self.next_child_s = boot_s() + self.load.child_every_s
        if self.left and boot_s() >= self.next_node_s:
            self.next_node_s += self.load.every_s
            self.left -= 1
            self._kill_node()
        return not self.left

    def _kill_node(self):
        fleet = self.fleet
        ended = [node.label for node in fleet.nodes.values() if not node.alive]
        assert not ended, f"{ended} ended by themselves"
        nodes = list(fleet.nodes.values())
        at_work = [node for node in nodes if fleet.file.offers(node.pid)]
        rarely = fleet.chance.random() < STARTING  # one that is only starting may be struck as well
        node = fleet.chance.choice(nodes if rarely or not at_work else at_work)
        fleet.kill(node)
        del fleet.nodes[node.name]
        same_name = fleet.chance.random() < 0.5  # it waits until its namesake's session is over; another joins at once
        fleet.start(node.name if same_name else f"{node.name}x", ready=False)

    def _kill_child(self):
        """Kill a child that is in the first half of a job: that job is an attempt, nothing else is touched."""
        young_s = boot_s() - self.load.seconds / 2
        inside = [run for run in self.fleet.history().runs if run.end_s is None and run.start_s > young_s]
        alive = [run for run in inside if any(node.label == run.node for node in self.fleet.nodes.values())]
        if alive:
            run = self.fleet.chance.choice(alive)
            self.children.append(run)
            kill_9(run.pid)
        return bool(alive)


def run_under_kills(fleet, load):
    """Push everything, kill, wait for the end; the history."""
    names = [f"n{number}" for number in range(load.nodes)]
    fleet.start_all(*names)
    ids = fleet.queue.push_many(faultjobs.work.bind(load.seconds) for _ in range(load.jobs))
    killer = Killer(fleet, load)
    eventually(killer.done, load.kills * load.every_s + 10, "every node was killed")
    for death in fleet.deaths:
        hold(fleet.session_is_over(death), "G2", f"the session of {death.label} is not ended in time: no rescue")
    hold(fleet.settle(load.finish_s), "G2", f"not everything ended: {fleet.file.states()}")
    history = fleet.history()
    history.check_ran("G3")
    history.check_finished("G2", ids)
    history.check_tokens("G6")
    history.check_one_record("G6")
    history.check_repeats("G3")
    history.check_charges("G3")
    tell_of(load, killer, history)
    bit(sum(1 for death in history.deaths if death.running) * SHARE >= load.kills, "most of the killed held nothing")
    bit(any(run.end_s is None for run in history.runs if run.token in history.dropped), "no job ran on a killed node")
    return history, killer


def tell_of(load, killer, history):
    again = sum(len(runs) > 1 for runs in history.by_job.values())
    uncharged = sum(event["handed_back"] for event in history.named("dispatcher.session_ended"))
    started = {run.token for run in history.runs}
    doubts = history.dropped - history.lost
    tell(f"{load.jobs} jobs of {load.seconds * 1000:g} ms, {load.kills} nodes and {len(killer.children)} children "
         f"killed: {len(history.runs)} starts, {again} jobs ran again; {len(history.lost)} losses charged, all had "
         f"started; {len(doubts)} taken ones went back uncharged ({len(doubts & started)} had just started), "
         f"{uncharged} others")


@with_mutants("no_rescue", "acknowledged_before_run", "charged_at_assign",
              kinds=KINDS if FULL else ("sqlite", "postgresql"))
def test_nodes_killed_under_load_lose_nothing_and_charge_exactly(fleet, caught, kind, mutant):
    load = SMALL if mutant else NODES if kind == "sqlite" else ON_SERVERS
    caught(mutant, lambda: run_under_kills(fleet(mutant, kind=kind, slots=1), load))


@on_short_stores
def test_children_and_nodes_killed_under_load(fleet, kind):
    history, killer = run_under_kills(fleet(kind=kind, slots=CHILDREN.slots), CHILDREN)
    bit(len(killer.children) >= CHILDREN.kills, "hardly a child was killed")
    attempts = sum(row.attempts - 1 for row in history.rows.values())
    bit(attempts > 0, "no child was killed inside of a job")


@on_stores("sqlite", "redis")
def test_without_faults_each_of_10000_jobs_runs_once_and_both_nodes_work(fleet, kind):
    nodes = fleet(kind=kind, slots=4)
    nodes.start_all("n1", "n2")
    ids = nodes.queue.push_many(faultjobs.noop.bind() for _ in range(10_000))
    nodes.settle(60)
    history = nodes.history()
    history.check_finished("G2", ids)
    history.check_ran("G3")
    history.check_once("G3")
    history.check_charges("G3")
    history.check_one_record("G6")
    hold({run.node for run in history.runs} == {"n1.1", "n2.2"}, "G3", "one of the nodes did nothing")


def test_what_was_only_assigned_to_a_node_that_died_costs_nothing(fleet, caught):
    """The leader goes on assigning to a node that was killed while it was idle, until that is suspected."""
    def check(mutant=""):
        nodes = fleet(mutant, slots=4, session_ttl_s=4.0)
        nodes.start_all("n1", "n2")
        follower = next(node for node in nodes.nodes.values() if node is not nodes.leader())
        death = nodes.kill(follower)
        ids = nodes.queue.push_many(faultjobs.work.bind(0.2) for _ in range(20))
        eventually(lambda: nodes.file.held_by(follower).assigned, 5, "jobs are assigned to the dead node")
        nodes.settle(20)
        history = nodes.history()
        history.check_finished("G2", ids)
        history.check_charges("G3")
        history.check_once("G3")
        [ended] = history.named("dispatcher.session_ended")
        bit(ended["session"] == death.session and ended["handed_back"] > 0, "nothing was handed back")
        hold(ended["lost"] == 0, "G3", f"what never started was charged: {ended}")

    check()
    caught("charged_at_assign", lambda: check("charged_at_assign"))

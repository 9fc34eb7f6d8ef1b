"""G13, in one process: a stop resigns first, starts nothing, hands back what never started, and waits for what runs."""

from __future__ import annotations

import threading

import pytest
from kit import eventually

from callboard.actors.cluster import Cluster
from callboard.core.messages import Crash
from callboard.core.records import JobState


class Held:
    """A job that waits until it is let go."""

    def __init__(self, count):
        self.started = threading.Semaphore(0)
        self.gate = threading.Event()
        self.count = count

    def __call__(self, _job):
        self.started.release()
        assert self.gate.wait(30)

    def wait_started(self):
        for _ in range(self.count):
            assert self.started.acquire(timeout=10)


def test_what_runs_ends_and_what_waits_is_handed_back_uncharged(bench):
    node = bench.node(slots=2)
    bench.handler = held = Held(2)
    bench.push(10)
    held.wait_started()
    node.stop(grace_s=20.0)
    node.events.wait("elector.stepped_down")
    eventually(lambda: not any(pool.report.capacity for view in bench.store.sessions() for pool in view.pools), 10.0,
               "the worker starts nothing more")
    held.gate.set()
    assert node.wait(20.0) == 0
    bench.nodes.remove(node)
    records = [bench.store.job(f"j{n}") for n in range(10)]
    assert sorted(record.state for record in records) == [JobState.READY] * 8 + [JobState.COMPLETED] * 2
    assert all((record.attempts, record.losses) == (0, 0) for record in records if record.state is JobState.READY)
    assert len(bench.runs) == 2


def test_what_still_runs_at_the_deadline_is_released_as_interrupted(bench):
    node = bench.node(slots=1)
    bench.handler = held = Held(1)
    bench.push(1)
    held.wait_started()
    node.stop(grace_s=0.2)
    assert node.wait(20.0) == 0
    held.gate.set()
    bench.nodes.remove(node)
    record = bench.store.job("j0")
    assert (record.state, record.attempts, record.losses) == (JobState.READY, 0, 1)


def test_a_second_stop_with_no_grace_ends_it_at_once(bench):
    node = bench.node(slots=1)
    bench.handler = held = Held(1)
    bench.push(1)
    held.wait_started()
    node.stop(grace_s=60.0)
    node.events.wait("supervisor.stopping")
    node.stop(grace_s=0.0)
    assert node.wait(10.0) == 0
    held.gate.set()
    bench.nodes.remove(node)


def test_the_next_leader_takes_over_within_a_second(bench):
    first = bench.node("n1")
    first.events.wait("elector.elected")
    second = bench.node("n2")
    first.stop(1.0)
    second.events.wait("elector.elected", timeout_s=1.0)
    assert first.wait(10.0) == 0
    bench.nodes.remove(first)
    bench.push(5)
    bench.wait_runs(5)


@pytest.mark.parametrize("actor", ["elector", "heartbeat", "dispatcher", "worker:default"])
def test_an_actor_that_dies_while_stopping_does_not_hold_the_stop_up(bench, actor):
    node = bench.node(slots=1)
    bench.handler = held = Held(1)
    bench.push(1)
    held.wait_started()
    node.stop(grace_s=2.0)
    node.events.wait("supervisor.stopping")
    node.tell(actor, Crash())
    held.gate.set()
    assert node.wait(15.0) == 0
    bench.nodes.remove(node)


def test_a_supervisor_that_dies_ends_the_node_with_a_code(bench):
    node = bench.node()
    assert node.tell("supervisor", Crash())
    assert node.wait(5.0) == 1
    bench.nodes.remove(node)


def test_a_node_has_ended_only_when_its_actors_have_closed_what_they_held(bench, monkeypatch):
    """The Cluster's last acts, to resign and to leave, are waited for: the backend is closed behind them."""
    release, waited, go = Cluster.release, threading.Event(), threading.Event()

    def slow(self):
        waited.set()
        assert go.wait(10.0)
        release(self)

    monkeypatch.setattr(Cluster, "release", slow)
    node = bench.node()
    node.events.wait("heartbeat.session_opened")
    node.stop(0.0)
    ending = threading.Thread(target=node.wait)
    ending.start()
    assert waited.wait(10.0)
    ending.join(0.3)
    assert ending.is_alive()
    go.set()
    ending.join(10.0)
    assert not ending.is_alive()

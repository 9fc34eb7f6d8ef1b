"""G12: an actor that dies is restarted within a second, no ack is lost; past the intensity the node ends, non-zero."""

from __future__ import annotations

import threading

import pytest
from kit import eventually

from callboard.core.errors import StoreUnavailable
from callboard.core.messages import Crash
from callboard.core.records import JobState

ACTORS = ["cluster", "elector", "heartbeat", "dispatcher", "scheduler", "worker:default"]
CRASHES = 100


def crash(node, actor, number):
    assert node.tell(actor, Crash())
    node.events.wait("supervisor.restarted", number)


@pytest.mark.parametrize("actor", ACTORS)
def test_a_hundred_crashes_lose_no_ack_and_no_thread(bench, actor):
    node = bench.node(restart_max=CRASHES + 1)
    bench.push(20, prefix="before")
    bench.wait_runs(20)
    node.events.wait("heartbeat.session_opened")
    threads = bench.threads()
    for number in range(CRASHES):
        bench.push(2, prefix=f"c{number}-")
        crash(node, actor, number + 1)
    bench.push(20, prefix="after")
    bench.wait_runs(20 + 2 * CRASHES + 20)
    bench.wait_completed(20 + 2 * CRASHES + 20)
    assert len(node.events.named("supervisor.actor_died")) == CRASHES
    bench.wait_threads(threads)


def test_a_node_comes_back_within_a_second_of_each_crash(bench):
    node = bench.node(restart_max=100)
    for actor in ACTORS:
        crash(node, actor, len(node.events.named("supervisor.restarted")) + 1)
        bench.push(1, prefix=f"{actor}-")
        bench.wait_ran(f"{actor}-0", timeout_s=5.0)


@pytest.mark.parametrize("actor", ACTORS)
def test_past_the_intensity_the_node_ends_with_a_code(bench, actor):
    node = bench.node(restart_max=5, restart_within_s=60.0)
    for number in range(5):
        crash(node, actor, number + 1)
    assert node.tell(actor, Crash())
    assert node.wait(5.0) == 1
    assert node.events.named("supervisor.gave_up")
    bench.nodes.remove(node)


def test_a_worker_that_dies_gives_its_running_jobs_back(bench):
    started, gate = threading.Event(), threading.Event()

    def first_waits(_job):
        if not started.is_set():
            started.set()
            gate.wait(20)

    node = bench.node(slots=1)
    bench.handler = first_waits
    bench.push(3)
    assert started.wait(10)
    crash(node, "worker:default", 1)
    bench.wait_completed(3)
    gate.set()
    losses = {f"j{n}": bench.store.job(f"j{n}").losses for n in range(3)}
    assert losses == {"j0": 1, "j1": 0, "j2": 0}, "only the one that ran is charged"
    assert all(bench.store.job(f"j{n}").state is JobState.COMPLETED for n in range(3))


def test_a_worker_that_dies_while_the_store_is_away_leaves_its_outcomes_to_the_next_one(bench):
    real, tried = bench.store.finish, threading.Event()

    def away(_session, _outcomes):
        tried.set()
        raise StoreUnavailable("away")

    node = bench.node(slots=1)
    bench.store.finish = away
    bench.push(3)
    bench.wait_runs(2)  # what this pool takes, before the store has heard of an end
    assert tried.wait(10)
    eventually(lambda: not node.parts.pools["worker:default"].running(), 10.0, "both have ended: one that runs is lost")
    crash(node, "worker:default", 1)
    bench.store.finish = real
    bench.wait_completed(3)
    records = [bench.store.job(f"j{n}") for n in range(3)]
    assert [(record.attempts, record.losses, record.doubts) for record in records] == [(1, 0, 0)] * 3
    assert sorted(job.id for job in bench.runs) == ["j0", "j1", "j2"], "none ran twice"


def test_an_unexpected_message_is_an_event_and_harms_nobody(bench):
    from callboard.core.messages import EventsEnd  # noqa: PLC0415 - one test's

    node = bench.node()
    assert node.tell("dispatcher", EventsEnd())
    node.events.wait("actor.unexpected_message")
    bench.push(1)
    bench.wait_runs(1)


def test_a_leader_that_gives_up_resigns_so_that_nobody_waits_for_its_lease(bench):
    leader = bench.node("n1", restart_max=0, restart_within_s=60.0, lease_ttl_s=20.0)
    leader.events.wait("elector.elected")
    other = bench.node("n2", lease_ttl_s=20.0)
    assert leader.tell("scheduler", Crash())
    assert leader.wait(10.0) == 1
    other.events.wait("elector.elected", timeout_s=8.0)
    bench.nodes.remove(leader)

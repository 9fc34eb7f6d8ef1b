"""G3, on the node: the store hears what has begun, after the start; before it where a job is careful."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from kit import eventually

from callboard.actors.marks import Marks
from callboard.core import verdict
from callboard.core.errors import StoreUnavailable
from callboard.core.records import CancelResult, Epoch, Held, JobState
from callboard.core.runs import EndKind, RunEnd

SLOW_BEATS = {"session_ttl_s": 30.0}  # so that no heartbeat hears of what the mark is to hear of first


class Calls:
    """Counts the calls of the store's mark_started; `before` is done first."""

    def __init__(self, store):
        self.real, self.before = store.mark_started, lambda _session, _jobs: None
        self.jobs = []
        store.mark_started = self

    def __call__(self, session, jobs):
        self.jobs.append([held.id for held in jobs])
        self.before(session, jobs)
        return self.real(session, jobs)


class Gate:
    """A job that waits until it is let go."""

    def __init__(self):
        self.started, self.go = threading.Semaphore(0), threading.Event()

    def __call__(self, _job):
        self.started.release()
        assert self.go.wait(30)

    def wait(self, count):
        for _ in range(count):
            assert self.started.acquire(timeout=10)


@pytest.fixture
def calls(bench):
    return Calls(bench.store)


def end_sessions(store):
    """As the leader does with a node that is dead."""
    fence = store.fence()
    return [store.end_session(Epoch(fence.epoch, fence.owner), view.session, "test") for view in store.sessions()]


def test_jobs_that_start_and_end_within_a_batch_cost_no_mark(bench, calls):
    bench.node()
    bench.push(1_000)
    bench.wait_runs(1_000)
    assert len(calls.jobs) <= 20, "a machine that stands still may make some of them look long"


def test_a_job_that_goes_on_is_marked_once_and_soon(bench, calls):
    bench.node()
    bench.handler = gate = Gate()
    bench.push(1)
    gate.wait(1)
    eventually(lambda: bench.store.job("j0").started_ms is not None, 5.0, "it is marked")
    bench.push(50, prefix="k")  # looks go on
    gate.go.set()
    bench.wait_completed(51)
    assert [job for jobs in calls.jobs for job in jobs].count("j0") == 1


def test_a_job_that_waits_for_a_child_is_marked_when_it_begins_though_nobody_tells_of_it(bench):
    node = bench.node(slots=1)
    executor = node.parts.host.executors["default"]
    executor.slots, executor.capacity = 0, lambda: 2  # as before the first child is ready
    bench.handler = gate = Gate()
    bench.push(1)
    eventually(lambda: bench.store.counts(["default"])[0].running == 1, 5.0, "it is taken")
    looks = []
    real = executor.running
    executor.running = lambda: looks.append(1) or real()
    eventually(lambda: len(looks) > 4, 5.0, "looks go on")
    executor.resize(1)
    gate.wait(1)
    eventually(lambda: bench.store.job("j0").started_ms is not None, 5.0, "it is marked")
    gate.go.set()


def test_what_had_begun_is_lost_and_what_had_not_is_doubted(bench):
    check_begun_is_lost_and_the_rest_doubted(bench)


def check_begun_is_lost_and_the_rest_doubted(bench):
    bench.node(slots=2, per_slot=3)
    bench.handler = gate = Gate()
    bench.push(6)
    gate.wait(2)
    eventually(lambda: bench.store.counts(["default"])[0].running == 6, 5.0, "all are taken")
    eventually(lambda: sum(bench.store.job(f"j{n}").started_ms is not None for n in range(6)) >= 2, 5.0, "two marks")
    (released,) = end_sessions(bench.store)
    gate.go.set()
    assert (released.lost, released.doubted, released.handed_back) == (2, 4, 0)
    bench.wait_completed(6)
    records = [bench.store.job(f"j{n}") for n in range(6)]
    assert Counter((record.losses, record.doubts) for record in records) == {(1, 0): 2, (0, 1): 4}


def check_marked_before_it_starts(bench):
    seen = []
    bench.node()
    bench.handler = lambda job: seen.append(bench.store.job(job.id).started_ms)
    bench.push(20, at_most_once=True)
    bench.wait_completed(20)
    assert len(seen) == 20
    assert None not in seen


def test_an_at_most_once_job_has_its_mark_before_it_starts(bench):
    check_marked_before_it_starts(bench)


def test_a_careful_job_that_is_marked_after_its_start_is_caught(bench, monkeypatch):
    real = Marks.ask

    def admit_first(marks, tokens, held):
        marks._executor.admit(tokens)
        real(marks, tokens, held)

    monkeypatch.setattr(Marks, "ask", admit_first)
    with pytest.raises(AssertionError):
        check_marked_before_it_starts(bench)


def test_marks_of_all_that_is_taken_are_caught(bench, monkeypatch):
    def mark_all(marks, session, lane, held, _now_s):
        rows = [Held(job.ref, job.id, token) for token, job in held.items()]
        lane.run(lambda: marks._store.mark_started(session, rows))

    monkeypatch.setattr(Marks, "look", mark_all)
    with pytest.raises(AssertionError):
        check_begun_is_lost_and_the_rest_doubted(bench)


def test_a_doubted_job_has_its_mark_before_it_starts(bench):
    seen = []
    bench.node(slots=1, per_slot=8)
    bench.handler = gate = Gate()
    bench.push(8)
    gate.wait(1)
    eventually(lambda: bench.store.counts(["default"])[0].running == 8, 5.0, "all are taken")
    bench.handler = lambda job: seen.append((job.doubts, bench.store.job(job.id).started_ms))
    end_sessions(bench.store)
    gate.go.set()
    bench.wait_completed(8)
    doubted = [started_ms for doubts, started_ms in seen if doubts]
    assert len(doubted) >= 7  # the first one may have been too young for its mark
    assert None not in doubted


def test_careful_jobs_run_side_by_side(bench):
    together = threading.Barrier(4)
    bench.node(slots=4)
    bench.handler = lambda _job: together.wait(10)
    bench.push(8, at_most_once=True)
    bench.wait_completed(8)


def test_the_others_go_on_while_a_mark_is_on_its_way(bench, calls):
    stuck = threading.Event()
    calls.before = lambda _session, _jobs: stuck.wait(20)
    bench.node(slots=2)
    bench.push(1, prefix="careful", at_most_once=True)
    bench.push(20)
    bench.wait_runs(20)
    assert all(job.id != "careful0" for job in bench.runs)
    stuck.set()
    bench.wait_ran("careful0")


def test_a_careful_job_whose_mark_is_refused_is_dropped(bench, calls):
    def end_the_session_first(_session, _jobs):
        calls.before = lambda _session, _jobs: None
        end_sessions(bench.store)

    calls.before = end_the_session_first
    node = bench.node(**SLOW_BEATS)
    bench.push(1, at_most_once=True)
    node.events.wait("job.stale_token")  # that it was given back came too late
    assert bench.runs == []
    record = bench.store.job("j0")
    assert (record.losses, record.doubts, record.attempts) == (0, 0, 0)


def test_a_running_job_whose_mark_is_refused_is_stopped(bench, calls):
    calls.before = lambda _session, _jobs: end_sessions(bench.store)
    node = bench.node(**SLOW_BEATS)
    bench.handler = gate = Gate()
    bench.push(1)
    gate.wait(1)
    (event,) = node.events.wait("job.stale_token")
    assert event["job"] == "j0"
    assert node.parts.host.executors["default"].running() == ()
    gate.go.set()


def test_marks_that_the_store_can_not_take_are_sent_again_and_careful_jobs_wait(bench, calls):
    def away(_session, _jobs):
        raise StoreUnavailable("away")

    calls.before = away
    node = bench.node()
    bench.push(1, prefix="careful", at_most_once=True)
    bench.push(5)
    bench.wait_runs(5)
    eventually(lambda: len(calls.jobs) > 2, 10.0, "it is tried again")
    assert all(job.id != "careful0" for job in bench.runs)
    calls.before = lambda _session, _jobs: None
    bench.wait_ran("careful0")
    assert len(node.events.named("worker.mark_failed")) == 1


def test_a_careful_job_is_cancelled_while_it_waits_for_its_mark(bench, calls):
    stuck, asked = threading.Event(), threading.Event()

    def wait(_session, _jobs):
        asked.set()
        stuck.wait(20)

    calls.before = wait
    node = bench.node()
    bench.push(1, at_most_once=True)
    assert asked.wait(10)
    assert bench.store.cancel("j0") is CancelResult.REQUESTED
    node.events.wait("job.cancelled")
    stuck.set()
    bench.push(1, prefix="k")
    bench.wait_ran("k0")
    assert [job.id for job in bench.runs] == ["k0"]
    assert bench.store.job("j0").state is JobState.CANCELLED


def test_a_running_at_most_once_job_is_cancelled_as_any_other(bench):
    node = bench.node()
    bench.handler = gate = Gate()
    bench.push(1, at_most_once=True)
    gate.wait(1)
    bench.store.cancel("j0")
    node.events.wait("job.cancelled")
    gate.go.set()
    record = bench.store.job("j0")
    assert (record.state, record.attempts, record.losses) == (JobState.CANCELLED, 0, 0)


@pytest.mark.parametrize("wish", [{"retry_after_s": 0.0}, {"snooze_s": 0.0}, {}])
def test_an_at_most_once_job_that_fails_is_on_the_failed_list_after_one_start(bench, wish):
    def fail(job):
        raise RuntimeError(RunEnd(job.token, EndKind.RAISED, **wish))

    node = bench.node()
    bench.handler = fail
    bench.push(1, at_most_once=True)
    node.events.wait("job.failed")
    record = bench.store.job("j0")
    assert (record.state, record.attempts, record.losses) == (JobState.FAILED, 1, 0)


@pytest.mark.parametrize("careful", [False, True])
def test_what_is_stopped_at_the_deadline_is_lost_and_at_most_once_jobs_fail(bench, careful):
    node = bench.node(slots=1)
    bench.handler = gate = Gate()
    bench.push(2, at_most_once=careful)
    gate.wait(1)
    node.stop(grace_s=0.1)
    assert node.wait(20.0) == 0
    gate.go.set()
    bench.nodes.remove(node)
    records = sorted((bench.store.job(f"j{n}") for n in range(2)), key=lambda record: record.losses)
    assert [record.losses for record in records] == [0, 1]
    assert [record.state for record in records] == [JobState.READY, JobState.FAILED if careful else JobState.READY]


def test_an_at_most_once_job_that_this_node_does_not_know_goes_to_one_that_does(bench, monkeypatch):
    monkeypatch.setattr(verdict, "UNKNOWN_JOB_DELAY_S", 0.3)
    began_s = time.monotonic()
    times = []

    def unknown(job):
        times.append(time.monotonic() - began_s)
        if len(times) < 4:
            raise RuntimeError(RunEnd(job.token, EndKind.UNKNOWN_JOB))

    bench.node()
    bench.handler = unknown
    bench.push(1, at_most_once=True)
    bench.wait_completed(1)
    record = bench.store.job("j0")
    assert (record.attempts, record.losses, record.doubts) == (1, 0, 0)
    assert len(times) == 4
    assert times[3] - times[0] > 0.8, "it does not go round and round"


def test_a_stop_gives_back_at_once_what_this_node_does_not_know(bench):
    node, met = bench.node(), threading.Event()

    def unknown(job):
        met.set()
        raise RuntimeError(RunEnd(job.token, EndKind.UNKNOWN_JOB))

    bench.handler = unknown
    bench.push(1, at_most_once=True)
    assert met.wait(10)
    node.stop(grace_s=5.0)
    assert node.wait(20.0) == 0
    bench.nodes.remove(node)
    record = bench.store.job("j0")
    assert (record.state, record.losses) == (JobState.READY, 0)


def test_a_mark_does_not_hold_up_what_ends(bench, calls):
    stuck = threading.Event()
    calls.before = lambda _session, _jobs: stuck.wait(20)
    bench.node(slots=2)
    bench.handler = gate = Gate()
    bench.push(1)
    gate.wait(1)
    eventually(lambda: calls.jobs, 5.0, "a mark is on its way")
    began_s = time.monotonic()
    gate.go.set()
    bench.push(10, prefix="k")
    bench.wait_completed(11, timeout_s=5.0)
    assert time.monotonic() - began_s < 5.0
    stuck.set()


def test_a_result_goes_to_the_store(bench):
    bench.node()
    bench.handler = lambda _job: b"result"
    bench.push(1)
    bench.wait_completed(1)
    assert bench.store.job("j0").result == b"result"

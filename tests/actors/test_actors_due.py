"""Short delays are exact: who writes a job that is soon due rings, and the leader looks again when the next is due."""

from __future__ import annotations

import statistics
import threading
import time

import pytest

from callboard.core.due import DUE_TOPIC
from callboard.core.messages import PushJobs
from callboard.core.records import NewJob
from callboard.core.runs import EndKind, RunEnd

DELAY_S = 0.3
TIMES = 7
LATE_S = 0.1
"""Half of what the leader's poll alone would be late on average, at least."""


class Starts:
    """When each run began; the first run of each job may fail."""

    def __init__(self, bench, *, fails_first=False):
        self.times, self.changed, self.fails_first = {}, threading.Condition(), fails_first
        bench.handler = self

    def __call__(self, job):
        with self.changed:
            runs = self.times.setdefault(job.id, [])
            runs.append(time.monotonic())
            self.changed.notify_all()
            first = len(runs) == 1
        if first and self.fails_first:
            raise RuntimeError(RunEnd(job.token, EndKind.RAISED, retry_after_s=DELAY_S))

    def of(self, job_id, number=0):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.times.get(job_id, ())) > number, 10.0), job_id
            return self.times[job_id][number]


@pytest.fixture
def idle(bench):
    """A leader whose polls are far apart, and that has found nothing to do."""
    node = bench.node(lease_ttl_s=6.0, session_ttl_s=6.0)
    bench.push(1, prefix="warm")
    bench.wait_completed(1)
    return node


def late_s(push, starts):
    """By how much jobs began late that were pushed one after the other, the median."""
    late = []
    for number in range(TIMES):
        pushed_s = time.monotonic()
        push(f"due{number}")
        late.append(starts.of(f"due{number}") - pushed_s - DELAY_S)
        time.sleep(0.037 * number)  # not in step with the leader's polls
    assert min(late) > -0.005  # never early
    return statistics.median(late)


def test_a_job_with_a_short_delay_that_a_node_was_asked_to_push_runs_in_time(bench, idle):
    starts = Starts(bench)

    def push(job_id):
        idle.tell("dispatcher", PushJobs((NewJob(job_id, "work", "default", b"", delay_s=DELAY_S),)))

    assert late_s(push, starts) < LATE_S


@pytest.mark.usefixtures("idle")
def test_a_short_backoff_is_exact(bench):
    starts = Starts(bench, fails_first=True)
    late = []
    for number in range(TIMES):
        bench.push(1, prefix=f"again{number}-", max_attempts=2)
        failed_s = starts.of(f"again{number}-0")
        late.append(starts.of(f"again{number}-0", 1) - failed_s - DELAY_S)
        time.sleep(0.037 * number)  # as above
    assert min(late) > -0.005
    assert statistics.median(late) < LATE_S


@pytest.mark.usefixtures("idle")
def test_of_several_delayed_jobs_each_comes_when_it_is_due(bench):
    starts = Starts(bench)
    delays = [0.05 * number for number in range(1, 11)]
    pushed_s = time.monotonic()
    bench.store.push([NewJob(f"d{delay}", "work", "default", b"", delay_s=delay) for delay in delays])
    bench.store.ring(DUE_TOPIC)
    late = [starts.of(f"d{delay}") - pushed_s - delay for delay in delays]
    assert min(late) > -0.005
    assert statistics.median(late) < LATE_S / 2


@pytest.mark.usefixtures("idle")
def test_without_the_ring_the_poll_finds_it_all_the_same(bench):
    starts = Starts(bench)
    bench.push(1, prefix="silent", delay_s=DELAY_S)
    starts.of("silent0")


@pytest.mark.usefixtures("idle")
def test_a_flood_of_rings_makes_few_looks(bench, monkeypatch):
    looks = []
    promote_due = bench.store.promote_due
    monkeypatch.setattr(bench.store, "promote_due", lambda *args: looks.append(1) or promote_due(*args))
    end_s = time.monotonic() + 0.5
    while time.monotonic() < end_s:
        bench.store.ring(DUE_TOPIC)
        time.sleep(0.0005)
    assert 2 <= len(looks) <= 70

"""Nodes on threads of this process, with an executor on a page: the actors alone are on trial here."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from fake_host import JOBS_THREAD, FakeHost
from kit import eventually

from callboard.backends.clock import SystemClock
from callboard.backends.cluster.memory import MemoryCluster
from callboard.backends.store.memory import MemoryStore
from callboard.core.config import PoolConfig
from callboard.core.records import NewJob, QueueShare
from callboard.node import Node
from callboard.settings import NodeSettings


class FakeNode(Node):
    """A node whose jobs run on threads."""

    def __init__(self, settings, handler, per_slot, **kwargs):
        super().__init__(settings, **kwargs)
        self._per_slot = per_slot
        self._handler = handler

    def _make_host(self):
        return FakeHost(self.clock, self._handler, self._per_slot)


class Events:
    """Every event of a node, and waiting for one."""

    def __init__(self):
        self.seen = []
        self.ignored = set()
        self.changed = threading.Condition()

    def __call__(self, line):
        if line["event"] in self.ignored:
            return
        with self.changed:
            self.seen.append(line)
            self.changed.notify_all()

    def named(self, event):
        with self.changed:
            return [line for line in self.seen if line["event"] == event]

    def wait(self, event, count=1, timeout_s=10.0):
        with self.changed:
            arrived = self.changed.wait_for(
                lambda: len([line for line in self.seen if line["event"] == event]) >= count, timeout_s)
            assert arrived, f"no {count} x {event} within {timeout_s} s; seen: {[e['event'] for e in self.seen][-40:]}"
            return [line for line in self.seen if line["event"] == event]


class Bench:
    """A memory store and cluster, and the nodes that share them."""

    def __init__(self):
        self.clock = SystemClock()
        self.store = MemoryStore(max_jobs=100_000, clock=self.clock)
        self.cluster = MemoryCluster(clock=self.clock)
        self.nodes = []
        self.runs = []
        self.ran = threading.Condition()
        self.handler = lambda _job: None

    def node(self, name="n1", slots=4, queue="default", *, per_slot=2, restart_max=5, restart_within_s=10.0,
             **settings):
        pools = (PoolConfig((QueueShare(queue),), slots),)
        options = {"lease_ttl_s": 1.0, "session_ttl_s": 1.0, "log_style": "off", "node": name, **settings}
        node = FakeNode(NodeSettings(app=("none",), store="memory://", pools=pools, **options), self.run, per_slot,
                        store=self.store, cluster=self.cluster, clock=self.clock, roundtrip_messages=True)
        node.config = replace(node.config, restart_max=restart_max, restart_within_s=restart_within_s)
        node.events = Events()
        node.log.follow(node.events)
        node.start()
        self.nodes.append(node)
        return node

    def run(self, job):
        result = self.handler(job)
        with self.ran:
            self.runs.append(job)
            self.ran.notify_all()
        return result

    def push(self, count, prefix="j", queue="default", **options):
        self.store.push([NewJob(f"{prefix}{n}", "work", queue, b"", **options) for n in range(count)])

    def wait_runs(self, count, timeout_s=20.0):
        with self.ran:
            assert self.ran.wait_for(lambda: len(self.runs) >= count, timeout_s), (
                f"{len(self.runs)} of {count} runs; {self.store.counts()}")

    def wait_ran(self, job_id, timeout_s=10.0):
        with self.ran:
            arrived = self.ran.wait_for(lambda: any(job.id == job_id for job in self.runs), timeout_s)
            assert arrived, f"{job_id} never ran; {self.store.counts()}"

    def wait_completed(self, count, timeout_s=20.0):
        eventually(lambda: sum(row.completed for row in self.store.counts()) >= count, timeout_s,
                   f"{count} completed; {self.store.counts()}")

    @staticmethod
    def threads():
        """How many threads there are, without those that stand for children."""
        return sum(not thread.name.startswith(JOBS_THREAD) for thread in threading.enumerate())

    def wait_threads(self, count):
        eventually(lambda: self.threads() <= count, 10.0,
                   f"at most {count} threads; {[thread.name for thread in threading.enumerate()]}")

    def close(self):
        for node in self.nodes:
            node.stop(0.0)
        for node in self.nodes:
            assert node.wait(20.0) is not None


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.close()
    made.store.close()
    made.cluster.close()

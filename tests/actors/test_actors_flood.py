"""G10: under a flood of commands the mailbox keeps its bound, the sender is told, and the node goes on leading."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from pathlib import Path

import pytest
from kit import eventually

from callboard.actors import mailbox
from callboard.backends.store.memory import MemoryStore
from callboard.core.codec import encode
from callboard.core.errors import QueueFull
from callboard.core.messages import PushJobs
from callboard.core.records import NewJob
from callboard.core.retention import Retention

FULL = os.environ.get("CALLBOARD_FAULTS", "") == "full"
BODY = encode({"a": {"text": "x" * 200}})
FLOOD_S = 60.0 if FULL else 3.0
RSS_MAX_BYTES = 64 << 20
THREADS = 4
CONTROL_MAX = 20
"""Control messages are let in above the bound: they are few."""


def rss_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Flood:
    """Threads that tell the Dispatcher pushes as fast as they can: several times what it can write."""

    def __init__(self, node):
        self.node = node
        self.ref = node.parts.directory.ref("dispatcher")
        self.sent = self.refused = self.longest = 0
        self.ends_s = time.monotonic() + FLOOD_S

    def run(self):
        threads = [threading.Thread(target=self._tell, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(FLOOD_S + 20)
            assert not thread.is_alive(), "a sender was blocked"

    def _tell(self, number):
        count = 0
        while time.monotonic() < self.ends_s:
            count += 1
            try:
                self.ref.tell(PushJobs((NewJob(f"flood-{number}-{count}", "work", "default", BODY),)))
                self.sent += 1
            except QueueFull:
                self.refused += 1
            if count % 100 == 0:
                self.longest = max(self.longest, len(self.ref.actor_inbox))


def check(bench):
    node = bench.node(slots=4, lease_ttl_s=2.0, session_ttl_s=2.0)
    node.events.wait("elector.elected")
    bench.push(1, prefix="warm")
    bench.wait_runs(1)
    bench.runs = deque(maxlen=100)  # the bench keeps nothing, so that what grows is the node's
    node.events.ignored = {"job.completed"}
    before = rss_bytes()
    flood = Flood(node)
    flood.run()
    assert flood.refused > 0, "the flood never filled the mailbox"
    assert flood.longest <= mailbox.MAILBOX_MAX + CONTROL_MAX, f"{flood.longest} messages waited"
    assert rss_bytes() - before <= RSS_MAX_BYTES, "memory grew without bound"
    assert len(node.events.named("elector.elected")) == 1, "leadership moved"
    assert not node.events.named("heartbeat.session_ended")
    eventually(lambda: pushed(bench), 60.0, "what waits in the mailbox has been dealt with, and the store has room")
    bench.wait_ran("after0", timeout_s=60.0)


def pushed(bench):
    """One more job, unless the store is full."""
    try:
        bench.push(1, prefix="after")
    except QueueFull:
        return False
    return True


@pytest.fixture
def bench(bench):
    """A bench whose store keeps little: what a store may hold is its own bound, and not looked at here."""
    bench.store.close()
    bench.store = MemoryStore(max_jobs=2_000, clock=bench.clock, retention=Retention(finished_max=500))
    return bench


def test_a_flood_is_refused_at_the_bound_and_moves_no_leadership(bench):
    check(bench)


def test_an_unbounded_mailbox_is_noticed(bench, monkeypatch):
    monkeypatch.setattr(mailbox.Mailbox.__init__, "__defaults__", (10**9,))
    with pytest.raises(AssertionError, match="never filled"):
        check(bench)

"""Four nodes take and finish on one store as fast as it goes, under leaders that depose each other.

Nothing but the store is under test: no actor, no child. Its rates are told, never judged.
"""

import threading
import time
from collections import Counter

import pytest
from faulthistory import bit, hold
from faultkit import END_S, FULL, READY_S, tell
from faultstores import on_stores
from kit import eventually

from callboard.backends.clock import SystemClock
from callboard.core.errors import StaleEpoch
from callboard.core.records import Assignment, JobState, NewJob, Plan, TermClaim
from callboard.stores import open_store

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400 if FULL else 120)]

SECONDS, TERM_S = (60.0, 5.0) if FULL else (3.0, 0.7)
CAPACITY = 200
BATCH = 500
READY_LEAST = 3_000


class Leaders:
    """One leads until the next one begins a term; the deposed one then tries to assign once more."""

    def __init__(self, url) -> None:
        self.stores = [open_store(url, SystemClock()) for _ in range(2)]
        self.number = 0
        self.refused = 0
        self.epoch = None
        self.leader = None

    def begin(self):
        old, old_epoch = self.leader, self.epoch
        self.number += 1
        self.leader = self.stores[self.number % 2]
        self.epoch = self.leader.begin_term(TermClaim("c", "test", self.number, f"boot-leader-{self.number}"))
        if old is not None:
            try:
                old.assign(old_epoch, self.plan())
            except StaleEpoch:
                self.refused += 1

    def plan(self):
        views = self.leader.survey(self.epoch, 10 * CAPACITY).sessions
        return Plan(tuple(Assignment(view.session, "q", "q", CAPACITY - view.held)
                          for view in views if view.held < CAPACITY))

    def lead(self, seconds):
        """Assign without a pause, with a new term now and then."""
        end_s = time.monotonic() + seconds
        while (now_s := time.monotonic()) < end_s:
            self.begin()
            term_end_s = min(end_s, now_s + TERM_S)
            while time.monotonic() < term_end_s:
                plan = self.plan()
                if not plan.empty:
                    self.leader.assign(self.epoch, plan)

    def close(self):
        for store in self.stores:
            store.close()


class Feeder(threading.Thread):
    """Keeps some thousand jobs ready."""

    def __init__(self, url) -> None:
        super().__init__(name="feeder")
        self.store = open_store(url, SystemClock())
        self.done = threading.Event()
        self.pushed = 0

    def run(self):
        while not self.done.is_set():
            counts = self.store.counts(["q"])[0]
            if counts.ready >= READY_LEAST:
                self.done.wait(0.01)
                continue
            jobs = [NewJob(f"j{self.pushed + n:08}", "work", "q", b"\x81\xa1a\x80") for n in range(BATCH)]
            self.store.push(jobs)
            self.pushed += BATCH


def taken_by(folder):
    """(id, token) of everything that was taken, by all nodes."""
    return [tuple(line.split()) for path in folder.glob("taken-*.txt") for line in path.read_text().splitlines()]


def drain(made, names, seconds):
    """Jobs a second that these nodes took and finished, and the leaders under which they did."""
    url = made.url
    leaders, feeder = Leaders(url), Feeder(url)
    before = len(taken_by(made.folder))
    stop = made.folder / "stop"
    stop.unlink(missing_ok=True)
    takers = [made.program(name, "fault_taker.py", url, name, str(made.folder), str(CAPACITY)) for name in names]
    feeder.start()
    eventually(lambda: len(leaders.stores[0].sessions()) == len(names) or not all(t.alive for t in takers), READY_S,
               "the nodes are there")
    start_s = time.monotonic()
    leaders.lead(seconds)
    rate = (len(taken_by(made.folder)) - before) / (time.monotonic() - start_s)
    feeder.done.set()
    feeder.join()
    while leaders.leader.counts(["q"])[0].ready:
        leaders.leader.assign(leaders.epoch, leaders.plan())
    stop.touch()
    for taker in takers:
        taker.popen.wait(END_S + 10)
        hold(taker.popen.returncode == 0, "four nodes", taker.log.read_text()[-2_000:])
    leaders.close()
    feeder.store.close()
    return rate, leaders, feeder.pushed


@on_stores("sqlite", "redis", "mariadb")
def test_four_nodes_on_one_store_take_nothing_twice_and_lose_nothing(fleet, kind):
    single = fleet(kind=kind)
    alone, _, _ = drain(single, ["n1"], SECONDS / 3)
    made = fleet(kind=kind)
    rate, leaders, pushed = drain(made, ["n1", "n2", "n3", "n4"], SECONDS)
    taken = taken_by(made.folder)
    twice = [job for job, times in Counter(job for job, *_ in taken).items() if times > 1]
    hold(not twice, "four nodes", f"{len(twice)} jobs were taken twice, such as {twice[:3]}")
    hold(len(taken) == pushed, "four nodes", f"{len(taken)} of {pushed} jobs were taken")
    counts = made.queue.store.counts(["q"])[0]
    left = counts.ready + counts.assigned + counts.running
    hold((counts.completed, left) == (pushed, 0), "four nodes", f"{counts}")
    hold(not made.queue.store.jobs(JobState.RUNNING, None, 10), "four nodes", "something runs")
    bit(leaders.refused > 0, "no deposed leader tried to assign")
    tell(f"{kind}: take and finish by one node {alone:,.0f} jobs/s, by four {rate:,.0f}; {leaders.number} terms, "
         f"{leaders.refused} late acts of deposed leaders refused, {pushed:,} jobs, none twice, none lost")

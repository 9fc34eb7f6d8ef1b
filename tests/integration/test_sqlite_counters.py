"""Counters in the SQLite file: after any acts, also pruning, they are what counting the rows gives."""

import logging
import random
from contextlib import suppress

import pytest
from sqlitekit import SqlStoreOptions, check_counters, edit, job, lead, node, opened, outcome

from callboard.core.errors import Conflict
from callboard.core.records import Assignment, IsolatedAssignment, JobState, OutcomeKind, Plan
from callboard.core.retention import Retention

_LOG = logging.getLogger(__name__)
QUEUES = ("q", "r")


class Clock:
    """Stands still until it is moved."""

    now = 1_700_000_000.0

    def boot_s(self) -> float:
        return self.now

    def wall_s(self) -> float:
        return self.now


class Walk:
    """Acts drawn at random."""

    def __init__(self, store, clock, draw):
        self.store, self.clock, self.draw = store, clock, draw
        self.epoch = lead(store)
        self.number = 0
        self.running = []
        self.sessions = {}
        for name in QUEUES:
            self.session(name)

    def session(self, queue):
        self.number += 1
        self.sessions[queue] = node(self.store, f"n{self.number}", queue, capacity=5)

    def push(self):
        self.number += 1
        self.store.push([
            job(f"j{self.number}-{k}", self.draw.choice(QUEUES), delay_s=self.draw.choice([0, 0, 1]),
                has_failed_hook=self.draw.random() < 0.3, unique=self.draw.choice([None, "u1", "u2"]))
            for k in range(self.draw.randrange(1, 4))])

    def assign(self):
        queue = self.draw.choice(QUEUES)
        session = self.sessions[queue]
        mine = session if self.draw.random() < 0.5 else None
        plan = Plan((Assignment(session, queue, queue, self.draw.randrange(6)),))
        receipt = self.store.assign(self.epoch, plan, mine)
        self.running += receipt.taken
        self.running += self.store.take(session, [queue])

    def alone(self):
        for one in self.store.survey(self.epoch, 10).isolated[:1]:
            plan = Plan(isolated=(IsolatedAssignment(self.sessions[one.queue], one.queue, one),))
            self.running += self.store.assign(self.epoch, plan, self.sessions[one.queue]).taken

    def finish(self):
        some = [self.running.pop() for _ in range(min(len(self.running), self.draw.randrange(4)))]
        self.store.finish(0, [outcome(one, self.draw.choice([*OutcomeKind]), self.draw.choice([0, 1])) for one in some])

    def end(self):
        queue = self.draw.choice(QUEUES)
        self.store.end_session(self.epoch, self.sessions[queue], "x")
        self.session(queue)

    def operate(self):
        queue, failed = self.draw.choice(QUEUES), self.store.jobs(JobState.FAILED, None, 10)
        act = self.draw.choice(["pause", "purge", "cancel", "forget", "retry"])
        if act == "pause":
            self.store.set_paused(queue, paused=True)
            self.store.set_paused(queue, paused=False)
        elif act == "purge":
            self.store.purge(queue)
        elif act == "cancel":
            state = self.draw.choice([JobState.READY, JobState.DELAYED, JobState.ASSIGNED, JobState.RUNNING])
            for one in self.store.jobs(state, None, 1):
                self.store.cancel(one.id)
        elif failed and act == "forget":
            self.store.forget_failed([failed[0].id])
        elif failed:
            with suppress(Conflict):  # its unique key is taken
                self.store.retry_failed(failed[0].id, None)

    def pass_time(self):
        self.clock.now += self.draw.choice([0.5, 1, 5])
        self.store.promote_due(self.epoch, 5)
        self.store.sweep(self.epoch, 4)


@pytest.mark.parametrize("life", range(3))
def test_counters_are_right_after_any_acts(tmp_path, life):
    seed = random.randrange(1 << 30)
    _LOG.warning("seed %s, life %s", seed, life)
    clock = Clock()
    keep = Retention(finished_max=3, finished_age_s=8, failed_max=2, failed_age_s=20, ids_age_s=4)
    store = opened(tmp_path / "jobs.db", SqlStoreOptions(retention=keep), clock)
    walk = Walk(store, clock, random.Random(seed))
    acts = [walk.push, walk.assign, walk.assign, walk.alone, walk.finish, walk.finish, walk.end, walk.operate,
            walk.pass_time]
    for _ in range(150):
        walk.draw.choice(acts)()
        check_counters(tmp_path / "jobs.db")
    store.close()


def test_a_sweep_mends_what_a_session_is_said_to_hold(tmp_path):
    store = opened(tmp_path / "jobs.db")
    epoch, session = lead(store), node(store)
    store.push([job("a"), job("b")])
    store.assign(epoch, Plan((Assignment(session, "q", "q", 1),)), session)
    edit(tmp_path / "jobs.db", "UPDATE callboard_held SET held = 7", "UPDATE callboard_sessions SET alone = 3",
         "INSERT INTO callboard_held VALUES (99, 'gone', 4)")
    store.sweep(epoch, 10)
    check_counters(tmp_path / "jobs.db")
    (view,) = store.sessions()
    assert (view.held, view.isolating) == (1, False)
    store.close()

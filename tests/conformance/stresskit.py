"""Many clients of one store at the same time, each with its own part: what they were told, and whether it fits."""

from __future__ import annotations

import random
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from storekit import BOOM, Rig, held, info, job, pools

from callboard.core.errors import Conflict, Fenced, NotFound, QueueFull
from callboard.core.records import (
    Assignment,
    Epoch,
    Held,
    IsolatedAssignment,
    JobState,
    Outcome,
    OutcomeKind,
    Plan,
    Progress,
    QueueLimits,
    SessionId,
    TakenJob,
    TermClaim,
    Token,
    UniqueUntil,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.ports import JobStore

QUEUES = ("q", "r")
NODES = ("n1", "n2")
CAPACITY = 6
JOBS_MAX = 8_000
"""Fewer than a store keeps of finished ones."""
WAITING_MAX = 300
LOST_RACE = (Fenced, Conflict, NotFound, QueueFull)
"""What may be answered to who came too late."""
LEAST = {"assign": 10, "finish": 20, "operate": 5}
KINDS = [OutcomeKind.COMPLETED] * 8 + [OutcomeKind.RETRY, OutcomeKind.FAILED, OutcomeKind.SNOOZED,
                                       OutcomeKind.HANDED_BACK, OutcomeKind.LOST]


@dataclass
class Told:
    """What the store told its clients; each list has one writer at a time."""

    pushed: list[str] = field(default_factory=list)
    taken: list[tuple[str, Token]] = field(default_factory=list)
    completed: list[Held] = field(default_factory=list)
    terms: list[Epoch] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)


class Crowd:
    """A leader (and those that would be), nodes, programs and an operator, each in a thread of its own."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig, self.seed, self.told = rig, seed, Told()
        self.epoch = rig.store.begin_term(TermClaim("c1", "memory", 1, "boot-1"))
        self.sessions: dict[str, SessionId] = {}
        self.over = threading.Event()
        self.errors: list[BaseException] = []
        self.number = 1

    def run(self, seconds: float) -> None:
        """Let them all act for so long, or on a busy machine until each part has done something."""
        parts = [self.leader, self.leader, self.producer, self.producer, self.operator]
        parts += [lambda store, rng, name=name: self.node(store, rng, name) for name in NODES]
        threads = [threading.Thread(target=self._part, args=(number, part)) for number, part in enumerate(parts)]
        for thread in threads:
            thread.start()
        self.over.wait(seconds)
        for _ in range(100):
            if self.over.is_set() or all(self.told.done[what] >= least for what, least in LEAST.items()):
                break
            self.over.wait(0.3)
        self.over.set()
        for thread in threads:
            thread.join(60.0)
            assert not thread.is_alive(), "a call did not return"
        if self.errors:
            raise self.errors[0]

    def _part(self, number: int, part: Callable[[JobStore, random.Random], None]) -> None:
        rng = random.Random(f"{self.seed}-{number}")
        store = self.rig.another()
        try:
            while not self.over.is_set():
                with suppress(*LOST_RACE):
                    part(store, rng)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            self.errors.append(error)
            self.over.set()

    # Parts: each is one round, and may end early by an error of LOST_RACE -------------------------------------------

    def leader(self, store: JobStore, rng: random.Random) -> None:
        """One round of whoever thinks that it leads."""
        if rng.random() < 0.1:
            self.number += 1
            self.epoch = store.begin_term(TermClaim("c1", "memory", self.number, f"boot-{rng.random()}"))
            self.told.terms.append(self.epoch)
        epoch = self.epoch
        store.promote_due(epoch, 20)
        survey = store.survey(epoch, 50)
        wishes = tuple(Assignment(view.session, queue, queue, rng.randint(1, 4))
                       for view in survey.sessions for queue in survey.ready)
        alone = tuple(IsolatedAssignment(view.session, one.queue, one)
                      for view, one in zip(survey.sessions, survey.isolated, strict=False))
        store.assign(epoch, Plan(wishes, alone))
        if survey.sessions and rng.random() < 0.05:
            store.end_session(epoch, rng.choice(survey.sessions).session, "for the test")
        if rng.random() < 0.05:
            store.sweep(epoch, 10)
        self.told.done["assign"] += 1
        self.over.wait(0.002)

    def node(self, store: JobStore, rng: random.Random, name: str) -> None:
        """Take, mark, and finish some: the rest stays for the end of the session, or is handed out again."""
        session = store.open_session(info(name), 5.0, pools(*QUEUES, capacity=CAPACITY))
        mine: list[TakenJob] = []
        while not self.over.is_set():
            fresh = store.take(session, QUEUES)
            self.told.taken += [(one.id, one.token) for one in fresh]
            mine += fresh
            if not mine:
                self.over.wait(0.002)
            refused = store.mark_started(session, [held(one) for one in mine if rng.random() < 0.7])
            mine = [one for one in mine if held(one) not in refused]
            if rng.random() < 0.3:
                store.report_progress(session, [Progress(held(one), rng.random(), "x") for one in mine])
            ended, mine = mine[:3], mine[3:]
            self.finish(store, session, ended, rng)
            if rng.random() < 0.02:
                store.close_session(session)
                return
            if rng.random() < 0.1:
                store.beat(session, pools(*QUEUES, capacity=CAPACITY))

    def finish(self, store: JobStore, session: SessionId, jobs: list[TakenJob], rng: random.Random) -> None:
        """Report ends, sometimes twice."""
        outcomes = [Outcome(held(one), rng.choice(KINDS), 0.0, BOOM, b"1") for one in jobs]
        for _ in range(rng.choice((1, 1, 2))):
            stale = store.finish(session, outcomes).stale
            self.told.completed += [one.held for one in outcomes
                                    if one.kind is OutcomeKind.COMPLETED and one.held not in stale]
        self.told.done["finish"] += len(jobs)

    def producer(self, store: JobStore, rng: random.Random) -> None:
        """Push a batch, with keys that others push too, and some jobs that soon expire."""
        waiting = sum(counts.ready + counts.delayed for counts in store.counts(QUEUES))
        if waiting > WAITING_MAX or len(self.told.pushed) > JOBS_MAX:
            self.over.wait(0.01)
            return
        form = rng.choice((*UniqueUntil,))
        batch = [job(f"{rng.getrandbits(40):x}", rng.choice(QUEUES), priority=rng.randint(-1, 1),
                     unique=rng.choice((None, None, f"k{rng.randint(0, 9)}")), unique_until=form, unique_period_s=0.5,
                     expires_s=rng.choice((None, None, 0.4)), delay_s=rng.choice((0.0, 0.0, 0.2)),
                     at_most_once=rng.random() < 0.2, has_failed_hook=rng.random() < 0.2)
                 for _ in range(rng.randint(1, 20))]
        ids, new, _ = store.push(batch)
        written = {one.id for one, told in zip(batch, ids, strict=True) if one.id == told}
        assert new == len(written)
        self.told.pushed += written
        again, more, _ = store.push(batch)  # what met a key before may be written now
        written_then = {one.id for one, told in zip(batch, again, strict=True) if one.id == told}
        assert written <= written_then
        assert more == len(written_then - written)
        self.told.pushed += written_then - written

    def operator(self, store: JobStore, rng: random.Random) -> None:
        """Cancel, pause, retry, limit; and time passes."""
        self.rig.clock.advance(0.05)
        queue = rng.choice(QUEUES)
        what = rng.randrange(8)
        if what < 3 and self.told.pushed:
            store.cancel(rng.choice(self.told.pushed))
        elif what == 3:
            store.set_paused(queue, paused=True)
            store.set_paused(queue, paused=False)
        elif what == 4:
            store.set_limits(queue, QueueLimits(rng.choice((None, 100)), rng.choice((None, 0.0, 1.0))))
        elif what == 5:
            for failed in store.jobs(JobState.FAILED, queue, 5):
                store.retry_failed(failed.id, failed.token)
        elif what == 6 and rng.random() < 0.1:
            store.purge(queue)
        elif what == 7:
            failed = store.jobs(JobState.FAILED, queue, 50)
            store.forget_failed([one.id for one in failed])
        self.told.done["operate"] += 1
        self.over.wait(0.01)

    # Afterwards -----------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """A new leader and one node end what is left, each job with success."""
        store = self.rig.another()
        epoch = store.begin_term(TermClaim("c1", "memory", self.number + 100, "last"))
        for view in store.sessions():
            store.end_session(epoch, view.session, "the end")
        session = store.open_session(info("last"), 5.0, pools(*QUEUES, capacity=50))
        self.rig.clock.advance(5.0)
        for _ in range(1_000):
            store.promote_due(epoch, 1_000)
            survey = store.survey(epoch, 1_000)
            if not survey.ready and not survey.isolated:
                break
            alone = tuple(IsolatedAssignment(session, one.queue, one) for one in survey.isolated[:1])
            store.assign(epoch, Plan(tuple(Assignment(session, queue, queue, 50) for queue in QUEUES), alone))
            outcomes = [Outcome(held(one), OutcomeKind.COMPLETED) for one in store.take(session, QUEUES)]
            receipt = store.finish(session, outcomes)
            assert receipt.stale == ()
            self.told.completed += [one.held for one in outcomes if self._ended_well(store, one.held)]
        store.close_session(session)

    @staticmethod
    def _ended_well(store: JobStore, run: Held) -> bool:
        seen = store.job(run.id)
        return seen is not None and seen.state is JobState.COMPLETED

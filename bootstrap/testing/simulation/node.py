"""A node: election, sessions and assignment by the cores; what is said to store and lease by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from callboard.core import assignment, election
from callboard.core.errors import Conflict, QueueError, SessionEnded, StaleEpoch, TermRefused, Unavailable
from callboard.core.records import BeatReply, Epoch, NodeInfo, SessionId, Survey, Term, TermClaim
from callboard.core.schedule import due, tick_job_id
from callboard.core.sessions import Reading, Watch, observe
from callboard.core.suspicion import suspects, without

from .checks import LEASE_TTL_S, SESSION_TTL_S, Checks
from .worker import Worker
from .world import Call, Process, Signal, Sleep, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.backends.store.memory import MemoryStore

    from .lease import Lease
    from .world import Activity, Server, World


SWEEP_S = SESSION_TTL_S / 8
POLL_S = LEASE_TTL_S / 6
BATCH = 20


class Node:
    """A name; each start gives it a new boot id and forgets everything."""

    def __init__(
        self, world: World, name: str, store: MemoryStore, store_server: Server, lease: Lease, checks: Checks
    ) -> None:
        self.world, self.name, self.store, self.store_server = world, name, store, store_server
        self.lease, self.checks = lease, checks
        self.skew_s = world.random.uniform(0, 100_000)  # each machine has a boot clock of its own
        self.boots = 0
        self.main, self.children = Process(name), Process(name)
        self.main.kill()
        self.children.kill()

    def start(self) -> None:
        self.boots += 1
        self.info = NodeInfo(self.name, f"{self.name}-{self.boots}")
        self.main, self.children = Process(self.name), Process(self.name)
        self.worker = Worker(self)
        self.session: SessionId | None = None
        self.deadline_s = -math.inf
        self.election = election.start(self.info.boot_id, LEASE_TTL_S)
        self.progress = 0
        self.alarm = 0
        self.term: Term | None = None
        self.epoch: Epoch | None = None
        self.trusted_until_s = -math.inf
        self.bell = Signal()
        self.credits, self.watch, self.sweep_at_s = assignment.Credits(), Watch(), -math.inf
        self.schedule_at_s = -math.inf
        self.world.tell(self.name, "starts", self.info.boot_id)
        self.world.spawn(self.main, self.heartbeat())
        self.world.spawn(self.main, self.dispatcher())
        self.world.spawn(self.main, self.worker.lane())
        self.world.spawn(self.main, self.heal())
        self.elect(election.Tick())

    def crash(self, why: str) -> None:
        """Kill -9: the children die with their node."""
        self.world.tell(self.name, "CRASH", why)
        self.main.kill()
        self.children.kill()

    def boot_s(self) -> float:
        return self.world.now + self.skew_s

    def may_start(self) -> bool:
        return self.boot_s() < self.deadline_s

    def ask(self, name: str, act: Callable[[], Any], about: Any = None) -> Call:
        return Call(self.store_server, name, act, about)

    # Election

    def elect(self, event: election.Event) -> None:
        self.election, actions = election.step(self.election, event, self.boot_s(), self.world.random.random())
        for action in actions:
            self._perform(action)

    def _perform(self, action: election.Action) -> None:
        lease = self.lease
        match action:
            case election.Campaign(attempt, owner, ttl_s):
                self._cluster("campaign", lambda: lease.campaign(owner, ttl_s),
                              lambda term: self._campaigned(attempt, term))
            case election.Renew(attempt, term):
                self._cluster("renew", lambda: lease.renew(term, term.ttl_s), lambda kept: self._renewed(attempt, kept))
            case election.Resign(attempt, term):
                self.world.tell(self.name, "resigns", f"term {term.number}")
                self._cluster("resign", lambda: lease.resign(term), lambda _: self.elect(election.ResignEnded(attempt)))
            case election.Lead(term, until_s):
                self.world.tell(self.name, "leads", f"term {term.number}")
                self.term, self.epoch = term, None
                self._trust(term, until_s)
                self.bell.ring()
            case election.ExtendTrust(term, until_s):
                self._trust(term, until_s)
            case election.StepDown(term, reason):
                self.world.tell(self.name, "steps down", f"term {term.number}: {reason}")
                self.term, self.epoch, self.trusted_until_s = None, None, -math.inf
            case election.WakeAt(at_s):
                self.alarm += 1
                alarm = self.alarm
                self.world.timer(self.main, max(0.0, at_s - self.boot_s()), lambda: self._alarm(alarm))
            case election.Stopped():
                pass

    def _trust(self, term: Term, until_s: float) -> None:
        self.trusted_until_s = until_s
        self.checks.trusts(self.name, term, until_s - self.skew_s, self.lease)

    def _alarm(self, alarm: int) -> None:
        if alarm == self.alarm:
            self.elect(election.Tick())

    def _cluster(self, name: str, act: Callable[[], Any], done: Callable[[Any], None]) -> None:
        def late(result: Any) -> None:
            self.main.do(lambda: done(result))

        def call() -> Activity:
            try:
                result = yield Call(self.lease, name, act, timeout_s=LEASE_TTL_S / 3, late=late)
            except QueueError as error:
                result = error
            done(result)

        self.world.spawn(self.main, call())

    def _campaigned(self, attempt: int, answer: Term | QueueError | None) -> None:
        if isinstance(answer, QueueError):
            self.elect(election.CampaignFailed(attempt, str(answer)))
        elif answer is None:
            self.elect(election.CampaignLost(attempt))
        else:
            self.elect(election.CampaignWon(attempt, answer))

    def _renewed(self, attempt: int, answer: bool | QueueError) -> None:  # noqa: FBT001 - the backend's answer
        if isinstance(answer, QueueError):
            self.elect(election.RenewFailed(attempt, str(answer)))
        else:
            self.elect(election.RenewOk(attempt) if answer else election.RenewRefused(attempt))

    # The leader's work. What a round began with holds for the round, as in an actor's handler.

    def dispatcher(self) -> Activity:
        while True:
            self.progress += 1
            self.elect(election.DispatcherProgress(self.progress))
            if self.term is not None and self.boot_s() < self.trusted_until_s:
                yield from self._lead(self.term, self.trusted_until_s)
            yield Wait(self.bell, POLL_S)

    def _lead(self, term: Term, until_s: float) -> Activity:
        try:
            epoch = self.epoch
            if epoch is None:
                claim = TermClaim("sim", "lease", term.number, term.owner)
                begun: Epoch = yield self.act(term, "begin_term", lambda: self.store.begin_term(claim), claim)
                if self.term != term:
                    return
                self.epoch, self.credits, self.watch = begun, assignment.Credits(), Watch(gap_max_s=2 * SWEEP_S)
                self.sweep_at_s, epoch = -math.inf, begun
            if self.boot_s() >= self.sweep_at_s and self.boot_s() < until_s:
                self.sweep_at_s = self.boot_s() + SWEEP_S
                yield from self._sweep(term, epoch, until_s)
            if self.boot_s() < until_s:
                yield from self._round(term, epoch, until_s)
            if self.boot_s() >= self.schedule_at_s:
                self.schedule_at_s = self.boot_s() + 1.0
                yield from self._fire(term, epoch, until_s)
        except (StaleEpoch, TermRefused) as error:
            if self.term == term:
                self.term, self.epoch, self.trusted_until_s = None, None, -math.inf
                self.elect(election.StoreRefusedTerm(term.number, str(error)))
        except Unavailable:
            pass

    def act(self, term: Term, name: str, act: Callable[[], Any], about: Any = None) -> Call:
        """An act of a leader that trusts its term; the term must then be in force."""
        self.checks.leads(self.name, term, self.lease)
        return self.ask(name, act, (self.info.boot_id, about))

    def _round(self, term: Term, epoch: Epoch, until_s: float) -> Activity:
        store = self.store
        yield self.act(term, "promote", lambda: store.promote_due(epoch, BATCH), epoch)
        if self.boot_s() >= until_s:
            return
        survey: Survey = yield self.act(term, "survey", lambda: store.survey(epoch, BATCH), epoch)
        if self.boot_s() >= until_s:
            return
        trusted = without(survey, suspects(survey.sessions, self.watch, {}))
        plan, self.credits = assignment.plan(trusted, self.credits, max_batch=BATCH)
        if plan.empty:
            return
        session = self.session
        receipt = yield self.act(term, "assign", lambda: store.assign(epoch, plan, session), epoch)
        if receipt.taken and session == self.session:
            self.worker.accept(receipt.taken)
        if receipt.assigned:
            self.bell.ring()

    def _sweep(self, term: Term, epoch: Epoch, until_s: float) -> Activity:
        started_s = self.boot_s()
        try:
            survey: Survey = yield self.act(term, "survey", lambda: self.store.survey(epoch, 1), epoch)
        except Unavailable:
            self.watch, _ = observe(self.watch, {}, self.boot_s(), ok=False)
            raise
        readings = {view.session: Reading(view.counter, view.ttl_s) for view in survey.sessions}
        self.watch, over = observe(self.watch, readings, started_s, ok=True, took_s=self.boot_s() - started_s)
        for session in over:
            if self.boot_s() < until_s:
                end = partial(self.store.end_session, epoch, session, "stood still", readings[session].counter)
                yield self.act(term, "end_session", end, (epoch, session))

    def _fire(self, term: Term, epoch: Epoch, until_s: float) -> Activity:
        now_ms, rows = yield self.ask("schedules", lambda: (self.store.store_now_ms(), self.store.schedules()))
        for row in rows:
            for tick in due(row, now_ms).steps:
                job = replace(row.job, id=tick_job_id(row.name, tick.tick_ms))
                if self.boot_s() >= until_s:
                    return
                fire = partial(self.store.fire_tick, epoch, row.name, tick.last_tick_ms, tick.tick_ms,
                               [job] if tick.fires else [])
                fired = yield self.act(term, "fire_tick", fire, epoch)
                if not fired:
                    return

    # The session

    def heartbeat(self) -> Activity:
        while True:
            started_s, session = self.boot_s(), self.session
            try:
                if session is None:
                    self.session = yield self.ask(
                        "open_session", lambda: self.store.open_session(self.info, SESSION_TTL_S, self.worker.reports)
                    )
                    self.world.tell(self.name, "has session", self.session)
                    self.extend(started_s)
                    self.worker.ask("heal")
                else:
                    beat = partial(self.store.beat, session, self.worker.reports)
                    reply: BeatReply = yield self.ask("beat", beat, session)
                    self.extend(started_s)
                    for cancel in reply.cancels:
                        self.worker.cancel(cancel.token)
                    if reply.waiting:
                        self.worker.ask("take")
            except SessionEnded:
                self.world.tell(self.name, "lost session", session)
                self.session, self.deadline_s = None, -math.inf
                self.worker.abandon()
                continue
            except (Conflict, Unavailable):
                pass
            yield Sleep(SESSION_TTL_S / 4)

    def extend(self, started_s: float) -> None:
        """Jobs may start until then; counted from before the store was asked."""
        self.deadline_s = max(self.deadline_s, started_s + SESSION_TTL_S - election.margin_s(SESSION_TTL_S))
        if self.session is not None:
            self.checks.may_start_until(self.name, self.session, self.deadline_s - self.skew_s)

    def heal(self) -> Activity:
        while True:
            yield Sleep(SESSION_TTL_S / 3)
            if self.session is not None:
                self.worker.ask("heal")

    def session_rings(self) -> None:
        """The session's bell."""
        self.main.do(lambda: self.worker.ask("take"))

    # Stopping

    def stop(self) -> Activity:
        """SIGTERM: resign, hand back, wait, kill, close."""
        self.world.tell(self.name, "stops")
        self.elect(election.StopRequested())
        worker, limit_s = self.worker, self.boot_s() + 2.0
        worker.hold()
        while worker.running and self.boot_s() < limit_s:
            yield Sleep(0.1)
        worker.interrupt()
        while (worker.outbox or worker.sending) and self.session is not None and self.boot_s() < limit_s + 3.0:
            yield Sleep(0.1)
        session, self.session = self.session, None
        if session is not None:
            try:
                yield self.ask("close_session", lambda: self.store.close_session(session), session)
            except QueueError:
                self.world.tell(self.name, "could not close", session)
        self.main.kill()
        self.children.kill()
        self.world.tell(self.name, "has stopped")

"""The Scheduler actor: fires cron entries, only in a trusted term, at most once a tick."""

from __future__ import annotations

import math
from dataclasses import replace

from callboard.actors.base import ELECTOR, Actor, Parts, handles
from callboard.core.errors import Fenced, InvalidSchedule, StoreError, TermRefused, Unavailable
from callboard.core.messages import Begin, Hello, Hold, Lead, PollDue, StepDown, Trust
from callboard.core.records import Epoch, ScheduleRow, Term, TermClaim
from callboard.core.schedule import Decision, due, tick_job_id


class Scheduler(Actor):
    """Reads the schedules from the store each time: what was decided stands there, not here."""

    def __init__(self, name: str, parts: Parts) -> None:
        """Follower."""
        super().__init__(name, parts)
        self._term: Term | None = None
        self._epoch: Epoch | None = None
        self._trusted_until_s = -math.inf
        self._invalid: set[tuple[str, int]] = set()
        self._store_away = False
        self._holding = False

    @handles(Begin)
    def begin(self, _message: Begin) -> None:
        """Ask for the term in force."""
        self.tell(ELECTOR, Hello(self.name))

    @handles(Lead)
    def lead(self, message: Lead) -> None:
        """A term was won: look at the schedules."""
        self._term, self._epoch, self._trusted_until_s = message.term, None, message.trusted_until_s
        self.look(PollDue())

    @handles(Trust)
    def trust(self, message: Trust) -> None:
        """The term was renewed."""
        if message.term == self._term:
            self._trusted_until_s = message.trusted_until_s

    @handles(StepDown, Hold)
    def step_down(self, message: StepDown | Hold) -> None:
        """Fire nothing any more."""
        self._term, self._epoch, self._trusted_until_s = None, None, -math.inf
        self._holding = self._holding or isinstance(message, Hold)

    def _trusted(self) -> bool:
        return self._term is not None and not self._holding and self.now() < self._trusted_until_s

    @handles(PollDue)
    def look(self, _message: PollDue) -> None:
        """Fire what is due, and look again when the next tick is, at the latest after the poll's time."""
        if not self._trusted():
            if self._term is not None and not self._holding:
                self.later(self.parts.config.schedule_poll_s, PollDue())
            return
        wait_s = self.parts.config.schedule_poll_s
        try:
            wait_s = min(wait_s, self._fire_due())
            self._store_away = False
        except (Fenced, StoreError):
            self._epoch = None  # the Dispatcher meets the same refusal and reports it; StepDown follows
        except Unavailable as error:
            if not self._store_away:
                self._store_away = True
                self.emit("scheduler.store_away", error=str(error))
        self.later(max(wait_s, 0.005), PollDue())

    def _fire_due(self) -> float:
        epoch = self._begin()
        now_ms = self.parts.store.store_now_ms()
        wait_s = math.inf
        for row in self.parts.store.schedules():
            try:
                decision = due(row, now_ms)
            except InvalidSchedule as error:
                self._say_invalid(row, error)
                continue
            if self._carry_out(epoch, row, decision) and decision.missed:
                self.emit("scheduler.skipped", schedule=row.name, ticks=decision.missed)
            if decision.next_ms is not None:
                wait_s = min(wait_s, (decision.next_ms - now_ms) / 1000)
        return wait_s

    def _carry_out(self, epoch: Epoch, row: ScheduleRow, decision: Decision) -> bool:
        """Step by step; where another was quicker, the rest is void."""
        for step in decision.steps:
            if not self._trusted():
                return False
            job = replace(row.job, id=tick_job_id(row.name, step.tick_ms))
            jobs = (job,) if step.fires else ()
            if not self.parts.store.fire_tick(epoch, row.name, step.last_tick_ms, step.tick_ms, jobs):
                return False
            if step.fires:
                self.emit("scheduler.fired", schedule=row.name, tick_ms=step.tick_ms, job=job.id, queue=job.queue)
        return True

    def _begin(self) -> Epoch:
        """The store's epoch of this term: begin_term gives the same to whoever asks for the same term."""
        if self._epoch is None:
            term = self._term
            if term is None:
                raise TermRefused("no term")
            cluster = self.parts.cluster
            claim = TermClaim(cluster.cluster_id, cluster.characteristics.name, term.number, term.owner)
            self._epoch = self.parts.store.begin_term(claim)
            self.parts.epoch[0] = self._epoch.number  # it may be here before the Dispatcher is
        return self._epoch

    def _say_invalid(self, row: ScheduleRow, error: InvalidSchedule) -> None:
        if (row.name, row.version) not in self._invalid:
            self._invalid.add((row.name, row.version))
            self.emit("scheduler.invalid", schedule=row.name, error=error.message)

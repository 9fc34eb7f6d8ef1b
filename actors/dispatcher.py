"""The Dispatcher actor: assigns in a trusted term, and takes pushes and commands on every node."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from callboard.actors.base import DISPATCHER, ELECTOR, HEARTBEAT, WORKER, Actor, Parts, handles
from callboard.actors.commands import Commands
from callboard.actors.suspicion import WAIT_S, Suspicion
from callboard.core import assignment
from callboard.core.due import DUE_TOPIC
from callboard.core.errors import QueueFull, StaleEpoch, StoreError, TermRefused, Unavailable
from callboard.core.messages import (
    CLIENT_MESSAGES,
    Begin,
    DueSoon,
    Freed,
    Hello,
    Hold,
    Lead,
    MembersSeen,
    Message,
    PollDue,
    Progress,
    ReportDue,
    Round,
    Rung,
    SessionOpened,
    SessionOver,
    StepDown,
    SweepDue,
    Taken,
    TermLost,
    Trust,
)
from callboard.core.records import AssignReceipt, Epoch, SessionId, Survey, TakenJob, Term, TermClaim
from callboard.core.sessions import Reading, Watch, observe

if TYPE_CHECKING:
    from callboard.core.ports import Bell

LOOKS_S: Final = 0.01
"""Between two looks for due jobs, at least, however many rings there are."""


class Dispatcher(Actor):
    """Holds no truth of its own: each round reads the store's counts, decides, and has the store carry it out."""

    def __init__(self, name: str, parts: Parts) -> None:
        """Follower, no session."""
        super().__init__(name, parts)
        self._commands = Commands(parts)
        self._bells: tuple[Bell, ...] = ()
        self._pool_of = {share.queue: pool.name for pool in parts.config.pools for share in pool.queues}
        self._session: SessionId | None = None
        self._term: Term | None = None
        self._epoch: Epoch | None = None
        self._trusted_until_s = -math.inf
        self._credits = assignment.Credits()
        self._watch = Watch()
        self._suspicion = Suspicion(parts)
        self._rounds_from_s = -math.inf
        self._due_at_s = self._looked_s = 0.0
        self._prune_at_s = 0.0
        self._waiting = False
        self._assigned = 0
        self._told_s = -math.inf
        self._store_away = False

    @handles(Begin)
    def begin(self, _message: Begin) -> None:
        """Listen to the leader's bell and ask what is in force."""
        listen = self.parts.store.listen
        self._bells = (listen("leader", self.teller(self.name, Rung())),
                       listen(DUE_TOPIC, self.teller(self.name, DueSoon())))
        self.tell(ELECTOR, Hello(self.name))
        self.tell(HEARTBEAT, Hello(self.name))
        self.poll(PollDue())

    # Terms

    @handles(Lead)
    def lead(self, message: Lead) -> None:
        """A term was won: have the store raise the epoch, then look for work."""
        self._term, self._trusted_until_s = message.term, message.trusted_until_s
        self._begin_term()

    def _begin_term(self) -> None:
        term = self._term
        if term is None or self._epoch is not None or not self._trusted():
            return
        cluster = self.parts.cluster
        claim = TermClaim(cluster.cluster_id, cluster.characteristics.name, term.number, term.owner)
        try:
            epoch = self.parts.store.begin_term(claim)
        except (TermRefused, StoreError) as error:
            self._lost(str(error))
        except Unavailable as error:  # the next poll tries again, for as long as the term is trusted
            self._away(error)
        else:
            self._epoch = epoch
            self.parts.epoch[0] = epoch.number
            self._credits, self._watch = assignment.Credits(), Watch(gap_max_s=2 * self._sweep_s())
            self._suspicion.begin()
            self._due_at_s = self._prune_at_s = 0.0
            self._waiting = False
            self.emit("dispatcher.term_begun", term=term.number)
            self._rounds_from_s = self.now() + WAIT_S
            self.later(WAIT_S, Round())
            self.sweep(SweepDue())

    @handles(Trust)
    def trust(self, message: Trust) -> None:
        """The term was renewed."""
        if self._term is not None and message.term == self._term:
            self._trusted_until_s = message.trusted_until_s

    @handles(StepDown)
    def step_down(self, message: StepDown) -> None:
        """Act as leader no longer."""
        if self._term is not None:
            self.emit("dispatcher.term_ended", term=self._term.number, reason=message.reason)
        self._term, self._epoch, self._trusted_until_s = None, None, -math.inf

    def _trusted(self) -> bool:
        return self._term is not None and self.now() < self._trusted_until_s

    def _lost(self, reason: str) -> None:
        """The store obeys another: step down here at once, and let the Elector know."""
        if self._term is not None:
            self.tell(ELECTOR, TermLost(self._term, reason))
        self.step_down(StepDown(reason))

    # Sessions of this node

    @handles(SessionOpened)
    def session_opened(self, message: SessionOpened) -> None:
        """What is assigned to this node is taken in the same call."""
        self._session = message.session

    @handles(SessionOver)
    def session_over(self, _message: SessionOver) -> None:
        """Nothing is taken for this node until it has a new session."""
        self._session = None

    @handles(MembersSeen)
    def members_seen(self, message: MembersSeen) -> None:
        """Who is a member: what a new leader's first round waits for."""
        if self._suspicion.heard(message):
            self._rounds_from_s = -math.inf
            self._round()

    # Rounds

    @handles(PollDue)
    def poll(self, _message: PollDue) -> None:
        """The slow poll that backs up every bell; proves to the Elector that this actor moves."""
        self._moves(0.0)
        self._begin_term()
        self._moves()
        self._waiting = False
        self._round()
        self._poll_again()

    def _moves(self, least_s: float | None = None) -> None:
        """Tell the Elector that this actor moves, not too often.

        Each answer of the store is a proof: with a store far away a round takes as long as a lease, and polls wait.
        """
        now_s = self.now()
        if now_s - self._told_s >= (self.parts.config.lease_ttl_s / 12 if least_s is None else least_s):
            self._told_s = now_s
            self.tell(ELECTOR, Progress())

    def _poll_again(self) -> None:
        """After the poll's time, or when the next job is due."""
        config = self.parts.config
        wait_s = min(config.poll_s if self._epoch is None else config.due_poll_s, config.lease_ttl_s / 6)
        due_s = self._due_at_s - self.now()
        self.later(due_s if 0.0 < due_s < wait_s and self._epoch is not None else wait_s, PollDue())

    @handles(DueSoon)
    def due_soon(self, _message: DueSoon) -> None:
        """A job was written that is due before the next look: look now, and know when; not more often than needed."""
        self._due_at_s = min(self._due_at_s, max(self.now(), self._looked_s + LOOKS_S))
        self._round()
        self._poll_again()

    @handles(Rung, Freed, Round)
    def rung(self, message: Message) -> None:
        """Jobs may be ready, or capacity free."""
        if not isinstance(message, Freed):
            self._waiting = False
        self._round()

    def _round(self) -> None:
        epoch = self._epoch
        if epoch is None or not self._trusted() or self.now() < self._rounds_from_s:
            return
        try:
            self._promote(epoch)
            survey = self.parts.store.survey(epoch, self.parts.config.assign_batch_max)
            self._moves()
            if self._trusted():
                self._assign(epoch, survey)
            self._back()
            self._moves()
        except (StaleEpoch, StoreError) as error:
            self._lost(str(error))
        except Unavailable as error:
            self._away(error)

    def _promote(self, epoch: Epoch) -> None:
        now_s = self.now()
        if now_s < self._due_at_s:
            return
        self._looked_s = now_s
        promoted = self.parts.store.promote_due(epoch, self.parts.config.assign_batch_max)
        self._moves()
        config, next_s = self.parts.config, promoted.next_due_s
        if promoted.moved:
            self._waiting = False
            self._due_at_s = now_s
        else:
            self._due_at_s = now_s + (config.poll_s if next_s is None else min(config.due_poll_s, max(next_s, 0.001)))
            self._poll_again()

    def _assign(self, epoch: Epoch, survey: Survey) -> None:
        seen = self._suspicion.trusted(survey, self._watch)
        plan, self._credits = assignment.plan(seen, self._credits, max_batch=self.parts.config.assign_batch_max)
        lone = len(survey.sessions) < 2  # noqa: PLR2004 - its own Workers tell when capacity comes free
        if plan.empty and (self._waiting or (lone and any(survey.ready.values()))):
            return
        receipt = self.parts.store.assign(epoch, plan, self._session)
        self._waiting = not any(receipt.assigned.values())  # and the store rings who pushes, or frees capacity
        self._hand_over(receipt)
        if any(receipt.assigned.values()):
            self.tell(DISPATCHER, Round())

    def _hand_over(self, receipt: AssignReceipt) -> None:
        count = sum(receipt.assigned.values())
        if not count:
            return
        if not self._assigned:
            self.later(1.0, ReportDue())
        self._assigned += count
        by_pool: dict[str, list[TakenJob]] = {}
        for job in receipt.taken:
            by_pool.setdefault(self._pool_of.get(job.queue, ""), []).append(job)
        for pool, jobs in by_pool.items():
            if self._session is not None:
                self._give(pool, Taken(self._session, tuple(jobs)))

    def _give(self, pool: str, message: Taken) -> None:
        try:
            taken = self.tell(WORKER + pool, message)
        except QueueFull:
            taken = False
        if not taken:  # the Worker is being restarted: it heals itself, by comparing with the store
            self.emit("dispatcher.worker_away", pool=pool, jobs=len(message.jobs))

    @handles(ReportDue)
    def report(self, _message: ReportDue) -> None:
        """One event for what was assigned since the last one."""
        self.emit("dispatcher.assigned", jobs=self._assigned)
        self._assigned = 0

    # The watch over sessions, and the store's housekeeping

    def _sweep_s(self) -> float:
        return min(self.parts.config.sweep_s, self.parts.config.session_ttl_s / 8)

    @handles(SweepDue)
    def sweep(self, _message: SweepDue) -> None:
        """Look at the sessions' counters; now and then prune. Goes on for as long as the epoch does."""
        epoch = self._epoch
        if epoch is None:
            return
        self.later(self._sweep_s(), SweepDue())
        if self._trusted():
            self._look_after(epoch)

    def _look_after(self, epoch: Epoch) -> None:
        started_s = self.now()
        try:
            survey = self.parts.store.survey(epoch, 1)
            readings = {view.session: Reading(view.counter, view.ttl_s) for view in survey.sessions}
            self._moves()
            self._watch, over = observe(self._watch, readings, started_s, ok=True, took_s=self.now() - started_s)
            self._suspicion.ask(survey.sessions, self.now())
            for session in over:
                self._end(epoch, session, readings[session].counter, survey)
            if started_s >= self._prune_at_s:
                self._prune_at_s = started_s + self.parts.config.prune_s
                pruned = self.parts.store.sweep(epoch, self.parts.config.assign_batch_max)
                if pruned:
                    self.emit("dispatcher.pruned", jobs=pruned)
        except (StaleEpoch, StoreError) as error:
            self._lost(str(error))
        except Unavailable as error:
            self._watch, _ = observe(self._watch, {}, self.now(), ok=False)
            self._away(error)

    def _end(self, epoch: Epoch, session: SessionId, counter: int, survey: Survey) -> None:
        if not self._trusted():
            return
        node = next((view.info.node for view in survey.sessions if view.session == session), "?")
        released = self.parts.store.end_session(epoch, session, "its heartbeat stood still", counter)
        if not released.ended:
            return  # it beat at the last moment
        self.emit("dispatcher.session_ended", session=session, of_node=node, handed_back=released.handed_back,
                  lost=released.lost, quarantined=list(released.quarantined[:20]))
        self._waiting = False
        self.tell(DISPATCHER, Round())

    # The store's state

    def _away(self, error: Exception) -> None:
        if not self._store_away:
            self._store_away = True
            self.emit("dispatcher.store_away", error=str(error))

    def _back(self) -> None:
        if self._store_away:
            self._store_away = False
            self.emit("dispatcher.store_back")

    # Commands

    @handles(*CLIENT_MESSAGES)
    def command(self, message: Message) -> Message:
        """Carry out what a client asks; an error of ours becomes its answer."""
        return self._commands.carry_out(message, leading=self._epoch is not None and self._trusted(),
                                        session=self._session)

    @handles(Hold)
    def hold(self, _message: Hold) -> None:
        """The node is stopping: the Elector resigns; commands are still answered."""
        self._session = None

    def release(self) -> None:
        """Close the bells."""
        for bell in self._bells:
            bell.close()



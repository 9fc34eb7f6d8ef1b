"""The Worker actor: owns one pool's children and slots; jobs go in by batches, outcomes go to the store by batches."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from callboard.actors.base import DISPATCHER, HEARTBEAT, SUPERVISOR, Parts, handles
from callboard.actors.ends import JobEnd, Left, PoolState, Tally, error_fields, job_end
from callboard.actors.outbox import Outbox
from callboard.actors.running import Running
from callboard.core.commandcheck import SLOTS_MAX
from callboard.core.errors import QueueError
from callboard.core.messages import (
    Abandoned,
    Adjust,
    Begin,
    DesiredChanged,
    Drained,
    EndsReady,
    ExecutorStopped,
    Finished,
    FlushDue,
    Freed,
    HandBackDue,
    HealDue,
    Hello,
    Hold,
    LeaseExtended,
    PollDue,
    PoolChanged,
    ReportDue,
    Rung,
    SessionOpened,
    SessionOver,
    TakeAnswered,
    Taken,
)
from callboard.core.records import FinishReceipt, Held, Outcome, OutcomeKind, PoolReport, SessionId, TakenJob, Token
from callboard.core.verdict import QueueDefaults, outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from callboard.actors.lane import Lane
    from callboard.core.config import PoolConfig
    from callboard.core.ports import Bell


class Worker(Running):
    """One pool of a node."""

    def __init__(self, name: str, parts: Parts, pool: PoolConfig) -> None:
        """Nothing runs yet."""
        super().__init__(name, parts, pool)
        self._pool = pool
        self._queues = tuple(share.queue for share in pool.queues)
        self._defaults = QueueDefaults(pool.max_attempts, pool.timeout_s, pool.backoff)
        self._lane: Lane | None = None
        self._bell: Bell | None = None
        self._slots = pool.slots
        self._reported: PoolReport | None = None
        self._healed: set[Token] = set()
        self._outbox = Outbox(parts.store, self.tell_self)
        self._aside: list[Outcome] = []
        self._unsettled = False
        self._take_error = ""
        self._stopping = False
        self._stopped = False
        self._tally = Tally()

    @handles(Begin)
    def begin(self, message: Begin) -> None:
        """Start children, and ask for the session."""
        left = self.parts.left.pop(self.name, None)
        self._unsettled = message.restarted and left is None
        if left is not None:
            self._held.update(left.held)
            self._outbox.add(left.outcomes)
        self._lane = self.lane(self.name)
        self._life_lane = self.lane(f"{self.name}-life")
        self._executor.set_timeout(self._pool.timeout_s)
        self._executor.start(self._ends)
        self.parts.pools[self.name] = PoolState(PoolReport(self._pool.name, self._pool.queues, self._slots, 0),
                                                self._executor.running, self._pool.name)
        self.tell(HEARTBEAT, Hello(self.name))
        self.later(self.parts.config.poll_s, PollDue())

    # Sessions

    @handles(SessionOpened)
    def session_opened(self, message: SessionOpened) -> None:
        """Offer the slots; see what the store thinks that this node runs."""
        if self._stopping:
            return
        if self._session == message.session:  # a Heartbeat that was restarted knows no capacities
            self._report(force=True)
            return
        self._session = message.session
        self._listen(message.session)
        self._report(force=True)
        self._outbox.flush(self._session, self._lane)
        self._take(healing=False)
        self._take(healing=True)
        self.later(self.parts.config.heal_s, HealDue())

    def _listen(self, session: SessionId) -> None:
        if self._bell is not None:
            self._bell.close()
        self._bell = self.parts.store.listen(f"session-{session}", self.teller(self.name, Rung()))

    @handles(SessionOver)
    def session_over(self, message: SessionOver) -> None:
        """The leader gave this node's jobs to others: nothing of them may go on here."""
        dropped = self._executor.abandon()
        self._ends.drain()
        self._held.clear()
        self._healed.clear()
        self._aside.clear()
        self._outbox.drop()
        self._marks.drop()
        self._session = None
        self.emit("worker.abandoned", session=message.session, jobs=dropped)
        self.tell(HEARTBEAT, Abandoned(self._pool.name))

    @handles(LeaseExtended)
    def lease_extended(self, message: LeaseExtended) -> None:
        """Jobs may start until then."""
        self._executor.set_lease(message.deadline_boot_s)

    # Taking

    @handles(Taken)
    def taken(self, message: Taken) -> None:
        """The leader on this node assigned and took these in one call."""
        self._run_jobs(message.session, message.jobs)

    @handles(Rung, PollDue)
    def rung(self, message: Rung | PollDue) -> None:
        """Rows may have been assigned to this node."""
        if isinstance(message, PollDue):
            self.later(self.parts.config.poll_s, PollDue())
            self._report()
        self._take(healing=False)

    @handles(HealDue)
    def heal(self, _message: HealDue) -> None:
        """Compare what the store says this node runs with what it runs: a lost reply heals itself."""
        self.later(self.parts.config.heal_s, HealDue())
        self._take(healing=True)

    def _take(self, *, healing: bool) -> None:
        session = self._session
        if session is None or self._lane is None or self._stopping:
            return
        holding = [Held(job.ref, job.id, token) for token, job in self._held.items()] if healing else None

        def call() -> None:
            try:
                jobs = self.parts.store.take(session, self._queues, holding)
                answer = TakeAnswered(session, jobs, healing)
            except QueueError as error:
                answer = TakeAnswered(session, (), healing, str(error))
            if answer.jobs or answer.error or healing:
                self.tell_self(answer)

        self._lane.run(call)

    @handles(TakeAnswered)
    def take_answered(self, message: TakeAnswered) -> None:
        """Rows to run; after a restart of this actor, running rows whose children died with it."""
        if message.error:
            if message.error != self._take_error:  # one event for an outage, however often it is tried
                self._take_error = message.error
                self.emit("worker.take_failed", error=message.error)
            return
        self._take_error = ""
        if not message.healing:
            self._run_jobs(message.session, message.jobs)
            return
        unknown = [job for job in message.jobs if job.token not in self._held]
        if self._unsettled:
            self._unsettled = False
            self._give_up(unknown, OutcomeKind.LOST)
            return
        # Kept for the session: the Dispatcher's Taken for these may come after the next healing, and these have ended.
        self._healed |= {job.token for job in unknown}
        self._run_jobs(message.session, unknown, healed=True)

    def _run_jobs(self, session: SessionId, jobs: Iterable[TakenJob], *, healed: bool = False) -> None:
        if session != self._session:
            return  # of a session that is over: its rows are others' now
        fresh = [job for job in jobs
                 if job.token not in self._held and (healed or job.token not in self._healed)]
        if self._stopping:
            self._give_up(fresh, OutcomeKind.HANDED_BACK)
            return
        for job in fresh:
            self._held[job.token] = job
        self._executor.submit(fresh)
        if fresh:
            self._stirred()

    def _give_up(self, jobs: list[TakenJob], kind: OutcomeKind) -> None:
        self._outbox.add(Outcome(Held(job.ref, job.id, job.token), kind) for job in jobs)
        if jobs:
            self.emit("worker.gave_up", jobs=len(jobs), how=kind.name.lower())
        self._outbox.flush(self._session, self._lane)

    # Finishing

    @handles(EndsReady)
    def ends_ready(self, _message: EndsReady) -> None:
        """Runs ended: make outcomes of them and send them."""
        self._collect()
        self._outbox.flush(self._session, self._lane)
        poised = self._ends.poised()
        if poised:
            self._marks.ask(poised, self._held)
            self._look()
        if self._held:
            self._stirred()

    def _collect(self) -> None:
        completed, others = self._ends.drain()
        held, outcomes = self._held, list[Outcome]()
        for token in completed:
            job = held.get(token)
            if job is not None:
                outcomes.append(Outcome(Held(job.ref, job.id, token), OutcomeKind.COMPLETED))
        for end in others:
            job = held.get(end.token)
            self._marks.forget(end.token)
            if job is not None:
                row = Held(job.ref, job.id, end.token)
                outcome = outcome_of(end, row, job, self._defaults, random.random())  # noqa: S311 - jitter
                late = outcome.kind is OutcomeKind.HANDED_BACK and outcome.delay_s > 0 and not self._stopping
                (self._aside if late else outcomes).append(outcome)
                if late:
                    self.later(outcome.delay_s, HandBackDue())
        self._outbox.add(outcomes)

    @handles(HandBackDue)
    def hand_back_due(self, _message: HandBackDue) -> None:
        """Hand back what this node has kept from itself for a while."""
        aside, self._aside = self._aside, []
        self._outbox.add(aside)
        self._outbox.flush(self._session, self._lane)

    @handles(FlushDue)
    def flush_due(self, _message: FlushDue) -> None:
        """Send again what the store could not take."""
        self._outbox.resend(self._session, self._lane)

    @handles(Finished)
    def finished(self, message: Finished) -> None:
        """The store took a batch, or could not."""
        if message.receipt is None:
            if not self._outbox.retry_s:
                self.emit("worker.store_away", error=message.error, waiting=len(self._held))
            self.later(self._outbox.failed(), FlushDue())
            return
        if self._outbox.retry_s:
            self.emit("worker.store_back")
        self._settle(self._outbox.settled(), message.receipt)
        self._outbox.flush(self._session, self._lane)
        self.tell(DISPATCHER, Freed())
        self._report()
        self._drained()

    def _settle(self, batch: list[Outcome], receipt: FinishReceipt) -> None:
        stale = {held.token for held in receipt.stale}
        if not self._tally.any():
            self.later(1.0, ReportDue())
        detail = self.parts.wants_jobs()
        for outcome in batch:
            job = self._held.pop(outcome.held.token, None)
            if outcome.held.token in stale:
                self.emit("job.stale_token", job=outcome.held.id, token=list(outcome.held.token))
                continue
            end = job_end(job, outcome)
            if end.counts is not None:
                self._tally.add(end.counts)
            if job is not None and (detail or end.counts is OutcomeKind.FAILED):
                self._tell_job(job, end)
        for job_id in receipt.quarantined:
            self.emit("job.quarantined", job=job_id)

    def _tell_job(self, job: TakenJob, end: JobEnd) -> None:
        self.emit(end.event, job=job.id, token=list(job.token), queue=job.queue, name=job.name, attempt=job.attempt,
                  **error_fields(end.error))

    @handles(ReportDue)
    def report_due(self, _message: ReportDue) -> None:
        """One event for what ended since the last one."""
        self.emit("worker.finished", pool=self._pool.name, **self._tally.take())

    # Slots

    @handles(DesiredChanged)
    def desired_changed(self, message: DesiredChanged) -> None:
        """An operator's order for this pool: for this node first, then for all."""
        wanted = {row.node: row.slots for row in message.desired if row.queue in self._queues}
        ordered = wanted.get(self.parts.info.node, wanted.get("*", self._pool.slots))
        slots = min(max(ordered, 0), SLOTS_MAX)  # what stands in the store is not trusted to be in bounds
        if slots != self._slots and not self._stopping:
            self._resize(slots)

    def _resize(self, slots: int) -> None:
        self.emit("worker.scaled", pool=self._pool.name, slots=slots, before=self._slots)
        self._slots = slots
        self._executor.resize(slots)
        self._report(force=True)

    @handles(Adjust)
    def adjust(self, message: Adjust) -> None:
        """The node's owner wants other slots or another time limit."""
        if message.slots is not None and not self._stopping:
            self._resize(message.slots)
        if message.timeout_s is not None:
            self._defaults = replace(self._defaults, timeout_s=message.timeout_s)
            self._executor.set_timeout(message.timeout_s)
            self.emit("worker.timeout_set", pool=self._pool.name, timeout_s=message.timeout_s)

    def _report(self, *, force: bool = False) -> None:
        """Tell the leader of slots and capacity, when they changed by a quarter or more."""
        capacity = 0 if self._stopping else self._executor.capacity()
        last = self._reported
        if not force and last is not None and last.slots == self._slots and _near(last.capacity, capacity):
            return
        report = PoolReport(self._pool.name, self._pool.queues, self._slots, capacity)
        self._reported = report
        self.parts.pools[self.name] = PoolState(report, self._executor.running, self._pool.name)
        self.tell(HEARTBEAT, PoolChanged(report))

    # Stopping

    @handles(Hold)
    def hold(self, message: Hold) -> None:
        """Start nothing more; hand back what never started; wait for the rest until the deadline."""
        if not self._stopping:
            self._stopping = True
            self.hand_back_due(HandBackDue())
            self._report(force=True)
            self._executor.hold()
        if self._stopped:
            return
        executor = self._executor

        def call() -> None:
            executor.stop(message.deadline_boot_s)
            self.tell_self(ExecutorStopped())

        stopper = self.lane(f"{self.name}-stop")  # a new one for each: a second Hold hurries the first
        stopper.run(call)
        stopper.close()

    @handles(ExecutorStopped)
    def executor_stopped(self, _message: ExecutorStopped) -> None:
        """No child is left: once the store has every outcome, this pool is drained."""
        self._stopped = True
        self._collect()
        self._outbox.flush(self._session, self._lane)
        self._drained()

    def _drained(self) -> None:
        if self._stopped and (self._session is None or not self._outbox.rest()):
            self.tell(SUPERVISOR, Drained(self.name))

    def release(self) -> None:
        """End the children and send what is known of their jobs: no ack is lost with this actor."""
        if self._bell is not None:
            self._bell.close()
        if not self._stopped:
            self._executor.stop(self.now())
        for lane in (self._lane, self._life_lane):
            if lane is not None:
                lane.close(timeout_s=1.0)
        self._collect()
        batch = self._aside + self._outbox.rest()
        if batch and self._session is not None:
            try:
                self.parts.store.finish(self._session, batch)
            except QueueError as error:
                self.emit("worker.store_away", error=str(error), waiting=len(batch))
            else:
                self._tally.add_all(outcome.kind for outcome in batch)
                batch = []
        if self._tally.any():
            self.report_due(ReportDue())
        unsent = {outcome.held.token for outcome in batch}
        self.parts.left[self.name] = Left({token: job for token, job in self._held.items() if token in unsent}, batch)


def _near(before: int, now: int) -> bool:
    return before * 3 <= now * 4 and now * 3 <= before * 4

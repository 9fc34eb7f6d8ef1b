"""A store as a few dicts, written from the contract and not from the lifecycle's table: what every store must do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from callboard.core.records import (
    CancelResult,
    JobState,
    NewJob,
    OutcomeKind,
    QueueCounts,
    Step,
    TermClaim,
    Token,
)

if TYPE_CHECKING:
    from storekit import FakeClock

QUEUES = ("q", "r")
CAPACITY = 3
WAITING = (JobState.DELAYED, JobState.READY, JobState.ASSIGNED)
HELD = (JobState.ASSIGNED, JobState.RUNNING)
LIVE = (*WAITING, JobState.RUNNING)


@dataclass
class ModelJob:
    """One job."""

    new: NewJob
    order: int
    due_ms: int
    state: JobState
    step: Step = Step.HANDLE
    attempts: int = 0
    losses: int = 0
    token: Token | None = None
    session: int | None = None
    cancel_asked: bool = False
    done: OutcomeKind | None = None
    touched: bool = False  # by an operator since `done`

    @property
    def place(self) -> tuple[int, int, int]:
        """Its place in its queue."""
        return (-self.new.priority, self.due_ms, self.order)

    @property
    def seen(self) -> tuple[object, ...]:
        """What an operator sees of it."""
        return (self.state, self.attempts, self.losses, self.token, self.due_ms)

    def leave(self, state: JobState) -> None:
        """No session holds it any more."""
        self.state, self.session, self.cancel_asked = state, None, False


@dataclass
class Model:
    """What is known of a store."""

    clock: FakeClock
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    sessions: dict[int, str] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    draining: set[str] = field(default_factory=set)
    claim: TermClaim | None = None
    ended: dict[tuple[str, JobState], int] = field(default_factory=dict)
    last_seq: int = 0

    @property
    def now_ms(self) -> int:
        """The store's clock, if the wall clock never jumps."""
        return round(self.clock.wall_s() * 1000)

    def of(self, *states: JobState, queue: str | None = None) -> list[ModelJob]:
        """Jobs of these states, by place."""
        found = [job for job in self.jobs.values() if job.state in states and queue in {None, job.new.queue}]
        return sorted(found, key=lambda job: job.place)

    def held(self, session: int, queue: str | None = None) -> list[ModelJob]:
        """What a session holds."""
        return [job for job in self.of(*HELD, queue=queue) if job.session == session]

    def holder(self, unique: str | None) -> str | None:
        """The job that holds the unique key."""
        holders = [job.new.id for job in self.of(*LIVE) if unique is not None and job.new.unique == unique]
        assert len(holders) < 2
        return holders[0] if holders else None

    def finish_as(self, job: ModelJob, state: JobState) -> None:
        """A job has ended for good."""
        job.leave(state)
        key = job.new.queue, state
        self.ended[key] = self.ended.get(key, 0) + 1

    # Acts -----------------------------------------------------------------------------------------------------------

    def push(self, batch: list[NewJob]) -> tuple[tuple[str, ...], int]:
        """Ids as answered, and how many are new."""
        ids, new = [], 0
        for one in batch:
            holder = self.holder(one.unique)
            if one.id in self.jobs or one.id in self.gone:
                ids.append(one.id)
            elif holder is not None:
                ids.append(holder)
            else:
                state = JobState.DELAYED if one.delay_s > 0 else JobState.READY
                due_ms = self.now_ms + round(one.delay_s * 1000)
                self.jobs[one.id] = ModelJob(one, len(self.jobs) + len(self.gone), due_ms, state)
                ids.append(one.id)
                new += 1
        return tuple(ids), new

    def promote(self, limit: int) -> int:
        """How many become ready."""
        due = [job for job in self.of(JobState.DELAYED) if job.due_ms <= self.now_ms]
        due.sort(key=lambda job: (job.due_ms, job.order))
        for job in due[:limit]:
            job.state = JobState.READY
        return len(due[:limit])

    def may_get(self, session: int, queue: str) -> bool:
        """A session that may get jobs of the queue."""
        return (session in self.sessions and self.sessions[session] not in self.draining and queue not in self.paused
                and all(job.losses < 2 for job in self.held(session)))

    def choose(self, session: int, queue: str, count: int) -> list[ModelJob]:
        """The jobs that an assignment gives."""
        if not self.may_get(session, queue):
            return []
        room = max(0, CAPACITY - len(self.held(session, queue)))
        return [job for job in self.of(JobState.READY, queue=queue) if job.losses < 2][: min(count, room)]

    def choose_alone(self, session: int, job: ModelJob) -> list[ModelJob]:
        """The job, if the session may have it alone."""
        fits = self.may_get(session, job.new.queue) and not self.held(session)
        return [job] if fits and job.state is JobState.READY and job.losses >= 2 else []

    def give(self, job: ModelJob, session: int, token: Token, *, run: bool) -> None:
        """A job has got a token, which must be newer than any before."""
        assert token.seq > self.last_seq, "a token was issued twice"
        self.last_seq = token.seq
        job.state = JobState.RUNNING if run else JobState.ASSIGNED
        job.session, job.token, job.done, job.touched = session, token, None, False

    def finish(self, job: ModelJob | None, token: Token, kind: OutcomeKind, delay_s: float) -> str:
        """What one outcome is: applied, again, stale, quarantined, or either (applied before, or stale).

        Either: an operator changed or forgot the job after it was applied; nothing comes of it in any case.
        """
        if job is None:
            return "either"
        if job.token != token:
            return "stale"
        if job.state is JobState.RUNNING or (job.state is JobState.ASSIGNED and kind is OutcomeKind.HANDED_BACK):
            job.done = kind
            return self.end_run(job, kind, delay_s)
        if job.done is not kind:
            return "stale"
        return "either" if job.touched else "again"

    def end_run(self, job: ModelJob, kind: OutcomeKind, delay_s: float) -> str:
        """A run has ended so."""
        if kind is OutcomeKind.LOST and job.losses == 2:
            job.losses = 3
            self.finish_as(job, JobState.FAILED)
            return "quarantined"
        goes_on = kind in {OutcomeKind.SNOOZED, OutcomeKind.HANDED_BACK, OutcomeKind.LOST} or (
            kind is OutcomeKind.RETRY and job.step is Step.HANDLE)
        if job.cancel_asked and (goes_on or kind is OutcomeKind.RETRY):
            kind = OutcomeKind.CANCELLED
        elif goes_on:
            self.run_again(job, kind, delay_s)
            return "applied"
        if job.step is Step.FAILED_HOOK:
            self.finish_as(job, JobState.FAILED)
        elif kind is OutcomeKind.CANCELLED:
            self.finish_as(job, JobState.CANCELLED)
        else:
            job.attempts += 1
            self.settle(job, kind)
        return "applied"

    def run_again(self, job: ModelJob, kind: OutcomeKind, delay_s: float) -> None:
        """A job is ready or delayed again."""
        job.attempts += kind is OutcomeKind.RETRY
        job.losses += kind is OutcomeKind.LOST
        if kind in {OutcomeKind.RETRY, OutcomeKind.SNOOZED}:
            job.due_ms = self.now_ms + round(delay_s * 1000)
            job.leave(JobState.DELAYED if delay_s > 0 else JobState.READY)
        else:
            job.leave(JobState.READY)

    def settle(self, job: ModelJob, kind: OutcomeKind) -> None:
        """handle() is over for good."""
        if kind is OutcomeKind.COMPLETED:
            self.finish_as(job, JobState.COMPLETED)
        elif job.new.has_failed_hook:
            job.step, job.due_ms = Step.FAILED_HOOK, self.now_ms
            job.leave(JobState.READY)
        else:
            self.finish_as(job, JobState.FAILED)

    def release(self, session: int) -> tuple[int, int, set[str]]:
        """End a session: handed back, lost, quarantined."""
        held = self.held(session) if session in self.sessions else []
        waiting = [job for job in held if job.state is JobState.ASSIGNED]
        running = [job for job in held if job.state is JobState.RUNNING]
        for job in waiting:
            job.leave(JobState.READY)
        results = {job.new.id: self.end_run(job, OutcomeKind.LOST, 0.0) for job in running}
        self.sessions.pop(session, None)
        return len(waiting), len(running), {name for name, result in results.items() if result == "quarantined"}

    def cancel(self, job: ModelJob) -> CancelResult:
        """An operator's cancel."""
        if job.state is JobState.RUNNING:
            job.cancel_asked = True
            return CancelResult.REQUESTED
        if job.state not in WAITING:
            return CancelResult.TOO_LATE
        job.touched = True
        self.finish_as(job, JobState.CANCELLED if job.step is Step.HANDLE else JobState.FAILED)
        return CancelResult.CANCELLED

    def forget(self, jobs: list[ModelJob]) -> int:
        """Only ids are remembered."""
        for job in jobs:
            del self.jobs[job.new.id]
            self.gone.add(job.new.id)
        return len(jobs)

    def retry(self, job: ModelJob) -> None:
        """An operator's retry."""
        job.touched = True
        job.state, job.step, job.attempts, job.losses, job.due_ms = JobState.READY, Step.HANDLE, 0, 0, self.now_ms

    def counts(self, queue: str) -> QueueCounts:
        """The queue's counts."""
        now = {state: len(self.of(state, queue=queue)) for state in JobState}
        ended = {state: self.ended.get((queue, state), 0) for state in JobState}
        return QueueCounts(queue, now[JobState.DELAYED], now[JobState.READY], now[JobState.ASSIGNED],
                           now[JobState.RUNNING], now[JobState.FAILED], ended[JobState.COMPLETED],
                           ended[JobState.CANCELLED], paused=queue in self.paused)

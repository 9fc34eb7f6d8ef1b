"""A store as a few dicts, written from the contract and not from the lifecycle's table: what every store must do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from callboard.core.records import (
    CancelResult,
    Held,
    JobRecord,
    JobState,
    NewJob,
    Outcome,
    OutcomeKind,
    QueueCounts,
    QueueLimits,
    Step,
    TermClaim,
    Token,
    UniqueUntil,
)

if TYPE_CHECKING:
    from storekit import FakeClock

QUEUES = ("q", "r")
CAPACITY = 3
WAITING = (JobState.DELAYED, JobState.READY, JobState.ASSIGNED)
HELD = (JobState.ASSIGNED, JobState.RUNNING)
LIVE = (*WAITING, JobState.RUNNING)
STRICT_S = 100 * 365 * 86_400.0
AGAIN = (OutcomeKind.RETRY, OutcomeKind.SNOOZED, OutcomeKind.HANDED_BACK, OutcomeKind.LOST)


@dataclass
class ModelJob:
    """One job."""

    new: NewJob
    order: int
    due_ms: int
    rank: int
    state: JobState
    expires_ms: int | None = None
    step: Step = Step.HANDLE
    attempts: int = 0
    losses: int = 0
    doubts: int = 0
    token: Token | None = None
    session: int | None = None
    node: str | None = None
    assigned_ms: int | None = None
    taken_ms: int | None = None
    started_ms: int | None = None
    progress: str | None = None
    result: bytes | None = None
    result_until_ms: int | None = None
    history: list[tuple[Token | None, int | None, int]] = field(default_factory=list)
    cancel_asked: bool = False
    done: OutcomeKind | None = None
    touched: bool = False  # since `done`, by an operator or because its time was up

    @property
    def place(self) -> tuple[int, int]:
        """Its place in its queue."""
        return (self.rank, self.order)

    def leave(self, state: JobState) -> None:
        """No session holds it any more."""
        self.state, self.session, self.cancel_asked = state, None, False

    def seen(self, now_ms: int) -> tuple[object, ...]:
        """What an operator sees of it."""
        over = self.result_until_ms is not None and now_ms >= self.result_until_ms
        return (self.state, self.attempts, self.losses, self.token, self.due_ms,
                self.doubts, self.expires_ms, self.node, self.assigned_ms, self.taken_ms, self.started_ms,
                self.progress, None if over else self.result, self.result_until_ms, self.history[-20:])


def seen_of(job: JobRecord) -> tuple[object, ...]:
    """The same of the store's record."""
    return (job.state, job.attempts, job.losses, job.token, job.due_ms, job.doubts, job.expires_ms, job.node,
            job.assigned_ms, job.taken_ms, job.started_ms,
            None if job.progress is None else job.progress.message, job.result, job.result_until_ms,
            [(run.token, run.started_ms, run.ended_ms) for run in job.history])


@dataclass
class Model:
    """What is known of a store."""

    clock: FakeClock
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    sessions: dict[int, str] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    draining: set[str] = field(default_factory=set)
    limits: dict[str, QueueLimits] = field(default_factory=dict)
    keys: dict[str, tuple[str, int | None]] = field(default_factory=dict)
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

    def expired(self, job: ModelJob) -> bool:
        """A job that waits and whose time is up."""
        waits = job.state in {JobState.DELAYED, JobState.READY} and job.step is Step.HANDLE
        return waits and job.expires_ms is not None and job.expires_ms <= self.now_ms

    # Unique keys ----------------------------------------------------------------------------------------------------

    def holder(self, key: str | None) -> str | None:
        """The job that holds the unique key."""
        job_id, until_ms = self.keys.get(key or "", (None, None))
        return None if until_ms is not None and until_ms <= self.now_ms else job_id

    def hold(self, job: NewJob) -> None:
        """The job holds its key from now on."""
        if job.unique is not None:
            period = job.unique_until is UniqueUntil.PERIOD
            self.keys[job.unique] = job.id, self.now_ms + round(job.unique_period_s * 1000) if period else None

    def free(self, job: NewJob) -> None:
        """The job holds its key no more, unless for a period."""
        if job.unique is not None and self.keys.get(job.unique) == (job.id, None):
            del self.keys[job.unique]

    # Ends -----------------------------------------------------------------------------------------------------------

    def finish_as(self, job: ModelJob, state: JobState) -> None:
        """A job has ended for good."""
        job.leave(state)
        self.free(job.new)
        key = job.new.queue, state
        self.ended[key] = self.ended.get(key, 0) + 1

    def expire(self, job: ModelJob) -> None:
        """A job's time was up."""
        job.touched = True
        self.finish_as(job, JobState.CANCELLED)

    def due(self, job: ModelJob, delay_s: float = 0.0) -> None:
        """A job is due so much later, and has its place by that."""
        job.due_ms = self.now_ms + round(delay_s * 1000)
        job.rank = self.rank(job.new, job.due_ms)

    def rank(self, job: NewJob, due_ms: int) -> int:
        """A job's place in its queue."""
        aging_s = self.limits.get(job.queue, QueueLimits()).aging_s
        return due_ms - job.priority * round((STRICT_S if aging_s is None else aging_s) * 1000)

    # Acts -----------------------------------------------------------------------------------------------------------

    def push(self, batch: list[NewJob]) -> tuple[tuple[str, ...], int] | None:
        """Ids as answered, and how many are new; None: it is refused."""
        ids, new, keys = [], {}, {}
        for one in batch:
            holder = self.holder(one.unique) or keys.get(one.unique)
            if one.id in self.jobs or one.id in self.gone or one.id in new or holder is None:
                ids.append(one.id)
                if one.id not in {*self.jobs, *self.gone, *new}:
                    new[one.id] = one
                    keys |= {one.unique: one.id} if one.unique is not None else {}
            else:
                ids.append(holder)
        for queue, more in Counter(one.queue for one in new.values()).items():
            depth = len(self.of(JobState.DELAYED, JobState.READY, queue=queue)) + more
            most = self.limits.get(queue, QueueLimits()).max_depth
            if most is not None and depth > most:
                return None
        for one in new.values():
            self.add(one)
        return tuple(ids), len(new)

    def add(self, one: NewJob) -> None:
        """A new job."""
        due_ms = self.now_ms + round(one.delay_s * 1000)
        expires_ms = None if one.expires_s is None else self.now_ms + round(one.expires_s * 1000)
        self.jobs[one.id] = ModelJob(one, len(self.jobs) + len(self.gone), due_ms, self.rank(one, due_ms),
                                     JobState.DELAYED if one.delay_s > 0 else JobState.READY, expires_ms)
        self.hold(one)

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
        ready = [job for job in self.of(JobState.READY, queue=queue) if job.losses < 2 and not self.expired(job)]
        return ready[: min(count, room)]

    def choose_alone(self, session: int, job: ModelJob) -> list[ModelJob]:
        """The job, if the session may have it alone."""
        fits = self.may_get(session, job.new.queue) and not self.held(session) and not self.expired(job)
        return [job] if fits and job.state is JobState.READY and job.losses >= 2 else []

    def give(self, job: ModelJob, session: int, token: Token, *, run: bool) -> None:
        """A job has got a token, which must be newer than any before."""
        assert token.seq > self.last_seq, "a token was issued twice"
        self.last_seq = token.seq
        job.state, job.session, job.token, job.done, job.touched = JobState.ASSIGNED, session, token, None, False
        job.node, job.assigned_ms = self.sessions[session], self.now_ms
        job.taken_ms = job.started_ms = job.progress = None
        if run:
            self.take(job)

    def take(self, job: ModelJob) -> None:
        """Its node has it."""
        job.state, job.taken_ms = JobState.RUNNING, self.now_ms
        if job.new.unique_until is UniqueUntil.STARTED:
            self.free(job.new)

    def runs(self, session: int, held: Held) -> ModelJob | None:
        """The job whose run this is, if it goes on."""
        job = self.jobs.get(held.id)
        fits = job is not None and job.state is JobState.RUNNING and (job.token, job.session) == (held.token, session)
        return job if fits else None

    def mark(self, session: int, marks: list[Held]) -> list[Held]:
        """Runs have begun; those that are refused."""
        for held in marks:
            job = self.runs(session, held)
            if job is not None and job.started_ms is None:
                job.started_ms = self.now_ms
        return [held for held in marks if self.runs(session, held) is None]

    def finish(self, outcome: Outcome) -> str:
        """What one outcome is: applied, again, stale, quarantined, or either (applied before, or stale).

        Either: something else changed or ended the job after it was applied; nothing comes of it in any case.
        """
        job, kind = self.jobs.get(outcome.held.id), outcome.kind
        if job is None:
            return "either"
        if job.token != outcome.held.token:
            return "stale"
        if job.state is JobState.RUNNING or (job.state is JobState.ASSIGNED and kind is OutcomeKind.HANDED_BACK):
            job.done = kind
            return self.end_run(job, kind, outcome.delay_s, outcome.result)
        if job.done is not kind:
            return "stale"
        return "either" if job.touched else "again"

    def end_run(self, job: ModelJob, kind: OutcomeKind, delay_s: float = 0.0, result: bytes | None = None) -> str:
        """A run has ended so."""
        ran, what = job.state is JobState.RUNNING, "applied"
        if kind is OutcomeKind.LOST and job.losses == 2:
            job.losses, what = 3, "quarantined"
            self.finish_as(job, JobState.FAILED)
        elif job.cancel_asked and kind in AGAIN:
            self.settle(job, OutcomeKind.CANCELLED)
        elif job.new.at_most_once and job.step is Step.HANDLE and kind in AGAIN and kind is not OutcomeKind.HANDED_BACK:
            self.settle(job, OutcomeKind.LOST if kind is OutcomeKind.LOST else OutcomeKind.FAILED)
        elif kind in AGAIN and not (job.step is Step.FAILED_HOOK and kind is OutcomeKind.RETRY):
            self.run_again(job, kind, delay_s)
        else:
            self.settle(job, kind, result)
        if ran and job.state is not JobState.COMPLETED:
            job.history.append((job.token, job.started_ms, self.now_ms))
        return what

    def run_again(self, job: ModelJob, kind: OutcomeKind, delay_s: float) -> None:
        """A job is ready or delayed again."""
        job.attempts += kind is OutcomeKind.RETRY
        job.losses += kind is OutcomeKind.LOST
        later = kind in {OutcomeKind.RETRY, OutcomeKind.SNOOZED}
        if later:
            self.due(job, delay_s)
        job.leave(JobState.DELAYED if later and delay_s > 0 else JobState.READY)

    def settle(self, job: ModelJob, kind: OutcomeKind, result: bytes | None = None) -> None:
        """handle() is over for good, or failed() is."""
        if job.step is Step.FAILED_HOOK:
            self.finish_as(job, JobState.FAILED)
            return
        if kind is OutcomeKind.CANCELLED:
            self.finish_as(job, JobState.CANCELLED)
            return
        job.losses += kind is OutcomeKind.LOST
        job.attempts += kind is not OutcomeKind.LOST
        if kind is OutcomeKind.COMPLETED:
            self.finish_as(job, JobState.COMPLETED)
            if job.new.result_ttl_s > 0:
                job.result, job.result_until_ms = result, self.now_ms + round(job.new.result_ttl_s * 1000)
        elif job.new.has_failed_hook:
            job.step = Step.FAILED_HOOK
            self.due(job)
            job.leave(JobState.READY)
        else:
            self.finish_as(job, JobState.FAILED)

    def release(self, session: int) -> tuple[int, int, int, set[str]]:
        """End a session: handed back, lost, in doubt; quarantined."""
        told: Counter[str] = Counter()
        quarantined: set[str] = set()
        for job in self.held(session) if session in self.sessions else []:
            what = self.release_one(job)
            told[what] += 1
            if job.state is JobState.FAILED and job.losses >= 3:
                quarantined.add(job.new.id)
        self.sessions.pop(session, None)
        return told["back"], told["lost"], told["doubt"], quarantined

    def release_one(self, job: ModelJob) -> str:
        """What the end of its session is for a job."""
        if job.state is JobState.RUNNING and job.started_ms is not None:
            self.end_run(job, OutcomeKind.LOST)
            return "lost"
        what = "back"
        if job.state is JobState.RUNNING and not job.cancel_asked and not job.doubts and not job.new.at_most_once:
            job.doubts, what = 1, "doubt"
        self.end_run(job, OutcomeKind.HANDED_BACK)
        return what

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
            self.free(job.new)
            del self.jobs[job.new.id]
            self.gone.add(job.new.id)
        return len(jobs)

    def may_retry(self, job: ModelJob) -> bool:
        """Nobody else holds the key that an operator's retry would take again."""
        return job.new.unique_until is not UniqueUntil.DONE or self.holder(job.new.unique) is None

    def retry(self, job: ModelJob) -> None:
        """An operator's retry."""
        job.touched = True
        job.state, job.step, job.attempts, job.losses, job.doubts = JobState.READY, Step.HANDLE, 0, 0, 0
        job.expires_ms = None
        job.history.append((job.token, None, self.now_ms))
        self.due(job)
        if job.new.unique_until is UniqueUntil.DONE:
            self.hold(job.new)

    def counts(self, queue: str) -> QueueCounts:
        """The queue's counts."""
        now = {state: len(self.of(state, queue=queue)) for state in JobState}
        ended = {state: self.ended.get((queue, state), 0) for state in JobState}
        return QueueCounts(queue, now[JobState.DELAYED], now[JobState.READY], now[JobState.ASSIGNED],
                           now[JobState.RUNNING], now[JobState.FAILED], ended[JobState.COMPLETED],
                           ended[JobState.CANCELLED], queue in self.paused, *self.limits.get(queue, QueueLimits()))

"""What the store's conformance tests are written with: one rig holds a store, its clock, and a leader's epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from callboard.core.errorrecord import decode_error, encode_error
from callboard.core.records import (
    Assignment,
    AssignReceipt,
    Epoch,
    ErrorRecord,
    FinishReceipt,
    Held,
    IsolatedAssignment,
    JobState,
    NewJob,
    NodeInfo,
    Outcome,
    OutcomeKind,
    Plan,
    PoolReport,
    QueueCounts,
    QueueShare,
    SessionId,
    TakenJob,
    TermClaim,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.ports import JobStore
    from callboard.core.retention import Retention

BOOM = encode_error(ErrorRecord("ValueError", "boom"))
WAIT_S = 20.0
"""Deadline of whatever a test waits for; far more than it takes."""


class FakeClock:
    """Both clocks stand still until a test moves them."""

    def __init__(self) -> None:
        self.boot = 5_000.0
        self.wall = 1_700_000_000.0

    def boot_s(self) -> float:
        return self.boot

    def wall_s(self) -> float:
        return self.wall

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.boot += seconds
        self.wall += seconds

    def jump_wall(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.wall += seconds


@dataclass
class Settings:
    """How a test wants its store."""

    max_jobs: int | None = None
    retention: Retention | None = None


@dataclass
class Place:
    """One store's data, and how to open it: memory gives the same object again, the others a second client.

    Attributes:
        shared: two store objects on the same data are two clients.
        close: takes the data away, once all clients are closed.
        own_clock: its time is a server's, which no wall clock of a node's machine moves.
    """

    name: str
    open: Callable[[], JobStore]
    shared: bool
    close: Callable[[], None] = lambda: None
    own_clock: bool = False


@dataclass
class Rig:
    """A store under test."""

    place: Place
    clock: FakeClock
    make: Callable[[Settings], Rig]
    opened: list[JobStore] = field(default_factory=list)
    _epoch: Epoch | None = None

    @property
    def store(self) -> JobStore:
        """The store."""
        return self.opened[0] if self.opened else self.another()

    def another(self) -> JobStore:
        """A second client of the same data."""
        store = self.place.open()
        self.opened.append(store)
        return store

    def fresh(self, **settings: object) -> Rig:
        """Another, empty store of the same kind."""
        return self.make(Settings(**settings))

    # The leader ---------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> Epoch:
        """The leader's epoch; the first term begins at its first use."""
        if self._epoch is None:
            self._epoch = self.store.begin_term(claim())
        return self._epoch

    def depose(self, number: int = 2, owner: str = "boot-2") -> Epoch:
        """Begin another term; returns the old epoch."""
        old = self.epoch
        self._epoch = self.store.begin_term(claim(number, owner))
        return old

    def assign(self, session: SessionId, count: int = 1, queue: str = "q", pool: str | None = None) -> AssignReceipt:
        """One assignment."""
        return self.store.assign(self.epoch, Plan((Assignment(session, pool or queue, queue, count),)))

    def assign_alone(self, session: SessionId, job_id: str, queue: str = "q") -> AssignReceipt:
        """Assign an isolated job, as the survey names it."""
        (job,) = [one for one in self.store.survey(self.epoch, 100).isolated if one.id == job_id]
        return self.store.assign(self.epoch, Plan(isolated=(IsolatedAssignment(session, queue, job),)))

    def look(self) -> AssignReceipt:
        """An empty plan: the leader finds nothing to do.

        The first look may find that jobs came since the last one, and ring; after the second one the leader waits.
        """
        self.store.assign(self.epoch, Plan())
        return self.store.assign(self.epoch, Plan())

    def end(self, session: SessionId, reason: str = "no heartbeat"):
        """End a session."""
        return self.store.end_session(self.epoch, session, reason)

    # Nodes --------------------------------------------------------------------------------------------------------

    def node(self, name: str = "n1", *queues: str, capacity: int = 10, boot_id: str | None = None) -> SessionId:
        """Open a session with one pool for each queue ("q" if none is given)."""
        return self.store.open_session(info(name, boot_id), 5.0, pools(*queues or ("q",), capacity=capacity))

    def take(self, session: SessionId, *queues: str, holding: tuple[Held, ...] | None = None) -> tuple[TakenJob, ...]:
        """Take what is assigned."""
        return self.store.take(session, queues or ("q",), holding)

    def get(self, session: SessionId, count: int = 1, queue: str = "q") -> tuple[TakenJob, ...]:
        """Assign and take exactly `count` jobs; whether they begin is not known."""
        self.assign(session, count, queue)
        jobs = self.take(session, queue)
        assert len(jobs) == count, f"{len(jobs)} of {count} jobs taken"
        return jobs

    def get_one(self, session: SessionId, queue: str = "q") -> TakenJob:
        """Assign and take one job; whether it begins is not known."""
        return self.get(session, 1, queue)[0]

    def begin(self, session: SessionId, *jobs: TakenJob) -> None:
        """Let jobs that were taken begin: the store hears of it."""
        assert self.store.mark_started(session, [held(one) for one in jobs]) == ()

    def run(self, session: SessionId, count: int = 1, queue: str = "q") -> tuple[TakenJob, ...]:
        """Assign and take exactly `count` jobs, and begin them."""
        jobs = self.get(session, count, queue)
        self.begin(session, *jobs)
        return jobs

    def run_one(self, session: SessionId, queue: str = "q") -> TakenJob:
        """Assign, take and begin one job."""
        return self.run(session, 1, queue)[0]

    def run_alone(self, session: SessionId, job_id: str) -> TakenJob:
        """Assign, take and begin an isolated job."""
        self.assign_alone(session, job_id)
        (job,) = self.take(session)
        self.begin(session, job)
        return job

    def finish(self, session: SessionId, job: TakenJob | Held, kind: OutcomeKind = OutcomeKind.COMPLETED, *,
               delay_s: float = 0.0, error: bytes | None = None, result: bytes | None = None) -> FinishReceipt:
        """One outcome."""
        return self.store.finish(session, [Outcome(held(job), kind, delay_s, error, result)])

    def succeed(self, session: SessionId, job: TakenJob, kind: OutcomeKind = OutcomeKind.COMPLETED, *,
                delay_s: float = 0.0, error: bytes | None = None, result: bytes | None = None) -> None:
        """One outcome that must be applied."""
        receipt = self.finish(session, job, kind, delay_s=delay_s, error=error, result=result)
        assert receipt == FinishReceipt(1, ())

    # Jobs ---------------------------------------------------------------------------------------------------------

    def push(self, *ids: str, **options: object):
        """Push jobs of these ids."""
        return self.store.push([job(one, **options) for one in ids])

    def state(self, job_id: str) -> JobState | None:
        """The job's state, or None."""
        record = self.store.job(job_id)
        return None if record is None else record.state

    def record(self, job_id: str):
        """The job, which must be there."""
        record = self.store.job(job_id)
        assert record is not None, f"job {job_id} is gone"
        return record

    def counts(self, queue: str = "q") -> QueueCounts:
        """The queue's counts."""
        (counts,) = self.store.counts([queue])
        return counts

    def error_kind(self, job_id: str) -> str:
        """The kind of the job's recorded error."""
        error = self.record(job_id).error
        assert error is not None
        return decode_error(error).kind

    def lose(self, job_id: str, times: int, *, hook: bool = False) -> None:
        """Let nodes die under a job that is ready, so many times."""
        for number in range(times):
            session = self.node(f"doomed-{job_id}-{hook}-{number}", capacity=1)
            if self.record(job_id).losses >= 2:
                self.run_alone(session, job_id)
            else:
                assert [one.id for one in self.run(session)] == [job_id]
            assert self.end(session).lost == 1


def claim(number: int = 1, owner: str = "boot-1", cluster_id: str = "c1", backend: str = "memory") -> TermClaim:
    """How a leader introduces itself."""
    return TermClaim(cluster_id, backend, number, owner)


def info(name: str, boot_id: str | None = None) -> NodeInfo:
    """A node."""
    return NodeInfo(name, boot_id or f"boot-of-{name}", "host-1", 4711, "0.1.0")


def pools(*queues: str, capacity: int = 10) -> tuple[PoolReport, ...]:
    """One pool for each queue."""
    return tuple(PoolReport(queue, (QueueShare(queue),), capacity, capacity) for queue in queues)


def job(job_id: str, queue: str = "q", **options: object) -> NewJob:
    """A job."""
    return NewJob(job_id, "app.work", queue, b"\x81\xa1a\x80", **options)


def held(job: TakenJob | Held) -> Held:
    """What names the row."""
    return Held(job.ref, job.id, job.token)


def ids(jobs) -> list[str]:
    """Ids of jobs."""
    return [one.id for one in jobs]

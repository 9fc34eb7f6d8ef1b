"""Leader, node and child in one: takes jobs through the store's contract, and runs them in this process."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.executors.runjob import Ending, Runs
from callboard.backends.store.memory import MemoryStore
from callboard.core.assignment import Credits, plan
from callboard.core.errors import CodecError
from callboard.core.job import enter_job, leave_job
from callboard.core.records import (
    Held,
    NodeInfo,
    Outcome,
    OutcomeKind,
    PoolReport,
    QueueShare,
    Step,
    TakenJob,
    TermClaim,
)
from callboard.core.registry import decode_body
from callboard.core.runs import EndKind, RunEnd
from callboard.core.schedule import due, tick_job_id
from callboard.core.verdict import QueueDefaults, outcome_of
from callboard.testing.report import Report, Run, RunOutcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from callboard.core.records import Epoch, NewJob, PushReceipt, Token
    from callboard.testing.clock import FakeClock

RUNS_MAX: Final = 10_000
"""Runs of one drain without `max_jobs`; more is taken for jobs that push each other for ever."""
_NAME: Final = "testing"
_PROMOTE_MAX: Final = 1_000
_SESSION_TTL_S: Final = 3_600.0
_DEFAULTS: Final = QueueDefaults()
_OUTCOMES: Final[dict[OutcomeKind, RunOutcome]] = {
    OutcomeKind.COMPLETED: "completed",
    OutcomeKind.RETRY: "retried",
    OutcomeKind.FAILED: "failed",
    OutcomeKind.SNOOZED: "snoozed",
    OutcomeKind.CANCELLED: "cancelled",
}


class RecordingStore(MemoryStore):
    """A memory store that remembers what was pushed to it.

    Attributes:
        pushed: jobs in the order in which they were written, with those of cron entries.
    """

    def __init__(self, clock: FakeClock, max_jobs: int) -> None:
        """An empty store, with the leader and node that run its jobs."""
        super().__init__(max_jobs=max_jobs, clock=clock)
        self.clock = clock
        self.pushed: list[NewJob] = []
        self._known: set[str] = set()
        self.engine = Engine(self, clock)

    def push(self, jobs: Sequence[NewJob]) -> PushReceipt:
        """As a memory store; known ids and held unique keys are not recorded again."""
        receipt = super().push(jobs)
        self._record([job for job, job_id in zip(jobs, receipt.ids, strict=True) if job.id == job_id])
        return receipt

    def fire_tick(self, epoch: Epoch, schedule: str, last_tick_ms: int, tick_ms: int, jobs: Sequence[NewJob]) -> bool:
        """As a memory store."""
        fired = super().fire_tick(epoch, schedule, last_tick_ms, tick_ms, jobs)
        if fired:
            self._record(jobs)
        return fired

    def _record(self, jobs: Sequence[NewJob]) -> None:
        for job in jobs:
            if job.id not in self._known:
                self._known.add(job.id)
                self.pushed.append(job)


class Engine:
    """Runs what is due in one store, a job at a time. The decisions are those of a node and its leader."""

    def __init__(self, store: RecordingStore, clock: FakeClock) -> None:
        """Become leader, and open a session."""
        self._store = store
        self._clock = clock
        self._epoch = store.begin_term(TermClaim(_NAME, _NAME, 1, _NAME))
        self._session = store.open_session(NodeInfo(_NAME, _NAME), _SESSION_TTL_S, ())
        self._credits = Credits()
        self._progress: list[dict[str, Any]] = []
        self._runs = Runs(_no_note, lambda _token, fields: self._progress.append(fields))

    # The leader

    def next_look_s(self) -> float | None:
        """When the next cron entry is due: seconds since 1970."""
        now_ms = self._store.store_now_ms()
        decisions = [due(row, now_ms) for row in self._store.schedules()]
        looks = [now_ms if decided.steps else decided.next_ms for decided in decisions]
        return min((look_ms / 1000 for look_ms in looks if look_ms is not None), default=None)

    def look(self) -> None:
        """Fire the cron entries that are due now."""
        now_ms = self._store.store_now_ms()
        for row in self._store.schedules():
            for step in due(row, now_ms).steps:
                jobs = [replace(row.job, id=tick_job_id(row.name, step.tick_ms))] if step.fires else []
                self._store.fire_tick(self._epoch, row.name, step.last_tick_ms, step.tick_ms, jobs)

    def next_due_s(self) -> float | None:
        """Seconds until the next delayed job is due; None: none waits."""
        return self._store.promote_due(self._epoch, _PROMOTE_MAX).next_due_s

    def next_job(self, only: Sequence[str] | None) -> TakenJob | None:
        """Assign the next job that is due to this node, and take it. Between queues the real decision turns."""
        while self._store.promote_due(self._epoch, _PROMOTE_MAX).moved == _PROMOTE_MAX:
            pass
        queues = only if only is not None else [row.queue for row in self._store.counts()]
        if not queues:
            return None
        pool = PoolReport(_NAME, tuple(QueueShare(queue) for queue in queues), slots=1, capacity=1)
        self._store.report(self._session, (pool,))
        decided, self._credits = plan(self._store.survey(self._epoch, 1), self._credits, max_batch=1)
        receipt = self._store.assign(self._epoch, decided, self._session)
        return receipt.taken[0] if receipt.taken else None

    # The node

    def drain(self, report: Report, only: Sequence[str] | None, max_jobs: int | None, *, delayed: bool) -> None:
        """Run what is due, and with `delayed` what will be: the clock is moved on to it."""
        ran = 0
        while max_jobs is None or ran < max_jobs:
            job = self._next(only, delayed=delayed)
            if job is None:
                return
            if max_jobs is None and ran == RUNS_MAX:
                self._store.finish(self._session, (Outcome(held_of(job), OutcomeKind.HANDED_BACK),))
                names = ", ".join(sorted({run.name for run in report.runs[-100:]})[:20])
                raise AssertionError(f"{RUNS_MAX:,} jobs ran and there are more: do these push each other, or snooze, "
                                     f"for ever? {names}; with max_jobs=... a drain ends there")
            report.runs.append(self.run(job))
            ran += 1

    def _next(self, only: Sequence[str] | None, *, delayed: bool) -> TakenJob | None:
        job = self.next_job(only)
        while job is None and delayed:
            wait_s = self.next_due_s()
            if wait_s is None or not any(row.delayed for row in self._store.counts(only)):
                return None
            self._clock.advance(wait_s)
            job = self.next_job(only)
        return job

    def run(self, job: TakenJob) -> Run:
        """Run one job here, report its outcome to the store, and say what became of it."""
        self._progress.clear()
        held = held_of(job)
        try:
            ending, exception = self._execute(job)
        except BaseException:  # Ctrl-C, or the test's own end: the job is as good as not started
            self._store.finish(self._session, (Outcome(held, OutcomeKind.HANDED_BACK),))
            raise
        end = RunEnd(job.token, ending.kind, ending.error, ending.permanent, ending.retry_after_s, ending.snooze_s,
                     result=ending.result)
        outcome = outcome_of(end, held, job, _DEFAULTS, draw=0.0)
        run = Run(
            id=job.id, name=job.name, queue=job.queue, arguments=_arguments(job.body), attempt=job.attempt,
            step="handle" if job.step is Step.HANDLE else "failed", outcome=_OUTCOMES[outcome.kind],
            delay_s=outcome.delay_s, error=ending.error, exception=exception, progress=tuple(self._progress),
        )
        self._store.finish(self._session, (outcome,))  # last: from here on another thread may run the next one
        return run

    def _execute(self, job: TakenJob) -> tuple[Ending, BaseException | None]:
        timeout_s = _DEFAULTS.timeout_s if job.timeout_s is None else job.timeout_s
        begun = self._runs.begin(job, round(self._clock.boot_s() * 1e9), timeout_s)
        if isinstance(begun, Ending):
            return begun, None
        mark = enter_job(begun.context)
        try:
            returned = begun.call()
            begun.returned(_wait_for(returned) if inspect.isawaitable(returned) else returned)
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # noqa: BLE001 - user code may raise anything
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next  # without this function, as a child would show it
            return self._runs.judge(begun, error), error
        finally:
            leave_job(mark)
        return Ending(EndKind.COMPLETED, result=begun.result), None


def _no_note(_event: str, _token: Token | None, _fields: dict[str, Any]) -> None:
    """A retry_after that raised: the job's backoff holds, as on a node."""


def _arguments(body: bytes) -> dict[str, Any]:
    """What a job was given; nothing where that can't be read (then the job fails for good, and its error says so)."""
    try:
        return decode_body(body)[0]
    except CodecError:
        return {}


def held_of(job: TakenJob) -> Held:
    """The row's name."""
    return Held(job.ref, job.id, job.token)


def _wait_for(returned: Awaitable[Any]) -> Any:
    """Run an async job to its end, what it returns; on a thread of its own where a loop runs here already."""

    async def work() -> Any:
        return await returned

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    results: list[Any] = []
    failures: list[BaseException] = []
    context = contextvars.copy_context()

    def target() -> None:
        try:
            results.append(context.run(asyncio.run, work()))
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            failures.append(error)

    thread = threading.Thread(target=target, name="callboard-testing")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]

"""Queues for tests: one that waits for `drain`, and one that runs its jobs when they are pushed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from callboard.core.errors import InvalidArgument
from callboard.queue import DEFAULT_QUEUE, Queue, stand_in
from callboard.testing.clock import FakeClock
from callboard.testing.engine import RecordingStore
from callboard.testing.report import Report

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from callboard.core.job import Job
    from callboard.jobs import BoundJob

MAX_JOBS: Final = 100_000
"""Jobs that may wait at once in a queue for tests."""


def memory_queue(clock: FakeClock | None = None, *, name: str = DEFAULT_QUEUE, max_jobs: int = MAX_JOBS) -> Queue:
    """A queue in this process's memory, with a store of its own; its jobs wait for `drain`.

    Args:
        clock: by which jobs are due and schedules fire; a new one that stands still unless given.
        name: where jobs wait whose push and class name no queue.
        max_jobs: a push beyond so many waiting jobs raises QueueFull.
    """
    store = RecordingStore(FakeClock() if clock is None else clock, max_jobs)
    store.clock.watch(store.engine)
    return Queue(store, "memory://testing", name)


@contextmanager
def as_default(queue: Queue) -> Generator[Queue]:
    """Let this queue stand for the default one meanwhile: for `function.push`, `driver()` and `default_queue()`.

    It counts for the whole process, and over `configure` and the environment; `connect(url)` is left alone.
    """
    before = stand_in(queue)
    try:
        yield queue
    finally:
        stand_in(before)


def drain(queue: Queue, *, max_jobs: int | None = None, delayed: bool = False) -> Report:
    """Run what is due now, in this process and thread, and what these jobs push, until nothing is due.

    Jobs go through the store as on a node, with the same decisions: priorities, attempts, backoff (without its jitter:
    the longest), permanent errors, RetryLater, Snooze, unique keys, `failed()`. Timeouts are not enforced.

    Args:
        queue: of `memory_queue`; after `named`, the jobs of that name alone.
        max_jobs: stop after so many runs.
        delayed: run also what is due later; the queue's clock is moved on to it.

    Returns:
        What ran, and what became of it.

    Raises:
        InvalidArgument: Raised when the queue is none of `callboard.testing`.
        AssertionError: Raised when 10,000 jobs ran and there are more, and no max_jobs was given.
    """
    report = Report()
    store_of(queue).engine.drain(report, queue.only, max_jobs, delayed=delayed)
    return report


def store_of(queue: Queue) -> RecordingStore:
    """The store of a queue for tests.

    Raises:
        InvalidArgument: Raised when it is another.
    """
    store = queue.store
    if not isinstance(store, RecordingStore):
        raise InvalidArgument(f"{queue!r} is no queue for tests: make one with callboard.testing.memory_queue() or "
                              "callboard.testing.inline()")
    return store


class InlineQueue(Queue):
    """Runs each job, and what it pushes, before `push` returns.

    Attributes:
        report: all runs so far.
    """

    def __init__(self, store: RecordingStore, name: str, *, whole: bool = True, report: Report | None = None) -> None:
        """Begin with an empty report, unless one is shared."""
        super().__init__(store, "memory://inline", name, whole=whole)
        self.report = Report() if report is None else report

    def named(self, name: str) -> InlineQueue:
        """The same with another default queue; the report is shared."""
        return InlineQueue(store_of(self), name, whole=False, report=self.report)

    def push(self, job: Job | BoundJob, **options: Any) -> str:
        """As Queue.push; the job has run when this returns. Never raises what the job raised: see `report`."""
        job_id = super().push(job, **options)
        self._run()
        return job_id

    def push_many(self, jobs: Iterable[Job | BoundJob], *, ids: Iterable[str] | None = None,
                  **options: Any) -> list[str]:
        """As Queue.push_many; the jobs have run when this returns."""
        pushed = super().push_many(jobs, ids=ids, **options)
        self._run()
        return pushed

    def _run(self) -> None:
        """Run what waits. One job runs at a time: from within a job nothing is run here, but by who runs that job."""
        store_of(self).engine.drain(self.report, None, None, delayed=True)


@contextmanager
def inline(*, allow_failures: bool = False) -> Generator[InlineQueue]:
    """Run jobs at once when they are pushed; meanwhile this is the default queue.

    A job runs on the pushing thread, through the same store and decisions as `drain`. Nothing is waited for: delays and
    the time before a retry are skipped (and stand in the report). What a job pushes runs when that job has ended.
    `push` returns the id whatever becomes of the job, as it does in production.

    Args:
        allow_failures: leave it to the test to look at `queue.report`.

    Yields:
        The queue; `queue.report` has the runs.

    Raises:
        AssertionError: Raised at the end of the block when a job failed for good or its failed() raised, unless
            allow_failures; its cause is the job's exception.
    """
    queue = InlineQueue(RecordingStore(FakeClock(), MAX_JOBS), DEFAULT_QUEUE)
    with as_default(queue):
        yield queue
    if not allow_failures:
        bad = {run.id for run in [*queue.report.failed, *queue.report.failed_hooks]}
        Report([run for run in queue.report.runs if run.id in bad]).assert_no_failures()

"""The Queue: what a program pushes to."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from callboard.backends.clock import SystemClock
from callboard.core.due import DUE_TOPIC, due_soon
from callboard.core.errors import InvalidArgument, UnknownOption
from callboard.core.health import DEFAULT_THRESHOLDS, QueueHealth, QueueStats, Thresholds, health_of, stats_of
from callboard.core.job import Job
from callboard.core.options import JobOptions, did_you_mean, name_of, parse_options
from callboard.core.registry import JobDefinition, fields_of, registry
from callboard.drivers import redis_address
from callboard.failed import FailedList
from callboard.jobs import BoundJob, FunctionJob
from callboard.pushing import build_job
from callboard.results import await_result, wait_result
from callboard.stores import TABLE, canonical_url, mask_url, open_store, with_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from callboard.core.ports import JobStore
    from callboard.core.records import NewJob, PushReceipt

DEFAULT_QUEUE = "default"
DRIVERS = ("default", "memory", "database", "redis")
PUSH_MANY_BATCH = 500
"""Jobs in one transaction of push_many: measured as fast as larger ones, and short for others who write."""


@runtime_checkable
class _Joining(Protocol):
    """A store that can push in a transaction of the caller's own."""

    def push_within(self, jobs: Sequence[NewJob], connection: object) -> PushReceipt:
        """Push what is there when the connection commits."""
        ...


def _refuse_connection(options: dict[str, Any]) -> None:
    if options.get("connection") is not None:
        raise InvalidArgument("push(connection=) goes on in the thread whose transaction it is: not from apush")


class Queue:
    """Pushes jobs into a store. Cheap to make; safe to share between threads.

    Args:
        store: an opened store.
        url: its address, for a node that is started for this queue.
        name: where jobs wait whose push and class name no queue.
        whole: stats speak of the whole store, not of this name alone.
    """

    def __init__(self, store: JobStore, url: str, name: str = DEFAULT_QUEUE, *, whole: bool = True) -> None:
        """Keep the store; `connect` and `driver` make queues from addresses."""
        self.store = store
        self.url = url
        self.name = name_of(name, "queue")
        self._whole = whole

    @property
    def only(self) -> list[str] | None:
        """The queue's name that its stats speak of; None: all of the store."""
        return None if self._whole else [self.name]

    def named(self, name: str) -> Queue:
        """The same store with another default queue; its stats speak of that queue alone."""
        return Queue(self.store, self.url, name, whole=False)

    def push(self, job: Job | BoundJob, *, connection: object = None, **options: Any) -> str:
        """Write a job into the store; durable when this returns.

        Args:
            job: a Job instance, or `function_job.bind(...)`.
            connection: on a SQL store: the job is part of the transaction that this connection is in, and never was if
                that is rolled back. A Session or Connection of SQLAlchemy's, Django's connection, or the driver's.
            options: queue, delay, max_attempts, timeout, retry_after, priority (-100 to 100, higher first), unique (a
                key or a Unique: at most one job holds it, and its id is returned), headers (dict of strings), tags (up
                to 20 strings), at_most_once, expires and result_ttl (seconds or timedelta), id.

        Returns:
            The job's id.

        Raises:
            UnknownOption: Raised when an option has no such name.
            InvalidArgument: Raised when a value is out of range, or an argument is no plain data.
            QueueFull: Raised when a bound is reached.
            PushOutcomeUnknown: Raised when no reply came: push again with `id=error.job_id`.
        """
        return self._write((self.prepare(job, options),), connection)[0]

    def later(self, delay: float | timedelta, job: Job | BoundJob, **options: Any) -> str:
        """Push a job to be run after `delay` seconds (or timedelta), by the store's clock. Raises as push."""
        return self.push(job, delay=delay, **options)

    def push_many(self, jobs: Iterable[Job | BoundJob], *, ids: Iterable[str] | None = None, connection: object = None,
                  **options: Any) -> list[str]:
        """Push jobs in batches of 500, each batch all or none; their ids in order. Raises as push.

        Args:
            jobs: Job instances, or `function_job.bind(...)`.
            ids: one for each job, so that all can be pushed again; new ones unless given.
            connection: as for push.
            options: as for push, without id; they hold for every job.
        """
        if options.get("id") is not None:
            raise InvalidArgument("push_many can't give one id to several jobs: give it ids=[...], one for each")
        all_jobs = list(jobs)
        each = [options] * len(all_jobs) if ids is None else [{**options, "id": job_id} for job_id in ids]
        if len(each) != len(all_jobs):
            raise InvalidArgument(f"push_many got {len(all_jobs):,} jobs and {len(each):,} ids: give one for each")
        new: list[NewJob] = [self.prepare(job, given) for job, given in zip(all_jobs, each, strict=True)]
        written: list[str] = []
        for start in range(0, len(new), PUSH_MANY_BATCH):
            written += self._write(new[start : start + PUSH_MANY_BATCH], connection)
        return written

    def _write(self, jobs: Sequence[NewJob], connection: object = None) -> tuple[str, ...]:
        if connection is not None:
            if not isinstance(self.store, _Joining):
                raise InvalidArgument(f"{mask_url(self.url)} can't take part in a transaction of yours: "
                                      "push(connection=) is for stores on SQL")
            return self.store.push_within(jobs, connection).ids
        ids = self.store.push(jobs).ids
        if due_soon(job.delay_s for job in jobs):
            self.store.ring(DUE_TOPIC)
        return ids

    def prepare(self, job: Job | BoundJob, options: dict[str, Any]) -> NewJob:
        """What a push would write, checked; for who pushes later, as a schedule does. Raises as push."""
        definition, arguments = _what(job)
        return new_job(definition, arguments, options, self.name)

    async def apush(self, job: Job | BoundJob, **options: Any) -> str:
        """As push, for asyncio: the loop goes on meanwhile. Not with a connection: its transaction is this thread's."""
        _refuse_connection(options)
        return await asyncio.to_thread(lambda: self.push(job, **options))

    async def alater(self, delay: float | timedelta, job: Job | BoundJob, **options: Any) -> str:
        """As later, for asyncio."""
        _refuse_connection(options)
        return await asyncio.to_thread(lambda: self.later(delay, job, **options))

    async def apush_many(self, jobs: Iterable[Job | BoundJob], *, ids: Iterable[str] | None = None,
                         **options: Any) -> list[str]:
        """As push_many, for asyncio."""
        _refuse_connection(options)
        return await asyncio.to_thread(lambda: self.push_many(jobs, ids=ids, **options))

    def result(self, job_id: str, timeout: float | timedelta | None = None) -> Any:
        """What a job returned, waited for; a result is kept for the job's `result_ttl` (an hour unless it says).

        Args:
            job_id: what the push returned.
            timeout: seconds or timedelta; None waits without an end, 0 only looks.

        Raises:
            JobFailed: Raised when it failed for good, or was cancelled; says why, as text.
            ResultTimeout: Raised when it has not ended in time (also a TimeoutError); it goes on.
            ResultLost: Raised when it completed and its result is not kept, or not any more.
            NotFound: Raised when the store has no job of that id.
        """
        return wait_result(self.store, job_id, timeout)

    async def aresult(self, job_id: str, timeout: float | timedelta | None = None) -> Any:  # noqa: ASYNC109 - as `result`
        """As result, for asyncio: the loop goes on meanwhile."""
        return await await_result(self.store, job_id, timeout)

    @property
    def failed(self) -> FailedList:
        """The failed list: `list`, `retry`, `forget`, `flush`."""
        return FailedList(self)

    def stats(self) -> QueueStats:
        """Counts of jobs; of one queue after `named`, else of the whole store."""
        return stats_of(self.store.counts(self.only))

    def health(self, thresholds: Thresholds | None = None) -> QueueHealth:
        """`healthy`, `warning` or `critical`, with the stats it was judged by."""
        return health_of(self.stats(), thresholds or DEFAULT_THRESHOLDS)

    def close(self) -> None:
        """Close the store's connections."""
        self.store.close()

    def __repr__(self) -> str:
        """The address without its password."""
        return f"<Queue {self.name!r} on {mask_url(self.url)}>"


def new_job(definition: JobDefinition, arguments: dict[str, Any], given: dict[str, Any], queue: str) -> NewJob:
    """A checked job for the store: the push's options over the class's."""
    options = (parse_options(given) if given else _NO_OPTIONS).over(definition.options)
    return build_job(definition.name, arguments, options, given.get("id"), queue,
                     has_failed_hook=definition.has_failed_hook)


_NO_OPTIONS = JobOptions()


def _what(job: object) -> tuple[JobDefinition, dict[str, Any]]:
    if isinstance(job, Job):
        return registry.definition_of(job), fields_of(job)
    if isinstance(job, BoundJob):
        return job.definition, job.arguments
    if isinstance(job, type):
        raise InvalidArgument(f"push an instance: {job.__name__}(...), not the class")
    if isinstance(job, FunctionJob):
        raise InvalidArgument("push a function job with its arguments: queue.push(function.bind(...)), or "
                              "function.push(...)")
    raise InvalidArgument(f"{type(job).__name__} is no job: derive a class from callboard.Job, or decorate a function "
                          "with @callboard.job")


# Where queues come from -----------------------------------------------------------------------------------------------

_lock = threading.Lock()
_open: dict[tuple[int, str], Queue] = {}
_default: str | None = None
_stand_in: Queue | None = None


def connect(url: str, *, queue: str = "", max_jobs: int | None = None) -> Queue:
    """A queue by its store's address: `memory://` or `sqlite:///jobs.db`. The same address gives the same connections.

    Args:
        url: the store's address; a relative path is taken from the working directory.
        queue: the default queue's name; given, stats speak of it alone.
        max_jobs: bound of a memory store that is made now.

    Raises:
        UnknownOption: Raised when the address is none of ours.
        StoreUnavailable: Raised when the store can't be reached.
    """
    full = canonical_url(url)
    key = (os.getpid(), full)
    with _lock:
        if key not in _open:
            store = open_store(full, SystemClock(), **({} if max_jobs is None else {"max_jobs": max_jobs}))
            _open[key] = Queue(store, full)
        found = _open[key]
    return found.named(queue) if queue else found


def configure(url: str) -> Queue:
    """Make this address the default queue's, for `function.push` and `driver()`; the queue."""
    global _default  # noqa: PLW0603 - the process's one default, set by its program
    made = connect(url)
    _default = made.url
    return made


def stand_in(queue: Queue | None) -> Queue | None:
    """Let this queue stand for the default one until None does, for `callboard.testing`; who stood there before."""
    global _stand_in
    before, _stand_in = _stand_in, queue
    return before


def default_queue() -> Queue:
    """The queue of `configure`, else of the environment, else SQLite in the working directory."""
    if _stand_in is not None:
        return _stand_in
    return driver() if _default is None else connect(_default)


def driver(name: str = "default", *, queue: str | None = None) -> Queue:
    """A queue by its driver's name, configured by `QUEUE_*` variables (docs/guide has them all).

    Args:
        name: default, memory, database or redis; `QUEUE_DRIVER` says what default is (else database, on SQLite).
        queue: another default queue.

    Raises:
        UnknownOption: Raised when no driver has that name.
    """
    if name == "default":
        if _stand_in is not None:
            return _stand_in.named(queue) if queue else _stand_in
        if _default is not None:
            return connect(_default, queue=queue or "")
        name = os.environ.get("QUEUE_DRIVER", "database")
        if name == "default":
            name = "database"
    if name not in DRIVERS:
        raise UnknownOption(f"no driver is named {name!r}{did_you_mean(name, DRIVERS)}; the drivers are "
                            f"{', '.join(DRIVERS)}; for another queue use driver(queue={name!r})")
    return _DRIVERS[name](queue)


def _memory_driver(queue: str | None) -> Queue:
    max_jobs = os.environ.get("QUEUE_MEMORY_MAX_JOBS", "1000")
    if not max_jobs.isdecimal() or int(max_jobs) < 1:
        raise InvalidArgument(f"QUEUE_MEMORY_MAX_JOBS must be a whole number above 0, not {max_jobs!r}")
    return connect("memory://", queue=queue or "", max_jobs=int(max_jobs))


def _database_driver(queue: str | None) -> Queue:
    url = os.environ.get("QUEUE_DATABASE_CONNECTION", "default")
    if url == "default":
        url = os.environ.get("CALLBOARD_STORE", "sqlite:///callboard.db")
    url = with_table(url, os.environ.get("QUEUE_DATABASE_TABLE", TABLE))
    return connect(url, queue=queue or os.environ.get("QUEUE_DATABASE_QUEUE", ""))


def _redis_driver(queue: str | None) -> Queue:
    return connect(redis_address(os.environ), queue=queue or os.environ.get("QUEUE_REDIS_QUEUE", ""))


_DRIVERS = {"memory": _memory_driver, "database": _database_driver, "redis": _redis_driver}



"""The Worker that a program starts: a handle to a node which serves its queue, with callbacks in the program."""

from __future__ import annotations

import sys
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from callboard.backends.clock import SystemClock
from callboard.core.config import LEASE_TTL_S, SESSION_TTL_S, PoolConfig
from callboard.core.errors import CodecError, InvalidArgument, QueueError, Unavailable
from callboard.core.options import ATTEMPTS_MAX, backoff_of, name_of, seconds, whole
from callboard.core.records import QueueShare
from callboard.core.registry import decode_body, registry
from callboard.handle import InProcessNode, NodeHandle, ProcessNode
from callboard.settings import EXECUTORS, SLOTS_MAX, NodeSettings, default_node_name
from callboard.stores import open_cluster, scheme_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta
    from types import TracebackType

    from callboard.queue import Queue


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How a Worker serves its queues. Times are seconds or timedelta.

    Attributes:
        concurrency: jobs side by side.
        timeout: for jobs that name none.
        sleep: the slow poll that backs up every bell; a push is noticed at once.
        max_attempts: for jobs that name none.
        retry_after: seconds, timedelta or Backoff, for jobs that name none.
        executor: process, thread or asyncio.
        app: modules or script paths that define the jobs; those where registered jobs were defined unless given.
        stop_grace: what a stop leaves running jobs.
        lease_ttl: how long a leader that was killed keeps others from leading: 0.5 to 3,600 seconds.
        session_ttl: how long the jobs of a node that was killed wait before others get them: 0.5 to 3,600 seconds.
        log_level, log_style: of the node's events; see `callboard node --help`.
    """

    concurrency: int = 5
    timeout: float | timedelta = 300
    sleep: float | timedelta = 1
    max_attempts: int = 3
    retry_after: Any = 60
    executor: str = "process"
    app: tuple[str, ...] = ()
    stop_grace: float | timedelta = 30
    lease_ttl: float | timedelta = LEASE_TTL_S
    session_ttl: float | timedelta = SESSION_TTL_S
    log_level: str = "warning"
    log_style: str = "auto"

    def pool(self, queues: Sequence[str]) -> PoolConfig:
        """The pool that this describes. Raises InvalidArgument when a value is out of range."""
        return PoolConfig(
            queues=tuple(QueueShare(name_of(queue, "queue")) for queue in queues),
            slots=whole(self.concurrency, "concurrency", 0, SLOTS_MAX),
            max_attempts=whole(self.max_attempts, "max_attempts", 1, ATTEMPTS_MAX),
            timeout_s=seconds(self.timeout, "timeout", above_zero=True),
            backoff=backoff_of(self.retry_after),
        )


@dataclass(frozen=True, slots=True)
class JobEnd:
    """What a callback learns of a job that ended.

    Attributes:
        payload: the arguments, as plain data; empty when the store no longer has them.
        attempt: the number of the attempt that ended it.
    """

    id: str
    name: str
    queue: str
    attempt: int
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A node's workers now.

    Attributes:
        status: running or stopped.
        total_workers: slots. active_workers: slots with a job in them.
        completed, failed: jobs that ended since the pool's callbacks were set or the worker was started.
    """

    status: str
    total_workers: int
    active_workers: int
    completed: int
    failed: int
    node: str


class WorkerPool:
    """The slots of a node that this program started: callbacks and numbers."""

    def __init__(self, queue: Queue, node: str) -> None:
        """No callbacks yet."""
        self._queue = queue
        self._node = node
        self._on_completed: Callable[[JobEnd], None] | None = None
        self._on_failed: Callable[[JobEnd, QueueError], None] | None = None
        self._counts = {"job.completed": 0, "job.failed": 0}
        self.handle: NodeHandle | None = None

    def set_on_completed(self, callback: Callable[[JobEnd], None]) -> None:
        """Call back after each completed job, on a thread of this program."""
        self._on_completed = callback

    def set_on_failed(self, callback: Callable[[JobEnd, QueueError], None]) -> None:
        """Call back after each job that failed for good, with an error made of strings."""
        self._on_failed = callback

    def stats(self) -> PoolStats:
        """Slots, and how many are at work. Raises Unavailable when the node does not answer."""
        completed, failed = self._counts["job.completed"], self._counts["job.failed"]
        if self.handle is None:
            return PoolStats("stopped", 0, 0, completed, failed, self._node)
        status = self.handle.status()
        slots = sum(pool.slots for pool in status.pools)
        return PoolStats("running", slots, min(len(status.running), slots), completed, failed, self._node)

    def on_event(self, line: dict[str, Any]) -> None:
        """From the node: an event of one job. Errors of a callback are shown, and go no further."""
        event = line["event"]
        if event not in self._counts:
            return
        self._counts[event] += 1
        try:
            if event == "job.completed" and self._on_completed is not None:
                self._on_completed(self._end(line))
            elif event == "job.failed" and self._on_failed is not None:
                error = QueueError(f"{line.get('error_kind', '')}: {line.get('error', '')}", job=line["job"])
                self._on_failed(self._end(line), error)
        except Exception:  # noqa: BLE001 - a callback's error must not end the thread that brings the events
            traceback.print_exc()

    def _end(self, line: dict[str, Any]) -> JobEnd:
        payload: dict[str, Any] = {}
        try:
            record = self._queue.store.job(line["job"])
            if record is not None and record.body:
                payload = decode_body(record.body)[0]
        except (CodecError, Unavailable):
            payload = {}
        return JobEnd(line["job"], line.get("name", ""), line.get("queue", ""), line.get("attempt", 0), payload)


class Worker:
    """Serves a queue by a node of its own: the same engine as `callboard node`, joined to the same cluster.

    Args:
        queue: whose jobs to run.
        config: how.
        queues: names to serve instead of the queue's own; they share the slots.
        node_id: the node's name; host, pid and a number unless given.
    """

    _numbers = 0
    _lock = threading.Lock()

    def __init__(self, queue: Queue, config: WorkerConfig | None = None, *, queues: Sequence[str] | None = None,
                 node_id: str | None = None) -> None:
        """Check everything; nothing is started yet. Raises UsageError."""
        with Worker._lock:
            Worker._numbers += 1
            number = Worker._numbers
        self.queue = queue
        self.config = config or WorkerConfig()
        self.node_id = name_of(node_id or f"{default_node_name()}-{number}", "node_id")
        self._pool_config = self.config.pool(queues or (queue.name,))
        if self.config.executor not in EXECUTORS:
            raise InvalidArgument(f"executor must be one of {', '.join(EXECUTORS)}, not {self.config.executor!r}")
        self.pool = WorkerPool(queue, self.node_id)

    def start(self) -> None:
        """Start the node; returns when it works.

        Raises:
            AppImportFailed: Raised when the node can't import the modules that define the jobs.
            Unavailable: Raised when the store can't be reached.
        """
        if self.pool.handle is not None:
            raise QueueError("this worker has been started already")
        handle = self._make()
        handle.start()
        self.pool.handle = handle

    def stop(self) -> None:
        """Stop gracefully: what runs gets `stop_grace` seconds. Harmless when repeated."""
        handle, self.pool.handle = self.pool.handle, None
        if handle is not None:
            handle.stop(seconds(self.config.stop_grace, "stop_grace"))

    def set_concurrency(self, number: int) -> None:
        """Change the slots while it runs; no job is interrupted."""
        slots = whole(number, "concurrency", 0, SLOTS_MAX)
        self._handle().adjust(slots=slots)

    def set_timeout(self, timeout: float | timedelta) -> None:
        """Change the time limit of jobs that name none, for runs from now on."""
        self._handle().adjust(timeout_s=seconds(timeout, "timeout", above_zero=True))

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Stop."""
        self.stop()

    def _handle(self) -> NodeHandle:
        if self.pool.handle is None:
            raise QueueError("the worker is not running: start() it first")
        return self.pool.handle

    def node_settings(self) -> NodeSettings:
        """What the node is started with. Raises InvalidArgument when no job is registered."""
        return NodeSettings(
            app=self.config.app or app_of_this_program(), store=self.queue.url, pools=(self._pool_config,),
            node=self.node_id, executor=self.config.executor, log_level=self.config.log_level,
            log_style=self.config.log_style, stop_grace_s=seconds(self.config.stop_grace, "stop_grace"),
            poll_s=seconds(self.config.sleep, "sleep", above_zero=True),
            lease_ttl_s=seconds(self.config.lease_ttl, "lease_ttl"),
            session_ttl_s=seconds(self.config.session_ttl, "session_ttl"),
        )

    def _make(self) -> NodeHandle:
        settings = self.node_settings()
        if scheme_of(self.queue.url, "store") == "memory":
            cluster = open_cluster(self.queue.url, SystemClock())
            return InProcessNode(settings, self.queue.store, cluster, self.pool.on_event)
        return ProcessNode(settings, self.pool.on_event)


def app_of_this_program() -> tuple[str, ...]:
    """The modules that define the registered jobs; the running script by its path.

    Raises:
        InvalidArgument: Raised when no job is registered, or they were typed into a shell.
    """
    main = sys.modules.get("__main__")
    script = getattr(main, "__file__", None)
    names: list[str] = []
    for module in sorted(registry.origins()):
        if module not in ("__main__", "__callboard_main__"):
            names.append(module)
        elif script:
            names.append(str(script))
        else:
            raise InvalidArgument("jobs typed into a shell can't be imported by a node: put them into a module")
    if not names:
        raise InvalidArgument("no job is registered: import the modules that define them first")
    return tuple(names)

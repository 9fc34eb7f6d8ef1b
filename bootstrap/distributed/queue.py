"""The DistributedQueue: a queue, and a node of this program's own that serves it in a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Self

from callboard.core.errors import InvalidArgument
from callboard.core.options import name_of, seconds, whole
from callboard.distributed.cluster import Cluster, cluster_from_url
from callboard.queue import DEFAULT_QUEUE, Queue, connect
from callboard.settings import DEFAULT_STORE, SLOTS_MAX, NodeSettings, ttl
from callboard.worker import Worker, WorkerConfig, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from types import TracebackType

    from callboard.core.records import LockToken, NodeInfo

BEATS: Final = 4
"""A node beats so often within a session's ttl."""


@dataclass(frozen=True, slots=True)
class DistributedConfig:
    """A node of a cluster, and the queue that it serves. Times are seconds or timedelta.

    Attributes:
        node_id: the node's name, unique in the cluster; host, pid and a number unless given.
        cluster: a cluster object, or a backend's address; the store's own database unless given.
        store: the address where the jobs are kept.
        queue: where jobs wait whose push and class name no queue.
        queues: what the node serves; `queue` unless given.
        election_timeout: what a leader that was killed costs: the term of a leader without a renewal.
        lock_timeout: how long `lock` holds unless it is told otherwise.
        heartbeat_interval: how often the node says that it lives; its jobs go to others after four times that.
        enable_leader_election: False: this node only works, and never stands for election.
        enable_job_distribution: False: no jobs are distributed to this node: it only stands for election, and leads.
        worker_count: jobs that the node runs side by side.
        max_concurrency: how far `set_concurrency` can raise that.
        worker: the rest of how jobs are run; its concurrency, lease_ttl and session_ttl are not used.
    """

    node_id: str = ""
    cluster: Cluster | str | None = field(default=None, repr=False)
    store: str = field(default=DEFAULT_STORE, repr=False)
    queue: str = DEFAULT_QUEUE
    queues: Sequence[str] = ()
    election_timeout: float | timedelta = 30
    lock_timeout: float | timedelta = 10
    heartbeat_interval: float | timedelta = 5
    enable_leader_election: bool = True
    enable_job_distribution: bool = True
    worker_count: int = 3
    max_concurrency: int = 5
    worker: WorkerConfig = field(default_factory=WorkerConfig)

    def role(self) -> str:
        """The node's role. Raises InvalidArgument when nothing is left for it to do."""
        if not (self.enable_leader_election or self.enable_job_distribution):
            raise InvalidArgument("a node that neither runs jobs nor stands for election has nothing to do: to push "
                                  "only, callboard.connect(store) is enough")
        if not self.enable_job_distribution:
            return "leader"
        return "any" if self.enable_leader_election else "worker"


@dataclass(frozen=True, slots=True)
class DistributedStats:
    """A node and its cluster now.

    Attributes:
        status: running or stopped.
        is_leader: this node holds a trusted term.
        leader: the leading node's name, by the store; None between two terms.
        epoch: the store's number of the leader's term; only grows.
        nodes: nodes with a live session, this one too.
        total_workers, active_workers: this node's slots, and how many of them are at work.
    """

    node_id: str
    status: str
    is_leader: bool
    leader: str | None
    epoch: int
    nodes: int
    total_workers: int
    active_workers: int


class DistributedQueue(Queue):
    """A queue to push to, and a node that serves it: started by `start` as a process of its own; a context manager.

    With a memory store the node runs on threads of this process, and the cluster is in memory too.
    """

    def __init__(self, config: DistributedConfig | None = None) -> None:
        """Check everything; the store is opened, the node not yet started. Raises UsageError, StoreUnavailable."""
        self.config = config or DistributedConfig()
        self._settings = _node_settings(self.config)
        self._lock_timeout_s = seconds(self.config.lock_timeout, "lock_timeout", above_zero=True)
        opened = connect(self.config.store)
        super().__init__(opened.store, opened.url, self.config.queue)
        given, node_id = self.config.cluster, self.config.node_id
        self._owns_cluster = not isinstance(given, Cluster)
        self._cluster = given if isinstance(given, Cluster) else cluster_from_url(given or self.url, node_id)
        self._check_memory()
        workers = whole(self.config.worker_count, "worker_count", 0, self._most())
        self._worker = _NodeWorker(
            Queue(self.store, self.url, self.config.queue), replace(self.config.worker, concurrency=workers),
            queues=self.config.queues or None, node_id=self.config.node_id or None,
        )
        self._worker.own = replace(self._settings, cluster=self._cluster.url)

    def start(self) -> None:
        """Start the node; returns when it works. Raises as `Worker.start`."""
        self._worker.start()

    def stop(self) -> None:
        """Stop the node gracefully: what runs gets the worker's `stop_grace`. Harmless when repeated."""
        self._worker.stop()

    def close(self) -> None:
        """Stop the node, and close a cluster that this object opened. The store stays open: it is shared by address."""
        self.stop()
        if self._owns_cluster:
            self._cluster.close()

    @property
    def node_id(self) -> str:
        """The node's name."""
        return self._worker.node_id

    @property
    def cluster(self) -> Cluster:
        """The cluster object."""
        return self._cluster

    @property
    def worker_pool(self) -> WorkerPool:
        """The node's slots: callbacks and numbers."""
        return self._worker.pool

    def set_concurrency(self, number: int) -> None:
        """Change how many jobs run side by side, up to max_concurrency; no job is interrupted. Raises QueueError."""
        self._worker.set_concurrency(whole(number, "concurrency", 0, self._most()))

    def distributed_stats(self) -> DistributedStats:
        """This node and its cluster now. Raises Unavailable when the node or the store does not answer."""
        handle = self._worker.pool.handle
        told = None if handle is None else handle.status()
        pool = self._worker.pool.stats()
        fence, sessions = self.store.fence(), self.store.sessions()
        leader = next((view.info.node for view in sessions if view.info.boot_id == fence.owner), None)
        return DistributedStats(
            self.node_id, pool.status, told is not None and told.leading, leader, fence.epoch, len(sessions),
            pool.total_workers, pool.active_workers)

    def cluster_nodes(self) -> tuple[NodeInfo, ...]:
        """The cluster's members. Raises ClusterUnavailable."""
        return self._cluster.nodes()

    def lock(self, key: str, timeout: float | timedelta | None = None) -> LockToken | None:
        """`cluster.acquire_lock`, for `lock_timeout` unless it is told otherwise; `cluster.release_lock` ends it."""
        return self._cluster.acquire_lock(key, self._lock_timeout_s if timeout is None else timeout)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _most(self) -> int:
        return whole(self.config.max_concurrency, "max_concurrency", 1, SLOTS_MAX)

    def _check_memory(self) -> None:
        memory = any(url.startswith("memory:") for url in (self.url, self._cluster.url))
        if memory and self.url != self._cluster.url:
            raise InvalidArgument("a memory store and a memory cluster go together only, by one address: memory://NAME")


class _NodeWorker(Worker):
    """A Worker whose node is joined to a cluster of its own choice."""

    own: NodeSettings

    def node_settings(self) -> NodeSettings:
        """The Worker's, and what the config of the queue says."""
        own = self.own
        return replace(super().node_settings(), cluster=own.cluster, role=own.role, lease_ttl_s=own.lease_ttl_s,
                       session_ttl_s=own.session_ttl_s)


def _node_settings(config: DistributedConfig) -> NodeSettings:
    """What the config says of the node itself, checked."""
    name_of(config.queue, "queue")
    beat_s = seconds(config.heartbeat_interval, "heartbeat_interval", above_zero=True)
    return NodeSettings(
        app=(), role=config.role(),
        lease_ttl_s=ttl(seconds(config.election_timeout, "election_timeout"), "election_timeout"),
        session_ttl_s=ttl(BEATS * beat_s, f"heartbeat_interval x {BEATS}"))

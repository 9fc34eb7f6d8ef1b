"""What `Client.status()` and `callboard status` show: nodes, leader, queues, slots, what runs, health."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from callboard.core.health import health_of, stats_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from callboard.core.health import QueueStats
    from callboard.core.messages import NodeStatus
    from callboard.core.records import FenceView, JobRecord, QueueCounts, SessionView

RUNNING_MAX = 1_000
"""Running jobs in one Status."""


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """One pool of a node.

    Attributes:
        queues: the queues it serves, with their weights.
        slots: jobs that run side by side.
        held: jobs that it has been given and not finished: running, or about to.
    """

    name: str
    queues: dict[str, int]
    slots: int
    held: int


@dataclass(frozen=True, slots=True)
class NodeView:
    """One live node.

    Attributes:
        leader: it assigns jobs.
        reachable: it answered, so restarts and running jobs' seconds are known.
        draining: it is given nothing new.
        isolating: it runs a job alone that lost two nodes.
        restarts: its actors, and how often each was restarted.
    """

    node: str
    host: str
    pid: int
    version: str
    leader: bool
    reachable: bool
    draining: bool
    isolating: bool
    session: int
    started_ms: int
    socket: str
    pools: tuple[PoolStatus, ...]
    restarts: dict[str, int]

    @property
    def slots(self) -> int:
        """Of all pools together."""
        return sum(pool.slots for pool in self.pools)


@dataclass(frozen=True, slots=True)
class RunningView:
    """A running job; pid and seconds are None where its node did not answer.

    Attributes:
        fraction, message: what the job last said of its progress; the fraction is 0.0 to 1.0.
    """

    id: str
    name: str
    queue: str
    node: str
    pid: int | None
    seconds: float | None
    fraction: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class QueueView:
    """Jobs of one queue by state; slots of the live nodes that serve it (shared with a pool's other queues)."""

    queue: str
    delayed: int
    ready: int
    assigned: int
    running: int
    failed: int
    completed: int
    cancelled: int
    paused: bool
    slots: int
    max_depth: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a cluster at one moment.

    Attributes:
        leader: the node that assigns; None between two terms.
        epoch: the store's number of the leader's term; only grows.
        health: healthy, warning or critical, by the number of failed jobs.
        slots: of all live nodes.
        paused: queues from which nothing is assigned.
        jobs: all queues together.
    """

    store: str
    leader: str | None
    epoch: int
    health: str
    slots: int
    paused: tuple[str, ...]
    jobs: QueueStats
    nodes: tuple[NodeView, ...]
    queues: tuple[QueueView, ...]
    running: tuple[RunningView, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return dataclasses.asdict(self)


def status_of(store: str, fence: FenceView, sessions: Sequence[SessionView], counts: Sequence[QueueCounts],
              running: Sequence[JobRecord], told: Mapping[str, NodeStatus]) -> Status:
    """Put together what the store says, and what those nodes told that could be asked (by boot id)."""
    nodes = tuple(_node(view, fence, told.get(view.info.boot_id))
                  for view in sorted(sessions, key=lambda view: view.info.node))
    stats = stats_of(counts)
    by_queue = {count.queue: count for count in counts}
    served = {queue for node in nodes for pool in node.pools for queue in pool.queues}
    return Status(
        store=store,
        leader=next((node.node for node in nodes if node.leader), None),
        epoch=fence.epoch,
        health=health_of(stats).status,
        slots=sum(node.slots for node in nodes),
        paused=tuple(sorted(count.queue for count in counts if count.paused)),
        jobs=stats,
        nodes=nodes,
        queues=tuple(_queue(name, by_queue.get(name), nodes) for name in sorted({*by_queue, *served})),
        running=_running(running, told),
    )


def _node(view: SessionView, fence: FenceView, told: NodeStatus | None) -> NodeView:
    info = view.info
    return NodeView(
        node=info.node, host=info.host, pid=info.pid, version=info.version,
        leader=info.boot_id == fence.owner and (told is None or told.leading),
        reachable=told is not None, draining=view.draining, isolating=view.isolating, session=view.session,
        started_ms=info.started_ms, socket=info.socket,
        pools=tuple(PoolStatus(pool.report.name, {share.queue: share.weight for share in pool.report.queues},
                               pool.report.slots, pool.held)
                    for pool in sorted(view.pools, key=lambda pool: pool.report.name)),
        restarts={} if told is None else dict(sorted(told.actors.items())),
    )


def _queue(name: str, counts: QueueCounts | None, nodes: Sequence[NodeView]) -> QueueView:
    slots = sum(pool.slots for node in nodes for pool in node.pools if name in pool.queues)
    if counts is None:
        return QueueView(name, 0, 0, 0, 0, 0, 0, 0, paused=False, slots=slots)
    return QueueView(
        counts.queue, counts.delayed, counts.ready, counts.assigned, counts.running, counts.failed, counts.completed,
        counts.cancelled, counts.paused, slots, counts.max_depth)


def _running(rows: Sequence[JobRecord], told: Mapping[str, NodeStatus]) -> tuple[RunningView, ...]:
    """What the store says runs; with pid and seconds where the job's node told them."""
    details = {job_id: (pid, round(seconds, 3)) for status in told.values()
               for job_id, _, _, pid, seconds in status.running}
    views: list[RunningView] = []
    for row in rows[:RUNNING_MAX]:
        pid, seconds = details.get(row.id, (None, None))
        fraction, message = (None, "") if row.progress is None else (row.progress.fraction, row.progress.message)
        views.append(RunningView(row.id, row.name, row.queue, row.node or "", pid, seconds, fraction, message))
    return tuple(views)

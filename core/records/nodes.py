"""Nodes' sessions and pools, what the leader sees of them, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, NewType

from callboard.core.records.jobs import TakenJob, Token

SessionId = NewType("SessionId", int)
"""One life of a node, issued by the store; grows, is never used twice."""


class QueueShare(NamedTuple):
    """A queue that a pool serves, with its weight against the pool's other queues."""

    queue: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class PoolReport:
    """One Worker actor's offer: slots that serve one or more queues. A queue is in one pool of a node only.

    Attributes:
        name: the pool's name (its first queue).
        slots: jobs that run side by side.
        capacity: rows the pool may hold at once: slots and the little that is prefetched; 0 takes nothing.
    """

    name: str
    queues: tuple[QueueShare, ...]
    slots: int
    capacity: int


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a node says of itself when it registers and opens a session. All strings are at most 255 characters."""

    node: str
    boot_id: str
    host: str = ""
    pid: int = 0
    version: str = ""
    socket: str = ""
    started_ms: int = 0


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool as the leader sees it."""

    report: PoolReport
    held: int
    held_by_queue: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class SessionView:
    """A live session as the leader sees it.

    Attributes:
        counter: the heartbeat counter; only its standing still matters.
        ttl_s: how long it may stand still.
        draining: gets nothing new.
        isolating: holds a job that must run alone on its node: gets nothing new until it is done.
    """

    session: SessionId
    info: NodeInfo
    counter: int
    ttl_s: float
    pools: tuple[PoolView, ...]
    draining: bool = False
    isolating: bool = False

    @property
    def held(self) -> int:
        """Rows that the session holds, all pools together."""
        return sum(pool.held for pool in self.pools)


class IsolatedJob(NamedTuple):
    """A ready job that has lost two nodes: it runs alone on a node or not at all."""

    ref: int
    id: str
    queue: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What the leader decides from: counts, never payloads.

    Attributes:
        ready: queue to ready jobs, counted up to the limit asked for; isolated ones and paused queues left out.
        isolated: the first few jobs that must run alone.
    """

    sessions: tuple[SessionView, ...]
    ready: dict[str, int]
    isolated: tuple[IsolatedJob, ...] = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    """Give up to `count` ready jobs of a queue to a session's pool; the store takes the first by rank."""

    session: SessionId
    pool: str
    queue: str
    count: int


class IsolatedAssignment(NamedTuple):
    """Give one isolated job to a session that holds nothing."""

    session: SessionId
    pool: str
    job: IsolatedJob


@dataclass(frozen=True, slots=True)
class Plan:
    """What the leader decided in one round."""

    assignments: tuple[Assignment, ...] = ()
    isolated: tuple[IsolatedAssignment, ...] = ()

    @property
    def empty(self) -> bool:
        """Nothing is to be assigned."""
        return not self.assignments and not self.isolated


@dataclass(frozen=True, slots=True)
class AssignReceipt:
    """What the store did with a plan.

    Attributes:
        assigned: jobs assigned per session, in all.
        taken: with `take_for`, that session's jobs, running already; empty otherwise.
        idle: the plan gave nothing, and no queue that is not paused has a ready job.
    """

    assigned: dict[SessionId, int]
    taken: tuple[TakenJob, ...] = ()
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """What ending a session did with its rows.

    Attributes:
        handed_back: had not begun (were only assigned, or careful and without a start mark): uncharged.
        lost: had begun: a loss charged, ready again; or cancelled, or failed, because they run at most once.
        quarantined: ids on the failed list now, because their losses ran out.
        ended: False: the session goes on, for it had beaten meanwhile.
        doubted: were running and had no start mark: uncharged, but each runs carefully from now on.
    """

    handed_back: int
    lost: int
    quarantined: tuple[str, ...] = ()
    ended: bool = True
    doubted: int = 0


class Promoted(NamedTuple):
    """What promote_due did: jobs moved, seconds until the next one is due (None: none waits), jobs that expired."""

    moved: int
    next_due_s: float | None
    expired: int = 0


class CancelRequest(NamedTuple):
    """A running job that an operator wants stopped."""

    id: str
    token: Token


class Desired(NamedTuple):
    """What an operator ordered for a queue: durable, reconciled by nodes, late joiners too.

    Attributes:
        node: a node's name, or "*" for every node.
        slots: jobs side by side.
    """

    queue: str
    node: str
    slots: int


class BeatReply(NamedTuple):
    """What a node learns with each heartbeat.

    Attributes:
        desired: all rows for this node's queues.
        draining: this node shall get nothing new.
        cancels: running jobs of this session to be stopped.
        waiting: rows assigned to this session and not taken yet.
    """

    desired: tuple[Desired, ...]
    draining: bool
    cancels: tuple[CancelRequest, ...]
    waiting: int

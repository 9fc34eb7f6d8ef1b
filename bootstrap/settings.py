"""A node's settings as a person gives them; `core/config.py` has what the actors go by."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import Final

from callboard.core import commandcheck
from callboard.core.candidates import CANDIDATES_MAX
from callboard.core.config import LEASE_TTL_S, SESSION_TTL_S, STOP_GRACE_S, NodeConfig, PoolConfig
from callboard.core.errors import InvalidArgument, UnknownOption
from callboard.core.options import did_you_mean, name_of, seconds, whole
from callboard.core.records import QueueShare

DEFAULT_STORE: Final = "sqlite:///callboard.db"
DEFAULT_SLOTS: Final = 5
SLOTS_MAX: Final = commandcheck.SLOTS_MAX
POLL_MAX_S: Final = 1.0
"""The slow poll backs up every bell: a longer one would only delay what a lost bell left behind."""
EXECUTORS: Final = ("process", "thread", "asyncio")
ROLES: Final = ("any", "leader", "worker")
NODES_MAX: Final = 1_000
"""Nodes of a cluster at most, so candidates too."""


def default_node_name() -> str:
    """Host and process id: unique on the host as long as the process lives."""
    host = "".join(c if c.isalnum() or c in "-." else "-" for c in socket.gethostname())[:100] or "node"
    return f"{host}-{os.getpid()}"


def default_slots() -> int:
    """Slots of a queue for which none are given."""
    return DEFAULT_SLOTS


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What starts a node.

    Attributes:
        app: modules or script paths that define the jobs.
        store, cluster: addresses; no cluster means: in the store's own database.
        pools: none means one pool of five slots for the queue "default".
        role: any (runs jobs, and may lead), worker (never leads) or leader (runs no jobs, serves no queue).
        candidates_max: how many nodes of the cluster stand for election, the oldest first.
        log_style: auto, json, text or off.
        cluster_key: one key, or two with a comma between, for messages between nodes; else the environment's.
        stop_grace_s: what a graceful stop leaves running jobs.
    """

    app: tuple[str, ...]
    store: str = DEFAULT_STORE
    cluster: str | None = None
    pools: tuple[PoolConfig, ...] = ()
    node: str = ""
    executor: str = "process"
    log_level: str = "info"
    log_style: str = "auto"
    lease_ttl_s: float = LEASE_TTL_S
    session_ttl_s: float = SESSION_TTL_S
    stop_grace_s: float = STOP_GRACE_S
    kill_grace_s: float = 2.0
    child_memory_max_mb: int | None = None
    recycle_jobs: int | None = None
    recycle_rss_mb: int | None = None
    role: str = "any"
    candidates_max: int = CANDIDATES_MAX
    poll_s: float = 1.0
    cluster_key: str = field(default="", repr=False)

    def config(self) -> NodeConfig:
        """The actors' settings, checked.

        Raises:
            UsageError: Raised when a value is out of range, or a queue is in two pools.
        """
        pools = self.pools or (PoolConfig((QueueShare("default"),), default_slots()),)
        queues = [share.queue for pool in pools for share in pool.queues]
        for queue in queues:
            if queues.count(queue) > 1:
                raise InvalidArgument(f"queue {queue!r} is served twice by this node: name it once")
        if self.executor not in EXECUTORS:
            raise UnknownOption(f"no executor is named {self.executor!r}{did_you_mean(self.executor, EXECUTORS)}; "
                                f"use {', '.join(EXECUTORS)}")
        if self.role not in ROLES:
            raise UnknownOption(f"no role is named {self.role!r}{did_you_mean(self.role, ROLES)}; "
                                f"use {', '.join(ROLES)}")
        return NodeConfig(
            node=name_of(self.node or default_node_name(), "node"),
            pools=() if self.role == "leader" else pools,
            lease_ttl_s=ttl(self.lease_ttl_s, "lease_ttl_s"),
            session_ttl_s=ttl(self.session_ttl_s, "session_ttl_s"),
            poll_s=min(seconds(self.poll_s, "poll_s", above_zero=True), POLL_MAX_S),
            heal_s=self.session_ttl_s / 3,
            lead=self.role != "worker",
            candidates_max=whole(self.candidates_max, "candidates_max", 1, NODES_MAX),
        )


def ttl(value: float, what: str) -> float:
    """A time to live: 0.5 to 3,600 seconds.

    Raises:
        InvalidArgument: Raised when it is out of range.
    """
    number = seconds(value, what)
    if not 0.5 <= number <= 3600.0:  # noqa: PLR2004 - named in the docstring
        raise InvalidArgument(f"{what} must be 0.5 to 3600 seconds, not {value!r}")
    return number


def parse_pool(text: str) -> PoolConfig:
    """A pool from `emails:10`, `emails` or `emails=3,default=1:10` (weights, then slots that they share).

    Raises:
        InvalidArgument: Raised when it has another form.
    """
    names, _, slots_text = text.partition(":")
    slots = default_slots()
    if slots_text:
        if not slots_text.isdecimal():
            raise InvalidArgument(f"--queue {text!r}: behind the colon stands a number of slots, as in emails:10")
        slots = whole(int(slots_text), "slots", 0, SLOTS_MAX)
    shares: list[QueueShare] = []
    for part in names.split(","):
        name, _, weight = part.partition("=")
        if weight and not weight.isdecimal():
            raise InvalidArgument(f"--queue {text!r}: behind = stands a weight, a whole number")
        shares.append(QueueShare(name_of(name, "queue"), whole(int(weight or 1), "weight", 1, 1000)))
    return PoolConfig(tuple(shares), slots)

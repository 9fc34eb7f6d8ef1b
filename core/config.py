"""A node's settings as the actors need them: numbers with units, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from callboard.core.candidates import CANDIDATES_MAX
from callboard.core.records import Backoff, QueueShare

LEASE_TTL_S: Final = 5.0
"""How long a leader is trusted without a renewal: kill -9 of a leader costs about this."""
SESSION_TTL_S: Final = 10.0
"""How long a node's heartbeat may stand still before its jobs are given to others."""
DEFAULT_BACKOFF: Final = Backoff(60.0)
STOP_GRACE_S: Final = 30.0
"""What a graceful stop leaves running jobs; as Kubernetes' default."""


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """One pool: slots that serve one or more queues.

    Attributes:
        timeout_s, max_attempts, backoff: what holds for jobs that say nothing themselves.
    """

    queues: tuple[QueueShare, ...]
    slots: int
    max_attempts: int = 3
    timeout_s: float = 300.0
    backoff: Backoff = DEFAULT_BACKOFF

    @property
    def name(self) -> str:
        """The pool's name: its first queue."""
        return self.queues[0].queue


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What the actors of one node go by. All times in seconds.

    Attributes:
        pools: none: the node runs no jobs.
        lead: it stands for election; one that does not only works.
        candidates_max: how many of the cluster's nodes stand, the oldest first; the others where nobody leads.
    """

    node: str
    pools: tuple[PoolConfig, ...]
    lease_ttl_s: float = LEASE_TTL_S
    session_ttl_s: float = SESSION_TTL_S
    poll_s: float = 1.0
    due_poll_s: float = 0.25
    sweep_s: float = 1.0
    prune_s: float = 30.0
    schedule_poll_s: float = 1.0
    heal_s: float = 3.0
    restart_max: int = 5
    restart_within_s: float = 10.0
    mailbox_max: int = 10_000
    assign_batch_max: int = 2_000
    lead: bool = True
    candidates_max: int = CANDIDATES_MAX
    roundtrip_messages: bool = False

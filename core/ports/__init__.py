"""The contracts: what the actors need of a store, a cluster backend, an executor and a clock.

Each has one conformance suite in tests/conformance that every implementation passes on its real server.
Every method may raise `StoreUnavailable` (or `ClusterUnavailable`) within its timeout, and is safe to send again.
Methods may be called from any thread.
"""

from __future__ import annotations

from callboard.core.ports.clock import Bell, Clock
from callboard.core.ports.cluster import ClusterBackend
from callboard.core.ports.executors import Executor, ExecutorEvents, ExecutorHost
from callboard.core.ports.life import LifeStore
from callboard.core.ports.operators import OperatorStore
from callboard.core.ports.store import JobStore, LeaderStore, NodeStore, Producer

__all__ = [
    "Bell",
    "Clock",
    "ClusterBackend",
    "Executor",
    "ExecutorEvents",
    "ExecutorHost",
    "JobStore",
    "LeaderStore",
    "LifeStore",
    "NodeStore",
    "OperatorStore",
    "Producer",
]

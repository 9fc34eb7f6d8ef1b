"""callboard: a job queue that runs as a cluster of actors; one elected leader assigns, every write is fenced.

The public names are loaded when they are first used, so that `import callboard` is quick and loads no server's client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callboard import messages as messages
    from callboard import testing as testing
    from callboard.client import Client as Client
    from callboard.core.errors import AppImportFailed as AppImportFailed
    from callboard.core.errors import ClusterUnavailable as ClusterUnavailable
    from callboard.core.errors import CodecError as CodecError
    from callboard.core.errors import InvalidArgument as InvalidArgument
    from callboard.core.errors import InvalidJob as InvalidJob
    from callboard.core.errors import InvalidSchedule as InvalidSchedule
    from callboard.core.errors import JobFailed as JobFailed
    from callboard.core.errors import NotFound as NotFound
    from callboard.core.errors import PayloadTooLarge as PayloadTooLarge
    from callboard.core.errors import PermanentError as PermanentError
    from callboard.core.errors import PushOutcomeUnknown as PushOutcomeUnknown
    from callboard.core.errors import QueueError as QueueError
    from callboard.core.errors import QueueFull as QueueFull
    from callboard.core.errors import ResultLost as ResultLost
    from callboard.core.errors import ResultTimeout as ResultTimeout
    from callboard.core.errors import RetryLater as RetryLater
    from callboard.core.errors import Snooze as Snooze
    from callboard.core.errors import StaleToken as StaleToken
    from callboard.core.errors import StoreUnavailable as StoreUnavailable
    from callboard.core.errors import TimeLimitExceeded as TimeLimitExceeded
    from callboard.core.errors import UnknownJob as UnknownJob
    from callboard.core.errors import UnknownOption as UnknownOption
    from callboard.core.errors import Unserialisable as Unserialisable
    from callboard.core.errors import UsageError as UsageError
    from callboard.core.health import QueueHealth as QueueHealth
    from callboard.core.health import QueueStats as QueueStats
    from callboard.core.health import Thresholds as Thresholds
    from callboard.core.job import FailedJobError as FailedJobError
    from callboard.core.job import Job as Job
    from callboard.core.job import JobContext as JobContext
    from callboard.core.job import current_job as current_job
    from callboard.core.options import Unique as Unique
    from callboard.core.records import Backoff as Backoff
    from callboard.core.records import LockToken as LockToken
    from callboard.core.records import NodeInfo as NodeInfo
    from callboard.core.records import Term as Term
    from callboard.core.records import Token as Token
    from callboard.distributed.cluster import Cluster as Cluster
    from callboard.distributed.cluster import cluster_from_url as cluster_from_url
    from callboard.distributed.queue import DistributedConfig as DistributedConfig
    from callboard.distributed.queue import DistributedQueue as DistributedQueue
    from callboard.distributed.queue import DistributedStats as DistributedStats
    from callboard.distributed.services import ConsulCluster as ConsulCluster
    from callboard.distributed.services import ConsulClusterConfig as ConsulClusterConfig
    from callboard.distributed.services import EtcdCluster as EtcdCluster
    from callboard.distributed.services import EtcdClusterConfig as EtcdClusterConfig
    from callboard.distributed.services import RedisCluster as RedisCluster
    from callboard.distributed.services import RedisClusterConfig as RedisClusterConfig
    from callboard.distributed.services import ZooKeeperCluster as ZooKeeperCluster
    from callboard.distributed.services import ZooKeeperClusterConfig as ZooKeeperClusterConfig
    from callboard.failed import FailedJob as FailedJob
    from callboard.healthcheck import HealthChecker as HealthChecker
    from callboard.jobs import BoundJob as BoundJob
    from callboard.jobs import FunctionJob as FunctionJob
    from callboard.jobs import job as job
    from callboard.queue import Queue as Queue
    from callboard.queue import configure as configure
    from callboard.queue import connect as connect
    from callboard.queue import driver as driver
    from callboard.scheduler import Scheduler as Scheduler
    from callboard.scheduler import SchedulerConfig as SchedulerConfig
    from callboard.worker import PoolStats as PoolStats
    from callboard.worker import Worker as Worker
    from callboard.worker import WorkerConfig as WorkerConfig
    from callboard.worker import WorkerPool as WorkerPool

_HOMES = {
    "callboard.client": ("Client",),
    "callboard.core.errors": (
        "AppImportFailed", "ClusterUnavailable", "CodecError", "InvalidArgument", "InvalidJob", "InvalidSchedule",
        "JobFailed", "NotFound", "PayloadTooLarge", "PermanentError", "PushOutcomeUnknown", "QueueError", "QueueFull",
        "ResultLost", "ResultTimeout", "RetryLater", "Snooze", "StaleToken", "StoreUnavailable", "TimeLimitExceeded",
        "UnknownJob", "UnknownOption", "Unserialisable", "UsageError",
    ),
    "callboard.core.health": ("QueueHealth", "QueueStats", "Thresholds"),
    "callboard.core.job": ("FailedJobError", "Job", "JobContext", "current_job"),
    "callboard.core.options": ("Unique",),
    "callboard.core.records": ("Backoff", "LockToken", "NodeInfo", "Term", "Token"),
    "callboard.distributed.cluster": ("Cluster", "cluster_from_url"),
    "callboard.distributed.queue": ("DistributedConfig", "DistributedQueue", "DistributedStats"),
    "callboard.distributed.services": (
        "ConsulCluster", "ConsulClusterConfig", "EtcdCluster", "EtcdClusterConfig", "RedisCluster",
        "RedisClusterConfig", "ZooKeeperCluster", "ZooKeeperClusterConfig",
    ),
    "callboard.failed": ("FailedJob",),
    "callboard.healthcheck": ("HealthChecker",),
    "callboard.jobs": ("BoundJob", "FunctionJob", "job"),
    "callboard.queue": ("Queue", "configure", "connect", "driver"),
    "callboard.scheduler": ("Scheduler", "SchedulerConfig"),
    "callboard.worker": ("PoolStats", "Worker", "WorkerConfig", "WorkerPool"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("messages", "testing")

__all__ = [
    "AppImportFailed", "Backoff", "BoundJob", "Client", "Cluster", "ClusterUnavailable", "CodecError", "ConsulCluster",
    "ConsulClusterConfig", "DistributedConfig", "DistributedQueue", "DistributedStats", "EtcdCluster",
    "EtcdClusterConfig", "FailedJobError", "FunctionJob", "HealthChecker", "InvalidArgument", "InvalidJob",
    "InvalidSchedule", "Job", "JobContext", "JobFailed", "LockToken", "NodeInfo", "NotFound", "PayloadTooLarge",
    "PermanentError", "PoolStats", "PushOutcomeUnknown", "Queue", "QueueError", "QueueFull", "QueueHealth",
    "QueueStats", "RedisCluster", "RedisClusterConfig", "ResultLost", "ResultTimeout", "RetryLater", "Scheduler",
    "SchedulerConfig", "Snooze", "StaleToken", "StoreUnavailable", "Term", "Thresholds", "TimeLimitExceeded", "Token",
    "Unique", "UnknownJob", "UnknownOption", "Unserialisable", "UsageError", "Worker", "WorkerConfig", "WorkerPool",
    "ZooKeeperCluster", "ZooKeeperClusterConfig", "cluster_from_url", "configure", "connect", "current_job", "driver",
    "job", "messages", "testing",
]


def __getattr__(name: str) -> Any:
    """Load a public name on its first use."""
    if name in _MODULES:
        return import_module(f"callboard.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'callboard' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)

"""The cluster on Consul; needs the extra `callboard[consul]`."""

from __future__ import annotations

from importlib.util import find_spec

from callboard.core.errors import UsageError

if find_spec("consul") is None:
    raise UsageError("an address of Consul needs python-consul2, which is not installed: pip install callboard[consul]")

from .cluster import ConsulCluster, open_consul_cluster

__all__ = ["ConsulCluster", "open_consul_cluster"]

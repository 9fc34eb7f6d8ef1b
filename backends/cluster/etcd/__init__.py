"""The cluster on etcd."""

from __future__ import annotations

from importlib.util import find_spec

from callboard.core.errors import UsageError

if find_spec("etcd3") is None:
    raise UsageError("an address of etcd needs python3-etcd3, which is not installed: pip install callboard[etcd]")

from .cluster import EtcdCluster, open_etcd_cluster

__all__ = ["EtcdCluster", "open_etcd_cluster"]

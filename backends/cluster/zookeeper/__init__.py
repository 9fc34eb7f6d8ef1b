"""The cluster on ZooKeeper."""

from .cluster import TIMEOUT_S, ZookeeperCluster, open_zookeeper_cluster

__all__ = ["TIMEOUT_S", "ZookeeperCluster", "open_zookeeper_cluster"]

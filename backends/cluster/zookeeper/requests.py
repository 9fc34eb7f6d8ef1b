"""What is asked of ZooKeeper, each as a function that asks kazoo's client and does not wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from kazoo.exceptions import (  # type: ignore[import-untyped]  # kazoo has no types
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)

from callboard.core.errors import ClusterUnavailable

__all__ = [
    "ANSWERS", "NoNodeError", "NodeExistsError", "NotEmptyError", "Request", "add", "change", "check", "children",
    "create", "delete", "emptied", "exists", "failure", "get", "sync",
]

Request: TypeAlias = Callable[[Any], Any]
"""Asks kazoo's client for something, and gives kazoo's result to come."""
Watch: TypeAlias = Callable[[object], None]

ANSWERS: tuple[type[Exception], ...] = (
    NoNodeError, NodeExistsError, BadVersionError, NotEmptyError, RolledBackError, RuntimeInconsistency)
"""What a server says of the nodes, not of the connection."""


def sync(path: str) -> Request:
    """Have the server catch up with the ensemble's leader before it answers what follows."""
    return lambda client: client.sync_async(path)


def get(path: str) -> Request:
    """Data and state of a node."""
    return lambda client: client.get_async(path)


def exists(path: str) -> Request:
    """State of a node, or None."""
    return lambda client: client.exists_async(path)


def children(path: str, watch: Watch | None = None) -> Request:
    """Names below a node, and its state; `watch` is called once when one comes or goes."""
    return lambda client: client.get_children_async(path, watch=watch, include_data=True)


def create(path: str) -> Request:
    """Make a lasting node, without data."""
    return lambda client: client.create_async(path)


def add(path: str, data: bytes) -> Request:
    """Make a lasting node that the server numbers; its path, and state."""
    return lambda client: client.create_async(path, data, sequence=True, include_data=True)


def delete(*paths: str) -> Request:
    """Delete all of them or none."""
    return change(lambda act: [act.delete(path) for path in paths])


def check(path: str) -> Request:
    """Ask, by way of the ensemble's leader, whether a node is there that nobody wrote to."""
    return change(lambda act: act.check(path, 0))


def change(fill: Callable[[Any], object]) -> Request:
    """Do all that `fill` adds to a transaction, or nothing."""

    def ask(client: Any) -> Any:
        act = client.transaction()
        fill(act)
        return act.commit_async()

    return ask


def failure(answers: Any) -> Exception | None:
    """Why a transaction did nothing; None when it was done."""
    if isinstance(answers, Exception):
        return answers
    return next((one for one in answers if isinstance(one, Exception) and not isinstance(one, RolledBackError)), None)


def emptied() -> ClusterUnavailable:
    """What is said of a cluster that is not there any more."""
    return ClusterUnavailable("the cluster in ZooKeeper was emptied or replaced; start the node again")

"""The parts of etcd's transactions."""

from __future__ import annotations

from typing import Any

from etcd3 import etcdrpc  # type: ignore[import-untyped]  # the package has no types


def end_of(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin so; the prefix ends with a slash."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def created(key: bytes, revision: int) -> Any:
    """It was created by this revision; 0: there is none."""
    return etcdrpc.Compare(key=key, target=etcdrpc.Compare.CREATE, result=etcdrpc.Compare.EQUAL,
                           create_revision=revision)


def modified(key: bytes, revision: int) -> Any:
    """It was last written by this revision."""
    return etcdrpc.Compare(key=key, target=etcdrpc.Compare.MOD, result=etcdrpc.Compare.EQUAL, mod_revision=revision)


def has_value(key: bytes, value: bytes) -> Any:
    """It is there and has this value."""
    return etcdrpc.Compare(key=key, target=etcdrpc.Compare.VALUE, result=etcdrpc.Compare.EQUAL, value=value)


def has_lease(key: bytes, lease: int) -> Any:
    """It ends with this lease."""
    return etcdrpc.Compare(key=key, target=etcdrpc.Compare.LEASE, result=etcdrpc.Compare.EQUAL, lease=lease)


def get(key: bytes) -> Any:
    """Read a key."""
    return etcdrpc.RequestOp(request_range=etcdrpc.RangeRequest(key=key))


def count(prefix: bytes) -> Any:
    """Count the keys that begin so."""
    return etcdrpc.RequestOp(request_range=etcdrpc.RangeRequest(key=prefix, range_end=end_of(prefix), count_only=True))


def scan(prefix: bytes, limit: int) -> Any:
    """Read the keys that begin so, by name."""
    return etcdrpc.RequestOp(request_range=etcdrpc.RangeRequest(key=prefix, range_end=end_of(prefix), limit=limit))


def newest(prefix: bytes) -> Any:
    """Which of the keys that begin so was written last, and how many there are; no values."""
    return etcdrpc.RequestOp(request_range=etcdrpc.RangeRequest(
        key=prefix, range_end=end_of(prefix), limit=1, keys_only=True, sort_target=etcdrpc.RangeRequest.MOD,
        sort_order=etcdrpc.RangeRequest.DESCEND))


def oldest(prefix: bytes, limit: int, after: int = 0, *, keys_only: bool = False) -> Any:
    """Read the keys that begin so and were created after this revision, by creation."""
    return etcdrpc.RequestOp(request_range=etcdrpc.RangeRequest(
        key=prefix, range_end=end_of(prefix), limit=limit, keys_only=keys_only, min_create_revision=after + 1,
        sort_target=etcdrpc.RangeRequest.CREATE, sort_order=etcdrpc.RangeRequest.ASCEND))


def put(key: bytes, value: bytes, lease: int = 0) -> Any:
    """Write a key; the answer has what it was before."""
    return etcdrpc.RequestOp(request_put=etcdrpc.PutRequest(key=key, value=value, lease=lease, prev_kv=True))


def delete(key: bytes) -> Any:
    """Delete a key; the answer has what it was."""
    return etcdrpc.RequestOp(request_delete_range=etcdrpc.DeleteRangeRequest(key=key, prev_kv=True))


def watch(key: bytes, *, prefix: bool) -> Any:
    """Follow a key, or all keys that begin so, from now on."""
    end = end_of(key) if prefix else b""
    return etcdrpc.WatchRequest(create_request=etcdrpc.WatchCreateRequest(key=key, range_end=end))

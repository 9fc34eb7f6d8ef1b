"""Sessions and pools as the store keeps them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import msgpack

from callboard.core.codec import decode, encode
from callboard.core.errors import CodecError
from callboard.core.records import NodeInfo, PoolReport, PoolView, QueueShare, SessionId, SessionView

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOG: Final = logging.getLogger(__name__)
_INFO_MAX_BYTES: Final = 16_384
_POOLS_MAX_BYTES: Final = 1 << 20


def pack_info(info: NodeInfo) -> bytes:
    """What a node says of itself."""
    return encode([info.node, info.boot_id, info.host, info.pid, info.version, info.socket, info.started_ms],
                  max_bytes=_INFO_MAX_BYTES, what="a node's description")


def pack_pools(pools: Sequence[PoolReport]) -> bytes:
    """Pools as pools.lua reads them."""
    data: bytes = msgpack.packb(
        [[pool.name, [list(share) for share in pool.queues], pool.slots, pool.capacity] for pool in pools],
        use_bin_type=False)
    return data


def view(found: Sequence[Any]) -> SessionView:
    """A session as views.lua tells it. One whose bytes are none of ours is shown without pools, so that it can end."""
    session, info, counter, ttl_ms, pools, alone, draining, held = found
    by_queue = {held[place].decode(): int(held[place + 1]) for place in range(0, len(held), 2)}
    about = NodeInfo(f"damaged-{session}", f"damaged-{session}")
    reports: tuple[PoolReport, ...] = ()
    try:
        about, reports = _info(info), _pools(pools)
    except (CodecError, ValueError, TypeError) as error:
        _LOG.warning("session %d in the job store can't be read, it gets no jobs: %s", session, error)
    views = tuple(_pool_view(report, by_queue) for report in reports)
    return SessionView(SessionId(session), about, counter, ttl_ms / 1000, views, draining=draining == 1,
                       isolating=alone > 0)


def _info(data: bytes) -> NodeInfo:
    match decode(data, max_bytes=_INFO_MAX_BYTES):
        case [str(node), str(boot_id), str(host), int(pid), str(version), str(socket), int(started_ms), *_]:
            return NodeInfo(node, boot_id, host, pid, version, socket, started_ms)
        case _:
            raise CodecError("not a node's description")


def _pools(data: bytes) -> tuple[PoolReport, ...]:
    return tuple(_pool(one) for one in decode(data, max_bytes=_POOLS_MAX_BYTES))


def _pool(found: object) -> PoolReport:
    match found:
        case [str(name), [*queues], int(slots), int(capacity)]:
            return PoolReport(name, tuple(map(_share, queues)), slots, capacity)
        case _:
            raise CodecError("not a pool")


def _share(found: object) -> QueueShare:
    match found:
        case [str(queue), int(weight)]:
            return QueueShare(queue, weight)
        case _:
            raise CodecError("not a queue's share")


def _pool_view(report: PoolReport, by_queue: dict[str, int]) -> PoolView:
    held = {share.queue: n for share in report.queues if (n := by_queue.get(share.queue, 0)) > 0}
    return PoolView(report, sum(held.values()), held)

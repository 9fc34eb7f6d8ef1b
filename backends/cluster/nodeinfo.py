"""A node's description as bytes, for backends whose servers keep values and know nothing of nodes."""

from __future__ import annotations

import logging
from typing import Final

from callboard.core.codec import decode, encode
from callboard.core.errors import CodecError, InvalidArgument
from callboard.core.records import NodeInfo

from .checks import info_of

INFO_MAX_BYTES: Final = 16_384
_LOG: Final = logging.getLogger(__name__)


def pack_info(info: NodeInfo) -> bytes:
    """The description, checked by `info_of` before."""
    return encode([info.node, info.boot_id, info.host, info.pid, info.version, info.socket, info.started_ms],
                  max_bytes=INFO_MAX_BYTES, what="a node's description")


def unpack_info(data: object) -> NodeInfo | None:
    """The node that bytes from a server describe; None, and a warning, for what is none of ours."""
    problem: object = "not a node's description"
    try:
        match decode(data if isinstance(data, bytes) else b"", max_bytes=INFO_MAX_BYTES):
            case [str(node), str(boot_id), str(host), int(pid), str(version), str(socket), int(started_ms), *_]:
                return info_of(NodeInfo(node, boot_id, host, pid, version, socket, started_ms))
            case _:
                pass
    except (CodecError, InvalidArgument) as error:
        problem = error
    _LOG.warning("a node in the cluster's memory is none of ours, left out: %s", problem)
    return None

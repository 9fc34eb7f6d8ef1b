"""Members: a service with a TTL check each, which its node passes. Only who comes, goes or changes is a write."""

from __future__ import annotations

import base64
import hashlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from callboard.backends.cluster.checks import NODES_MAX
from callboard.backends.cluster.nodeinfo import pack_info, unpack_info
from callboard.core.errors import ClusterUnavailable

from .keys import CONSISTENT
from .leases import AGAIN_S, deregister, pass_check, register
from .link import rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.records import NodeInfo

    from .link import Link

_PART: Final = 500
"""Characters of one value of a service's meta; Consul takes 512 bytes."""
_PARTS_MAX: Final = 60
_LEAVING_S: Final = 0.5
_LOG: Final = logging.getLogger(__name__)


class _Own(NamedTuple):
    """What this client registered."""

    meta: dict[str, str]
    ttl_s: float
    endpoint: int


class Members:
    """Registers nodes and reads them."""

    def __init__(self, link: Link) -> None:
        """Register nobody yet."""
        self._link = link
        self.service = f"{link.address.name}-node"
        self._own: dict[str, _Own] = {}
        self._closed = threading.Event()

    def register(self, info: NodeInfo, ttl_s: float) -> None:
        """Make the node a member until ttl_s from now."""
        service = self._id(info.boot_id)
        meta = _meta_of(info)
        own = self._own.get(info.boot_id)
        if own is not None and own.meta == meta and own.ttl_s == ttl_s:
            try:
                if pass_check(self._link, service, own.endpoint):
                    return
            except ClusterUnavailable as error:
                _LOG.info("a member's agent does not answer, another one is told: %s", error)
        if own is None and len(self._rows()) >= NODES_MAX:
            raise self._link.unavailable(f"has {NODES_MAX:,} nodes, which is its limit")
        endpoint = register(self._link, service, self.service, ttl_s, meta=meta)
        if len(self._own) < NODES_MAX:
            self._own[info.boot_id] = _Own(meta, ttl_s, endpoint)
        self._await(lambda: any(_meta(row) == meta and _passing(row) for row in self._rows(service)), ttl_s, service)

    def unregister(self, boot_id: str) -> None:
        """Leave at once."""
        service = self._id(boot_id)
        own = self._own.pop(boot_id, None)
        if own is None and not self._rows(service):
            return
        deregister(self._link, service, own.endpoint if own else None)
        self._await(lambda: not self._rows(service), _LEAVING_S, "")

    def _await(self, done: Callable[[], bool], most_s: float, needed: str) -> None:
        """Agents tell Consul's servers in a thread of their own, and nobody when they have."""
        end_s = time.monotonic() + min(most_s, self._link.timeout_s)
        while not done():
            if time.monotonic() > end_s:
                if needed:
                    raise self._link.unavailable("does not show a node that was registered at its agent")
                return  # its check ends it, and Consul removes it
            self._closed.wait(AGAIN_S)

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Members now, by name; what is none of ours is left out."""
        infos = {info.boot_id: info for row in self._rows() if _passing(row) and (info := _info(row)) is not None}
        return tuple(sorted(infos.values(), key=lambda info: (info.node, info.boot_id)))

    def version(self) -> int:
        """Moves whenever a member comes, goes or changes (and at times besides)."""
        nobody = ("filter", 'Service.ID == "-"')  # what is asked for is the index alone
        return self._link.get(f"health/service/{self.service}", nobody).cursor

    def _rows(self, service: str = "") -> list[dict[str, Any]]:
        only = [("filter", f'Service.ID == "{service}"')] if service else []
        answer = self._link.get(f"health/service/{self.service}", CONSISTENT, *only)
        return list(rows(answer, self._link, 2 * NODES_MAX))

    def _id(self, boot_id: str) -> str:
        return f"{self.service}-{hashlib.sha256(boot_id.encode()).hexdigest()[:32]}"

    def close(self) -> None:
        """Wait for nothing any more."""
        self._closed.set()


def _meta_of(info: NodeInfo) -> dict[str, str]:
    """A service's meta: what a node says of itself, in pieces that Consul takes."""
    text = base64.b64encode(pack_info(info)).decode("ascii")
    return {f"part{n:02}": text[n * _PART : (n + 1) * _PART] for n in range(-(-len(text) // _PART))}


def _info(row: dict[str, Any]) -> NodeInfo | None:
    meta = _meta(row)
    text = "".join(meta.get(f"part{n:02}", "") for n in range(min(len(meta), _PARTS_MAX)))
    try:
        return unpack_info(base64.b64decode(text, validate=True))
    except ValueError:
        return unpack_info(None)  # says so


def _meta(row: dict[str, Any]) -> dict[str, str]:
    match row:
        case {"Service": {"Meta": dict(meta)}}:
            return {str(key): value for key, value in meta.items() if isinstance(value, str)}
        case _:
            return {}


def _passing(row: dict[str, Any]) -> bool:
    """Whether the node's own check passes, and its agent is there; other checks of that machine say nothing of it."""
    service, checks = row.get("Service"), row.get("Checks")
    if not isinstance(service, dict) or not isinstance(checks, list):
        return False
    own = f"service:{service.get('ID')}"
    status = {check.get("CheckID"): check.get("Status") for check in checks if isinstance(check, dict)}
    return status.get(own) == "passing" and status.get("serfHealth", "passing") == "passing"

"""What all acts on etcd have in common: the installation's keys and id, leases, what was found."""

from __future__ import annotations

import logging
import math
import re
import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from callboard.core.errors import ClusterUnavailable

from . import requests as ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .link import Link

ROUNDS: Final = 4
"""How often an act looks again when others changed what it rests on."""
_ANSWERS: Final = {"request_range": "response_range", "request_put": "response_put",
                   "request_delete_range": "response_delete_range"}
_ID: Final = re.compile(rb"[0-9a-f]{32}\Z")
_LOG: Final = logging.getLogger(__name__)


class Done(NamedTuple):
    """What a transaction did.

    Attributes:
        held: whether its comparisons did.
        revision: of all data, with it.
        raft_term: of etcd's own leader when it was done.
        parts: an answer for each part that was done.
    """

    held: bool
    revision: int
    raft_term: int
    parts: tuple[Any, ...]

    def found(self, part: int = 0) -> Any:
        """The key that a `get` found, or None."""
        keys = self.parts[part].kvs
        return keys[0] if keys else None


class EtcdActs:
    """Transactions on one installation's keys."""

    def __init__(self, link: Link, renewals: Link) -> None:
        """Take the installation's id, or give it one.

        Args:
            link: for everything but terms that are held.
            renewals: for those; nothing else keeps it busy.
        """
        self._link = link
        self._renewals = renewals
        self._at = b"/callboard/%b/" % link.login.address.name.encode()
        self._id_key = self._at + b"id"
        self._id = self._open()

    def _open(self) -> bytes:
        fresh = secrets.token_hex(16).encode()
        answer = self._link.txn([ask.created(self._id_key, 0)], [ask.put(self._id_key, fresh)],
                                [ask.get(self._id_key)])
        if answer.succeeded:
            return fresh
        found = [bytes(kv.value) for part in answer.responses for kv in part.response_range.kvs]
        kept = found[0] if found else b""
        if not _ID.match(kept):
            raise ClusterUnavailable(f"the key {self._id_key.decode()} on {self._shown} is none of callboard's")
        return kept

    @property
    def cluster_id(self) -> str:
        """Random, kept in etcd."""
        return self._id.decode()

    @property
    def _shown(self) -> str:
        return self._link.login.address.shown

    def _act(self, *compare: Any, do: Sequence[Any] = (), other: Sequence[Any] = (), link: Link | None = None) -> Done:
        """Do this, or the other where a comparison does not hold, and either only in the data that were opened."""
        either = [*do], [ask.get(self._id_key), *other]
        answer = (link or self._link).txn([ask.has_value(self._id_key, self._id), *compare], *either)
        asked = [_ANSWERS[part.WhichOneof("request")] for part in either[0 if answer.succeeded else 1]]
        if asked != [part.WhichOneof("response") for part in answer.responses]:
            raise ClusterUnavailable(f"{self._shown} answers otherwise than etcd does")
        parts = tuple(getattr(part, kind) for part, kind in zip(answer.responses, asked, strict=True))
        if not answer.succeeded:
            keys, parts = parts[0].kvs, parts[1:]
            if not keys or keys[0].value != self._id:
                raise ClusterUnavailable(f"the cluster on {self._shown} was emptied or replaced; start the node again")
        return Done(bool(answer.succeeded), int(answer.header.revision), int(answer.header.raft_term), parts)

    def _remove(self, kv: Any, why: str) -> None:
        """Delete what others left in a place of ours, if it is still what was found."""
        _LOG.warning("a key of the cluster's on %s is none of callboard's (%s), removed: %r", self._shown, why, kv.key)
        self._act(ask.modified(kv.key, kv.mod_revision), do=[ask.delete(kv.key)])

    def _revoke(self, lease: int, link: Link | None = None) -> None:
        """End a lease that nobody needs; where that fails, its time ends it."""
        try:
            if lease:
                (link or self._link).revoke(lease)
        except ClusterUnavailable as error:
            _LOG.debug("a lease on %s could not be ended before its time: %s", self._shown, error)


def whole_s(ttl_s: float) -> int:
    """A lease's seconds: etcd has no parts of them."""
    return max(1, math.ceil(ttl_s))


def sent_before(kv: Any, lease: int) -> int:
    """The number of a key whose writing was refused, if that was by an earlier sending of it, whose answer was lost."""
    return int(kv.create_revision) if kv is not None and kv.lease == lease else 0

"""What the installation keeps in ZooKeeper, and how its bytes are read.

BASE                  data: the cluster's id, random
BASE/ID               everything: who deletes or replaces it is noticed by every act
BASE/ID/term/now      the term in force, ephemeral; its czxid is the term's number
BASE/ID/locks/HASH    a lock, ephemeral; HASH is of its key
BASE/ID/members/HASH  a node, ephemeral; HASH is of its boot id
BASE/ID/grants/NONCE  beside each of these, ephemeral: who deletes both in one act deletes exactly that grant
BASE/ID/messages/m-N  a broadcast, numbered by the server
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final, NamedTuple

from callboard.backends.cluster.checks import KEY_MAX, NUMBER_MAX
from callboard.core.codec import decode, encode
from callboard.core.errors import CodecError

AREAS: Final = ("term", "locks", "members", "grants", "messages")
ID: Final = re.compile(rb"[0-9a-f]{32}\Z")
_NONCE: Final = re.compile(r"[0-9a-f]{32}\Z")
_MESSAGE: Final = re.compile(r"m-(-?[0-9]{10})\Z")
_GRANT_MAX_BYTES: Final = 20_000
_WRAP: Final = 1 << 32


class Grant(NamedTuple):
    """What an ephemeral node of ours says.

    Attributes:
        nonce: of exactly this grant.
        number: its fencing number.
        session: the ZooKeeper session that holds it.
        body: whose it is.
    """

    nonce: str
    number: int
    session: int
    body: bytes


class Paths:
    """Where things are."""

    def __init__(self, base: str, cluster_id: str) -> None:
        """Of one cluster."""
        self.root = f"{base}/{cluster_id}"
        self.term = f"{self.root}/term"
        self.now = f"{self.root}/term/now"
        self.locks = f"{self.root}/locks"
        self.members = f"{self.root}/members"
        self.messages = f"{self.root}/messages"

    def named(self, area: str, name: str) -> str:
        """The node of a lock's key or a boot id."""
        return f"{area}/{hashed(name)}"

    def grant(self, nonce: str) -> str:
        """The node that exists while a grant does."""
        return f"{self.root}/grants/{nonce}"

    def cleared(self, node: Any) -> str:
        """Made by who deletes a node that has no grant of its own: of two who saw it, one alone can."""
        return self.grant(f"{node[1].czxid:032x}")

    def message(self, number: int) -> str:
        """A broadcast; ZooKeeper counts in 32 bits with a sign, from 0."""
        at = number - 1
        return f"{self.messages}/m-{at if at < _WRAP // 2 else at - _WRAP:010d}"


def hashed(name: str) -> str:
    """A name of any characters as one that ZooKeeper takes."""
    return hashlib.sha256(name.encode()).hexdigest()


def message_number(name: str) -> int | None:
    """The number of a broadcast, from 1; None for what is none of ours."""
    match = _MESSAGE.match(name)
    return int(match[1]) % _WRAP + 1 if match else None


def pack_grant(nonce: str, number: int, body: bytes) -> bytes:
    """The data of an ephemeral node; number 0: its own czxid."""
    return encode([nonce, number, body], max_bytes=_GRANT_MAX_BYTES, what="a grant")


def read_grant(found: Any) -> Grant | None:
    """What a node says; None when it is none of ours."""
    try:
        data, stat = found
        match decode(data, max_bytes=_GRANT_MAX_BYTES):
            case [str(nonce), int(number), bytes(body)]:
                number = number or stat.czxid
            case _:
                return None
    except (CodecError, TypeError, ValueError):
        return None
    if not stat.ephemeralOwner or not _NONCE.match(nonce) or not 0 < number < NUMBER_MAX:
        return None
    return Grant(nonce, number, stat.ephemeralOwner, body)


def read_name(body: bytes) -> str | None:
    """A lock's holder; None when it is no name."""
    try:
        name = body.decode()
    except UnicodeDecodeError:
        return None
    return name if 0 < len(name) <= KEY_MAX and name.isprintable() else None

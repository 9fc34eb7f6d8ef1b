"""What a broadcast through the cluster backend carries: from whom, to whom, which number, and a proof by a key.

On the wire it is msgpack `[version, key id, mac, inner]`; inner is msgpack of the Envelope's fields. The mac is over
inner's bytes as they came, so that nothing has to be encoded again to check it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

from callboard.core.codec import BROADCAST_MAX_BYTES, FRAME_MAX_BYTES, encode
from callboard.core.errors import CodecError, InvalidArgument, PayloadTooLarge

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = 1
NAME_MAX: Final = 255
"""Bytes of a cluster's id, a sender, a target, a correlation id."""
BODY_MAX_BYTES: Final = BROADCAST_MAX_BYTES - 2_048
"""Limit of one broadcast's body; the rest is for the envelope."""
PARTS_MAX: Final = -(-FRAME_MAX_BYTES // BODY_MAX_BYTES)
"""Broadcasts that one answer may be split into: as much as a frame on a node's socket."""
NUMBER_MAX: Final = 2**62
KEY_CHARS_MIN: Final = 32
KEYS_MAX: Final = 2
CLIENT: Final = "client-"
"""What a client's id begins with; a node's is its boot id, which never does."""
TIMEOUT_MAX_S: Final = 300.0

PROGRAM_MARK: Final = b"callboard/user\n"
"""Begins each broadcast of a program's own, over the same backend: none of ours, and no business of nodes."""

_CONTEXT: Final = b"callboard broadcast 1\0"  # so that a mac of ours proves nothing elsewhere
_outer = msgspec.msgpack.Decoder(tuple[int, str, bytes, bytes])
_inner = msgspec.msgpack.Decoder(tuple[str, str, int, str, int, str, float, int, int, bytes])


class Kind(IntEnum):
    """What a broadcast is."""

    TELL = 0
    REQUEST = 1
    REPLY = 2


@dataclass(frozen=True, slots=True)
class Envelope:
    """One broadcast.

    Attributes:
        sender: a node's boot id, or a client's id.
        sequence: grows with each broadcast of its sender.
        target: the boot id or client's id that it is for; empty means every node.
        body: a message, or a part of one.
        correlation: names a request and its reply.
        timeout_s: how long the sender of a request waits; a hint.
        part, parts: which part of how many this is.
    """

    cluster_id: str
    sender: str
    sequence: int
    target: str
    kind: Kind
    body: bytes
    correlation: str = ""
    timeout_s: float = 0.0
    part: int = 0
    parts: int = 1


@dataclass(frozen=True, slots=True)
class Sealed:
    """A broadcast as it was read: well formed, not to be trusted yet."""

    envelope: Envelope
    key_id: str
    mac: bytes
    inner: bytes


class ClusterKeys:
    """The keys that nodes and clients share: none, one, or two while they are changed. Never shown."""

    __slots__ = ("_keys",)

    def __init__(self, texts: Sequence[str] = ()) -> None:
        """The first signs, each verifies.

        Raises:
            InvalidArgument: Raised when one is under 32 characters, or there are more than two; shows none of them.
        """
        if len(texts) > KEYS_MAX:
            raise InvalidArgument(f"there are {len(texts)} cluster keys; two at most: the new one, then the old one")
        if any(len(text) < KEY_CHARS_MIN or not text.isprintable() for text in texts):
            raise InvalidArgument(f"a cluster key has at least {KEY_CHARS_MIN} printable characters; make one with "
                                  "`python -c 'import secrets; print(secrets.token_hex(32))'`")
        keys = [text.encode() for text in texts]
        self._keys = {hashlib.sha256(b"callboard key id\0" + key).hexdigest()[:8]: key for key in keys}

    @classmethod
    def of(cls, text: str) -> ClusterKeys:
        """From a setting: none, one, or two with a comma between them. Raises InvalidArgument."""
        return cls([part.strip() for part in text.split(",")] if text else ())

    def __bool__(self) -> bool:
        """There is a key, so every broadcast must be authenticated."""
        return bool(self._keys)

    def __repr__(self) -> str:
        """How many; never which."""
        return f"<{len(self._keys)} cluster key(s)>"

    def sign(self, inner: bytes) -> tuple[str, bytes]:
        """Key id and mac by the first key; both empty without one."""
        for key_id, key in self._keys.items():
            return key_id, _mac(key, inner)
        return "", b""

    def verify(self, sealed: Sealed) -> bool:
        """Whether one of the keys made this mac; without a key everything passes."""
        if not self._keys:
            return True
        key = self._keys.get(sealed.key_id)
        return key is not None and hmac.compare_digest(_mac(key, sealed.inner), sealed.mac)


def _mac(key: bytes, inner: bytes) -> bytes:
    return hmac.digest(key, _CONTEXT + inner, "sha256")


def seal(envelope: Envelope, keys: ClusterKeys) -> bytes:
    """A broadcast's bytes.

    Raises:
        PayloadTooLarge: Raised when the body exceeds its limit (62 KiB); see `parts_of`.
    """
    e = envelope
    if len(e.body) > BODY_MAX_BYTES:
        raise PayloadTooLarge(f"a message through the cluster backend is at most {BODY_MAX_BYTES:,} bytes, this one "
                              f"has {len(e.body):,}")
    inner = encode([e.cluster_id, e.sender, e.sequence, e.target, int(e.kind), e.correlation, float(e.timeout_s),
                    e.part, e.parts, e.body], max_bytes=BROADCAST_MAX_BYTES, what="broadcast")
    return encode([VERSION, *keys.sign(inner), inner], max_bytes=BROADCAST_MAX_BYTES, what="broadcast")


def unseal(data: bytes) -> Sealed:
    """A broadcast from bytes that may be hostile.

    Raises:
        CodecError: Raised when they are no broadcast of ours within its limits.
    """
    if len(data) > BROADCAST_MAX_BYTES:
        raise CodecError(f"{len(data):,} bytes exceed the limit of a broadcast, {BROADCAST_MAX_BYTES:,}")
    try:
        version, key_id, mac, inner = _outer.decode(data)
        if version != VERSION:
            raise CodecError(f"a broadcast of version {version}; this node speaks {VERSION}")
        cluster_id, sender, sequence, target, kind, correlation, timeout_s, part, parts, body = _inner.decode(inner)
        envelope = Envelope(cluster_id, sender, sequence, target, Kind(kind), body, correlation, timeout_s, part, parts)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise CodecError(f"no broadcast of ours: {error}"[:300], cause=error) from error
    _check(envelope)
    return Sealed(envelope, key_id, mac, inner)


def _check(e: Envelope) -> None:
    names = (e.cluster_id, e.sender, e.target, e.correlation)
    if not e.sender or any(len(name.encode()) > NAME_MAX or not name.isprintable() for name in names):
        raise CodecError("a broadcast with names out of their limits")
    if not 0 < e.sequence <= NUMBER_MAX or not 0 <= e.part < e.parts <= PARTS_MAX or len(e.body) > BODY_MAX_BYTES:
        raise CodecError("a broadcast with numbers out of their limits")
    if not 0.0 <= e.timeout_s <= TIMEOUT_MAX_S:  # not a number is in no range
        raise CodecError("a broadcast with a time out of its limits")


def parts_of(body: bytes) -> tuple[bytes, ...]:
    """A long answer, cut into what one broadcast carries.

    Raises:
        PayloadTooLarge: Raised when it exceeds 1 MiB.
    """
    if len(body) > FRAME_MAX_BYTES:
        raise PayloadTooLarge(f"an answer is at most {FRAME_MAX_BYTES:,} bytes, this one has {len(body):,}")
    return tuple(body[at:at + BODY_MAX_BYTES] for at in range(0, len(body), BODY_MAX_BYTES)) or (b"",)


class Sender:
    """Numbers and seals what one node or client says. Not safe between threads: numbers must go out in their order."""

    def __init__(self, cluster_id: str, me: str, keys: ClusterKeys) -> None:
        """Nothing was said yet."""
        self._cluster_id = cluster_id
        self._me = me
        self._keys = keys
        self._last = 0

    def seal(self, kind: Kind, body: bytes, wall_s: float, *, target: str = "", correlation: str = "",
             timeout_s: float = 0.0, part: int = 0, parts: int = 1) -> bytes:
        """The next broadcast's bytes. Raises PayloadTooLarge.

        Its number is the wall clock's microseconds, or one more than the last where that clock did not move on: so a
        receiver that has forgotten old senders can still tell what is older than all that it remembers.
        """
        self._last = max(self._last + 1, int(wall_s * 1e6))
        return seal(Envelope(self._cluster_id, self._me, self._last, target, kind, body, correlation,
                             min(max(timeout_s, 0.0), TIMEOUT_MAX_S), part, parts), self._keys)

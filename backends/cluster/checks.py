"""What every cluster backend accepts from its callers, checked before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.core.codec import BROADCAST_MAX_BYTES
from callboard.core.errors import InvalidArgument, PayloadTooLarge
from callboard.core.options import text

if TYPE_CHECKING:
    from callboard.core.records import LockToken, NodeInfo, Term

TTL_MIN_S: Final = 0.05
LEASE_TTL_MAX_S: Final = 3_600.0
"""Of a term and of a membership."""
LOCK_TTL_MAX_S: Final = 86_400.0
KEY_MAX: Final = 255
"""Characters of a lock's key and holder, of an owner, and of each string of a NodeInfo."""
NUMBER_MAX: Final = 2**62
NODES_MAX: Final = 1_000
LOCKS_MAX: Final = 10_000
"""Live locks of one cluster; a backend that counts them refuses one more."""


def ttl_of(value: float, what: str, limit_s: float = LEASE_TTL_MAX_S) -> float:
    """Seconds within 0.05 to limit_s.

    Raises:
        InvalidArgument: Raised when it is anything else.
    """
    if not TTL_MIN_S <= value <= limit_s:
        raise InvalidArgument(f"{what} must be {TTL_MIN_S} to {limit_s:,.0f} seconds, not {value!r}")
    return float(value)


def key_of(value: str, what: str = "lock key") -> str:
    """1 to 255 printable characters of any language.

    Raises:
        InvalidArgument: Raised when it is anything else.
    """
    return text(value, what, KEY_MAX)


def message_of(value: bytes) -> bytes:
    """A broadcast of at most 64 KiB.

    Raises:
        PayloadTooLarge: Raised when it is longer.
    """
    if len(value) > BROADCAST_MAX_BYTES:
        raise PayloadTooLarge(f"a broadcast is at most {BROADCAST_MAX_BYTES:,} bytes, this one has {len(value):,}; "
                              "put it into the store and broadcast where it is")
    return bytes(value)


def info_of(info: NodeInfo) -> NodeInfo:
    """A NodeInfo within limits: name and boot id given, other strings may be empty.

    Raises:
        InvalidArgument: Raised when it is not.
    """
    text(info.node, "node name", KEY_MAX)
    text(info.boot_id, "boot id", KEY_MAX)
    for name in ("host", "version", "socket"):
        value: str = getattr(info, name)
        if value:
            text(value, f"node's {name}", KEY_MAX)
    for name in ("pid", "started_ms"):
        number: int = getattr(info, name)
        if not 0 <= number < NUMBER_MAX:
            raise InvalidArgument(f"node's {name} must be 0 to {NUMBER_MAX:,}, not {number!r}")
    return info


def is_term(term: Term) -> bool:
    """Whether a backend can have granted this; what can't be is no term in force, and no error."""
    return 0 < term.number < NUMBER_MAX and _is_key(term.owner) and _is_key(term.handle)


def is_lock(token: LockToken) -> bool:
    """Whether a backend can have given this token."""
    return 0 < token.number < NUMBER_MAX and _is_key(token.key) and _is_key(token.holder)


def _is_key(value: str) -> bool:
    return 0 < len(value) <= KEY_MAX and value.isprintable()

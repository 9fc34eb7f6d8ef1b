"""Leadership and locks: what a cluster backend grants, and what the store makes of it."""

from __future__ import annotations

from typing import NamedTuple


class Epoch(NamedTuple):
    """What a leader shows with each fenced act: compared for equality with the store's fence."""

    number: int
    owner: str


class Term(NamedTuple):
    """A leadership that a cluster backend granted.

    Attributes:
        number: grows with each term of this backend (its fencing number).
        owner: boot id of the node that holds it.
        ttl_s: how long the backend keeps it without a renewal: what was granted, not what was asked for.
        handle: what the backend needs to renew or resign exactly this term; opaque.
    """

    number: int
    owner: str
    ttl_s: float
    handle: str


class TermClaim(NamedTuple):
    """How a new leader introduces itself to the store."""

    cluster_id: str
    backend: str
    number: int
    owner: str


class LockToken(NamedTuple):
    """A held lock: key, holder's secret, and a fencing number that only grows for the key."""

    key: str
    holder: str
    number: int
    ttl_s: float

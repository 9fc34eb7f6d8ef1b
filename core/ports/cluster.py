"""The contract of a cluster backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.ports.clock import Bell
    from callboard.core.records import (
        Characteristics,
        LockToken,
        NodeInfo,
        Term,
    )


class ClusterBackend(Protocol):
    """Coordination only: registration, locks, election, broadcast. Permission, never the truth about jobs."""

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        ...

    @property
    def cluster_id(self) -> str:
        """Names the installation; with `characteristics.name` it goes into the TermClaim."""
        ...

    def register(self, info: NodeInfo, ttl_s: float) -> None:
        """Make the node a member until ttl_s after the last call; called again to stay one."""
        ...

    def unregister(self, boot_id: str) -> None:
        """Leave at once. Harmless when repeated."""
        ...

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Members now."""
        ...

    def acquire_lock(self, key: str, holder: str, ttl_s: float) -> LockToken | None:
        """Take a lock for at most ttl_s, or None when another holds it. Never waits.

        The holder's own call, sent again, gets the same lock (the same number) for ttl_s from now.
        """
        ...

    def release_lock(self, token: LockToken) -> bool:
        """Release exactly this lock; False when it had expired or passed on: nothing is changed then."""
        ...

    def campaign(self, owner: str, ttl_s: float) -> Term | None:
        """Become leader, or None while any term is in force, also one of the owner's own. Never waits.

        A term that is granted always has a new number: an answer that comes late can then be resigned, whatever was
        granted since. `watch` tells when to try again.
        """
        ...

    def renew(self, term: Term, ttl_s: float) -> bool:
        """Keep exactly this term for ttl_s (at least the ttl_s that was granted); False when it is over.

        Uses a connection of its own.
        """
        ...

    def resign(self, term: Term) -> None:
        """End exactly this term; an older one is left alone. Harmless when repeated."""
        ...

    def leader(self) -> Term | None:
        """The term in force now, or None."""
        ...

    def watch(self, callback: Callable[[], None]) -> Bell:
        """Call back, from a thread of the backend's own, when leadership or membership may have changed. A hint.

        Called once soon after it began, too: what changed just before is not missed.
        """
        ...

    def broadcast(self, message: bytes) -> None:
        """Send to every subscriber, the sender's own too (64 KiB at most); `characteristics` says what may be lost.

        Raises:
            PayloadTooLarge: Raised when it is longer.
        """
        ...

    def subscribe(self, callback: Callable[[bytes], None]) -> Bell:
        """Call back with each broadcast sent from now on, from a thread of the backend's own."""
        ...

    def close(self) -> None:
        """Close connections; harmless when repeated."""
        ...

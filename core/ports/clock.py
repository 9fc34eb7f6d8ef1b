"""Clocks and bells."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Two clocks, both readable without I/O."""

    def boot_s(self) -> float:
        """Seconds since the machine started, suspension included; never jumps. For leases and timeouts."""
        ...

    def wall_s(self) -> float:
        """Seconds since 1970 by the machine's wall clock; may jump. For showing, never for deciding."""
        ...


class Bell(Protocol):
    """A subscription to a store's or cluster's hints; close() ends it."""

    def close(self) -> None:
        """Stop calling back. Harmless when repeated."""
        ...

"""A delayed job that is soon due: who writes it rings the leader, which would look only at its next poll."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

DUE_TOPIC: Final = "due"
"""The store's bell for it: `store.ring(DUE_TOPIC)`, after the jobs are written."""
SOON_S: Final = 2.0
"""What is due later is seen in time by the leader's polls: between two looks of an idle leader lies less."""


def due_soon(delays_s: Iterable[float]) -> bool:
    """Whether a ring is worth it; one without a delay is ready, and rings by itself."""
    return any(0.0 < delay_s < SOON_S for delay_s in delays_s)

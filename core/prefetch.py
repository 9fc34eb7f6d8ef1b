"""How much work may wait in a child ahead of its slots: about 10 ms of it, by what jobs of each name took so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

AHEAD_MAX_S: Final = 0.010
"""Expected work that may wait in a child before one more job is put behind it, in seconds."""
HELD_MAX: Final = 1_000
"""Limit of jobs in one child, running and waiting."""
PREFETCH_MAX: Final = 2_000
"""Limit of jobs of one pool that wait in its children: what a node's death would charge a loss for in vain."""
OVERHEAD_S: Final = 0.000_010
"""The least that a job costs its child, in seconds: it bounds how many no-op jobs wait."""
NAMES_MAX: Final = 4_000
"""Limit of names with an average of their own: as many as an app may register."""

_RISE: Final = 0.5  # a name that turned slow is believed at once,
_FALL: Final = 0.1  # one that turned fast only after some tens of runs


@dataclass(slots=True)
class Average:
    """A moving average of durations in seconds that rises fast and falls slowly."""

    value_s: float

    def add(self, mean_s: float, count: int) -> None:
        """Take in `count` durations with this mean."""
        share = _RISE if mean_s > self.value_s else _FALL
        weight = 1.0 - (1.0 - share) ** min(count, 100)
        self.value_s += weight * (mean_s - self.value_s)


class Expectations:
    """What a pool's jobs are expected to take, by name and for the mix of all."""

    def __init__(self) -> None:
        """Begin without knowledge: nothing waits behind a job of an unknown name."""
        self._by_name: dict[str, Average] = {}
        self._mix: Average | None = None

    def add(self, name: str, count: int, total_s: float) -> None:
        """`count` runs of that name took `total_s` seconds together."""
        if count < 1 or not 0.0 <= total_s < float("inf"):
            return
        mean_s = max(total_s / count, OVERHEAD_S)
        average = self._by_name.get(name)
        if average is not None:
            average.add(mean_s, count)
        elif len(self._by_name) < NAMES_MAX:
            self._by_name[name] = Average(mean_s)
        if self._mix is None:
            self._mix = Average(mean_s)
        else:
            self._mix.add(mean_s, count)

    def of(self, name: str) -> float | None:
        """Seconds that a job of this name is expected to take; None: unknown."""
        average = self._by_name.get(name)
        return None if average is None else average.value_s

    def room(self, children: int, slots: int) -> int:
        """How many jobs the pool may hold beyond its slots, by the mix that it ran lately."""
        if self._mix is None or children < 1:
            return 0
        lanes = max(slots, children)  # slots of one child share its queue, so each adds 10 ms of work
        ahead = int(AHEAD_MAX_S / self._mix.value_s) * lanes
        return min(ahead, children * HELD_MAX, PREFETCH_MAX)

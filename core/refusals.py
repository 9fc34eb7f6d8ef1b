"""Events about what was refused: the first at once, then one a second for all that came meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_S: Final = 1.0
REASONS_MAX: Final = 32


class Refusals:
    """Counts by reason, so that a flood of them is no flood of events."""

    def __init__(self, emit: Callable[[str, int], None]) -> None:
        """`emit` writes one event: reason, times."""
        self._emit = emit
        self._told_s: dict[str, float] = {}
        self._waiting: dict[str, int] = {}

    @property
    def due_s(self) -> float | None:
        """When the next event is to be written; None while nothing waits."""
        return min((self._told_s[reason] + EVERY_S for reason in self._waiting), default=None)

    def add(self, reason: str, now_s: float) -> None:
        """One more."""
        if reason not in self._told_s and len(self._told_s) >= REASONS_MAX:
            reason = "others"
        if now_s >= self._told_s.get(reason, now_s - EVERY_S) + EVERY_S:
            self._tell(reason, self._waiting.pop(reason, 0) + 1, now_s)
        else:
            self._waiting[reason] = self._waiting.get(reason, 0) + 1

    def flush(self, now_s: float) -> None:
        """Write what is due."""
        for reason in [r for r in self._waiting if now_s >= self._told_s[r] + EVERY_S]:
            self._tell(reason, self._waiting.pop(reason), now_s)

    def _tell(self, reason: str, times: int, now_s: float) -> None:
        self._told_s[reason] = now_s
        self._emit(reason, times)

"""Unique keys: whose each is, and until when."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from callboard.core.records import UniqueUntil

if TYPE_CHECKING:
    from callboard.core.records import NewJob

PERIODS_MAX: Final = 100_000
"""Keys that are held for a period, in number; beyond that, the one whose period ends first is freed before its time."""


class UniqueKeys:
    """At most one job holds a key. One that is held for a period stays held when its job has gone."""

    def __init__(self) -> None:
        """No key is held."""
        self._held: dict[str, tuple[str, int | None]] = {}  # the job's id, and when the period ends
        self._periods: list[tuple[int, str]] = []

    def holder(self, key: str, now_ms: int) -> str | None:
        """The job that holds the key."""
        job_id, until_ms = self._held.get(key, (None, None))
        return None if until_ms is not None and now_ms >= until_ms else job_id

    def hold(self, job: NewJob, now_ms: int) -> None:
        """The job's key, which is free, is the job's from now on."""
        if job.unique is None:
            return
        until_ms = None
        if job.unique_until is UniqueUntil.PERIOD:
            until_ms = now_ms + round((job.unique_period_s or 0.0) * 1000)
            heapq.heappush(self._periods, (until_ms, job.unique))
        self._held[job.unique] = job.id, until_ms
        if len(self._periods) > PERIODS_MAX:
            self._end_period()

    def free(self, job: NewJob) -> None:
        """The job holds its key no more, unless for a period; it may be another job's already."""
        if job.unique is not None and self._held.get(job.unique) == (job.id, None):
            del self._held[job.unique]

    def sweep(self, now_ms: int) -> None:
        """Forget the periods that are over."""
        while self._periods and self._periods[0][0] <= now_ms:
            self._end_period()

    def _end_period(self) -> None:
        until_ms, key = heapq.heappop(self._periods)
        if self._held.get(key, ("", None))[1] == until_ms:
            del self._held[key]

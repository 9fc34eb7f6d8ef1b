"""What operators read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.core.errors import InvalidArgument, NotFound
from callboard.core.records import JobState, QueueCounts

from .part import Part
from .rows import job_record
from .sessions import view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import JobRecord, SessionView

PAGE_MAX: Final = 1_000
"""Limit of jobs in one page."""
_LOOK_AT: Final = 10_000
"""Rows that one script looks at."""


class ReadPart(Part):
    """Reads of `callboard.core.ports.OperatorStore` and `LifeStore`."""

    def counts(self, queues: Sequence[str] | None = None) -> tuple[QueueCounts, ...]:
        """See the port."""
        (found,) = self._call("counts", False if queues is None else list(queues))
        return tuple(
            QueueCounts(name.decode(), delayed, ready, assigned, running, failed, completed, cancelled, paused,
                        None if depth < 0 else depth, None if aging_ms < 0 else aging_ms / 1000)
            for name, delayed, ready, assigned, running, failed, completed, cancelled, paused, depth, aging_ms in found)

    def sessions(self) -> tuple[SessionView, ...]:
        """See the port."""
        (found,) = self._call("sessions")
        return tuple(map(view, found))

    def job(self, job_id: str) -> JobRecord | None:
        """See the port."""
        return self._job(job_id, awaited=False)

    def await_end(self, job_id: str) -> JobRecord | None:
        """See the port."""
        return self._job(job_id, awaited=True)

    def jobs(
        self, state: JobState, queue: str | None, limit: int, before_id: str | None = None
    ) -> tuple[JobRecord, ...]:
        """See the port. It looks at 10,000 rows at a time: where there are more, some may move meanwhile."""
        if not 1 <= limit <= PAGE_MAX:
            raise InvalidArgument(f"limit must be 1 to {PAGE_MAX:,}, not {limit!r}")
        newest: list[bytes] = []
        place, more = 0, True
        while more:
            floor = newest[-1] if len(newest) == limit else b""
            before, refs, looked, more = self._call("index", int(state), queue or "", before_id or "", place, _LOOK_AT,
                                                    floor)
            if before < 0:
                raise NotFound(f"no job {before_id!r} to page on from", job=before_id)
            newest = sorted({*newest, *refs}, reverse=True)[:limit]
            place += looked
        found, now_ms = self._call("page", *newest)
        records = (job_record(one, now_ms) for one in found)
        return tuple(one for one in records if one.state is state)

    def _job(self, job_id: str, *, awaited: bool) -> JobRecord | None:
        found, now_ms = self._call("job", job_id, awaited)
        return None if found is False else job_record(found, now_ms)

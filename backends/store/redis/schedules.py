"""Cron entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from callboard.core.codec import decode, encode
from callboard.core.errors import CodecError, StoreError
from callboard.core.records import Backoff, NewJob, ScheduleRow, UniqueUntil

from .part import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_BYTES: Final = 4 << 20


class SchedulePart(Part):
    """Schedules of `callboard.core.ports.OperatorStore`."""

    def schedules(self) -> tuple[ScheduleRow, ...]:
        """See the port, by name."""
        (found,) = self._call("schedules")
        return tuple(sorted((_entry(name, data, tick) for name, data, tick in found), key=lambda row: row.name))

    def put_schedule(self, row: ScheduleRow) -> None:
        """See the port."""
        self._call("put_schedule", row.name, _bytes(row), row.last_tick_ms)

    def remove_schedule(self, name: str) -> bool:
        """See the port."""
        (was_there,) = self._call("remove_schedule", name)
        return bool(was_there)


def _bytes(row: ScheduleRow) -> bytes:
    """The entry without its last tick: the same bytes are the same entry."""
    job = row.job
    return encode(
        [row.cron, row.timezone, row.missed, float(row.window_s), row.version,
         [job.id, job.name, job.queue, job.body, job.priority, job.delay_s, job.max_attempts, job.timeout_s,
          job.backoff, job.unique, job.has_failed_hook, int(job.unique_until), job.unique_period_s, job.at_most_once,
          job.expires_s, job.result_ttl_s]],
        max_bytes=_MAX_BYTES, what="a schedule")


def _entry(name: bytes, data: bytes, last_tick_ms: int) -> ScheduleRow:
    try:
        cron, zone, missed, window_s, version, job, *_ = decode(data, max_bytes=_MAX_BYTES)
        return ScheduleRow(name.decode(), cron, zone, missed, window_s, _job(job), last_tick_ms, version)
    except (CodecError, ValueError, TypeError) as error:
        raise StoreError(f"schedule {name.decode('utf-8', 'replace')[:200]!r} in the job store can't be read: {error}",
                         cause=error) from error


def _job(values: Sequence[Any]) -> NewJob:
    (job_id, name, queue, body, priority, delay_s, max_attempts, timeout_s, backoff, unique, hook, holds, period_s,
     once, expires_s, ttl_s, *_) = values
    return NewJob(job_id, name, queue, body, priority, delay_s, max_attempts, timeout_s,
                  None if backoff is None else Backoff(*backoff), unique, hook, UniqueUntil(holds), period_s, once,
                  expires_s, ttl_s)

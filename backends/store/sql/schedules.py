"""Cron entries, and firing them: the tick moves by compare-and-set in the transaction that pushes its jobs."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

from callboard.core.codec import FRAME_MAX_BYTES, decode, encode
from callboard.core.errors import CodecError, StoreError
from callboard.core.records import Backoff, NewJob, ScheduleRow, UniqueUntil

from .again import again
from .producer import push_in
from .tx import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import Epoch

_JOB_MAX_BYTES: Final = FRAME_MAX_BYTES + (16 << 10)  # a body, and what stands around it
_JOB_FIELDS: Final = frozenset(field.name for field in fields(NewJob))


class SchedulePart(Part):
    """Schedules of `OperatorStore`, and `LeaderStore.fire_tick`."""

    def schedules(self) -> tuple[ScheduleRow, ...]:
        """See the port."""
        with self._look() as tx:
            return tuple(_schedule(row) for row in tx.run("operator.schedules"))

    @again
    def put_schedule(self, row: ScheduleRow) -> None:
        """See the port."""
        columns = (row.name, row.cron, row.timezone, row.missed, row.window_s, _pack_job(row.job), row.last_tick_ms,
                   row.version)
        with self._act(durable=True) as tx:
            found = tx.run("operator.schedule", row.name).fetchone()
            if found is None or replace(_schedule(found), last_tick_ms=row.last_tick_ms) != row:
                tx.run("operator.put_schedule", *columns)

    @again
    def remove_schedule(self, name: str) -> bool:
        """See the port."""
        with self._act() as tx:
            return bool(tx.run("operator.remove_schedule", name).rowcount)

    @again
    def fire_tick(self, epoch: Epoch, schedule: str, last_tick_ms: int, tick_ms: int, jobs: Sequence[NewJob]) -> bool:
        """See the port. Synced to the disk before this returns, as a push is."""
        with self._fenced(epoch, durable=True) as tx:
            if not tx.run("operator.move_tick", tick_ms, schedule, last_tick_ms).rowcount:
                return False
            if jobs:
                push_in(tx, self._dialect, jobs, self._bound)
            return True


def _schedule(row: tuple[Any, ...]) -> ScheduleRow:
    name, cron, timezone, missed, window_s, job, last_tick_ms, version = row
    return ScheduleRow(name, cron, timezone, missed, window_s, _unpack_job(name, job), last_tick_ms, version)


def _pack_job(job: NewJob) -> bytes:
    packed = {name: getattr(job, name) for name in _JOB_FIELDS}
    return encode(packed, max_bytes=_JOB_MAX_BYTES, what="a schedule's job")


def _unpack_job(schedule: str, column: bytes) -> NewJob:
    """The job in a column; fields that a newer version added are left out."""
    try:
        found = decode(column, max_bytes=_JOB_MAX_BYTES)
        known = {name: value for name, value in found.items() if name in _JOB_FIELDS}
        if known["backoff"] is not None:
            known["backoff"] = Backoff(*known["backoff"])
        known["unique_until"] = UniqueUntil(known.get("unique_until", UniqueUntil.DONE))
        return NewJob(**known)
    except (CodecError, AttributeError, TypeError, KeyError, ValueError) as error:
        raise StoreError(f"schedule {schedule} can't be read from the store: {error}; remove it and add it again",
                         cause=error) from error

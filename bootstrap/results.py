"""Waiting for what a job returned."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from callboard.core.errorrecord import decode_error
from callboard.core.errors import CodecError, JobFailed, NotFound, ResultLost, ResultTimeout
from callboard.core.lifecycle import LIVE
from callboard.core.options import seconds
from callboard.core.records import JobState
from callboard.core.result import decode_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from callboard.core.ports import JobStore
    from callboard.core.records import JobRecord

LOOK_S: Final = 1.0
"""Between two looks that no bell asked for: bells are hints, and may be lost."""


def wait_result(store: JobStore, job_id: str, timeout: float | timedelta | None) -> Any:
    """What the job returned, waited for.

    Args:
        store: the job's store.
        job_id: the job's id.
        timeout: seconds or timedelta; None waits without an end, 0 only looks.

    Raises:
        NotFound: Raised when the store has no job of that id (any more).
        JobFailed: Raised when it failed for good, or was cancelled.
        ResultLost: Raised when it completed and its result is not kept, or not any more.
        ResultTimeout: Raised when it has not ended in time.
    """
    deadline_s = _deadline_s(timeout)
    rung = threading.Event()
    bell = store.listen(f"job-{job_id}", rung.set)  # before the look, so that no end falls between the two
    try:
        while (record := _look(store, job_id)).state in LIVE:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise _too_late(record, timeout)
            rung.wait(min(LOOK_S, left_s))
            rung.clear()
    finally:
        bell.close()
    return result_of(record, store.store_now_ms())


async def await_result(store: JobStore, job_id: str, timeout: float | timedelta | None) -> Any:  # noqa: ASYNC109 - as in wait_result, for callers of both
    """As wait_result, for asyncio: the loop goes on meanwhile, and no thread waits."""
    deadline_s = _deadline_s(timeout)
    loop, rung = asyncio.get_running_loop(), asyncio.Event()
    bell = await asyncio.to_thread(store.listen, f"job-{job_id}", _into(loop, rung))
    try:
        while (record := await asyncio.to_thread(_look, store, job_id)).state in LIVE:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise _too_late(record, timeout)
            try:
                await asyncio.wait_for(rung.wait(), min(LOOK_S, left_s))
            except TimeoutError:
                continue
            finally:
                rung.clear()
    finally:
        await asyncio.to_thread(bell.close)
    return result_of(record, await asyncio.to_thread(store.store_now_ms))


def result_of(record: JobRecord, now_ms: int) -> Any:
    """What an ended job returned. Raises JobFailed and ResultLost as `wait_result`."""
    if record.state is not JobState.COMPLETED:
        raise _failure(record)
    if record.result_until_ms is None:
        raise ResultLost(f"job {record.id} completed and keeps no result: it was pushed with result_ttl=0", record.id)
    if record.result is not None:
        return decode_result(record.result)
    if now_ms >= record.result_until_ms:
        raise ResultLost(f"job {record.id} completed, and its result was kept for its result_ttl only, which is over",
                         record.id)
    return None


def _look(store: JobStore, job_id: str) -> JobRecord:
    record = store.await_end(job_id)
    if record is None:
        raise NotFound(f"no job has the id {job_id!r}: it was never pushed here, or was pruned, purged or forgotten",
                       job_id)
    return record


def _failure(record: JobRecord) -> JobFailed:
    what = "was cancelled" if record.state is JobState.CANCELLED else "failed for good"
    try:
        error = None if record.error is None else decode_error(record.error)
    except CodecError:
        error = None
    if error is None:
        return JobFailed(f"job {record.id} ({record.name}) {what}", record.id)
    return JobFailed(f"job {record.id} ({record.name}) {what}: {error.kind}: {error.message}", record.id,
                     kind=error.kind, traceback=error.traceback)


def _too_late(record: JobRecord, timeout: object) -> ResultTimeout:
    return ResultTimeout(f"job {record.id} ({record.name}) has not ended within {timeout} s: it is "
                         f"{record.state.name.lower()}; `callboard why {record.id}` says what it waits for", record.id)


def _deadline_s(timeout: float | timedelta | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + seconds(timeout, "timeout")


def _into(loop: asyncio.AbstractEventLoop, rung: asyncio.Event) -> Callable[[], None]:
    def ring() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(rung.set)

    return ring

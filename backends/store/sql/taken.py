"""From rows to the jobs that nodes get, and pools to and from their columns."""

from __future__ import annotations

import json
import math
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from callboard.core.errors import StoreError
from callboard.core.lifecycle import attempt_number
from callboard.core.records import Backoff, PoolReport, QueueShare, Step, TakenJob, Token, UniqueUntil

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .tx import Tx

_BACKOFF: Final = struct.Struct("<4d")

TakenColumns = tuple[
    int, str, str, str, bytes, int, int, int, int | None, float | None, bytes | None, bytes | None, int, int, int, int,
    int, str | None, int
]
"""n, id, name, queue, body, attempts, losses, step, max_attempts, timeout_s, backoff, error, hook, pushed_ms, doubts,
once, result_ttl_ms, unique_key, unique_until."""
TAKEN_WIDTH: Final = 19
_KEY: Final = 17


def taken(row: TakenColumns, token: Token) -> TakenJob:
    """A job for its node."""
    (n, job_id, name, queue, body, attempts, losses, step_number, max_attempts, timeout_s, backoff, error, hook,
     pushed_ms, doubts, once, result_ttl_ms, *_) = row
    step = _STEPS[step_number]
    return TakenJob(
        n, job_id, token, name, queue, body, attempt_number(attempts, step), losses, step, max_attempts, timeout_s,
        None if backoff is None else unpack_backoff(backoff), error, bool(hook), pushed_ms,
        doubts, bool(once), result_ttl_ms > 0,
    )


def free_started(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> None:
    """Free the unique keys that are held only until a node has taken the job; of rows that begin as TakenColumns."""
    tx.many("changes.free_key", sorted((row[_KEY], row[1]) for row in rows
                                       if row[_KEY] is not None and row[_KEY + 1] == UniqueUntil.STARTED))


_STEPS: Final = (Step.HANDLE, Step.FAILED_HOOK)


def pack_backoff(backoff: Backoff | None) -> bytes | None:
    """The column of a backoff."""
    return None if backoff is None else _BACKOFF.pack(*backoff)


@lru_cache(maxsize=256)
def unpack_backoff(column: bytes) -> Backoff | None:
    """The backoff in a column; None (the queue's setting holds) where the numbers are none of ours."""
    base_s, factor, cap_s, jitter = _BACKOFF.unpack(column)
    sound = all(math.isfinite(number) and number >= 0 for number in (base_s, factor, cap_s, jitter)) and jitter <= 1
    return Backoff(base_s, factor, cap_s, jitter) if sound else None


def pack_queues(pool: PoolReport) -> str:
    """The column of a pool's queues."""
    return json.dumps([[share.queue, share.weight] for share in pool.queues])


@lru_cache(maxsize=256)
def unpack_queues(column: str) -> tuple[QueueShare, ...]:
    """The queues in a column.

    Raises:
        StoreError: Raised when it is none of ours.
    """
    try:
        found: Sequence[tuple[object, object]] = json.loads(column)
        return tuple(QueueShare(str(queue), int(str(weight))) for queue, weight in found)
    except (ValueError, TypeError) as error:
        raise StoreError("a pool's queues in the store can't be read; restart its node", cause=error) from error

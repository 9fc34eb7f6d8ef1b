"""Jobs and rows as bytes: what Python writes into the store, and what it believes of what it reads there."""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack

from callboard.core.codec import decode, encode
from callboard.core.errors import CodecError, StoreError
from callboard.core.history import HISTORY_MAX, HISTORY_MAX_BYTES
from callboard.core.records import (
    Backoff,
    JobRecord,
    JobState,
    NewJob,
    ProgressView,
    RunRecord,
    Step,
    TakenJob,
    Token,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HOOK: Final = 1
ONCE: Final = 4
HAS_KEY: Final = 512
PROGRESS_MAX: Final = 500
"""Limit of a message of progress, in characters."""

_ROW: Final = struct.Struct("<BBBHQQIIQQQQBHBBQQQqQbB")  # rows.lua says what stands where
_RUN: Final = struct.Struct("<Bx" "xH20x" "IQ24x" "BHBB16x" "Q")  # what a node needs of it
_END: Final = struct.Struct("<QbB")
_TOKEN: Final = struct.Struct("<IQ")
_LENGTH: Final = struct.Struct("<H")
_HEADER_MAX_BYTES: Final = 8192
_STATES: Final = tuple(JobState)
_STEPS: Final = tuple(Step)
_TEXT_MAX: Final = 255


class RowView(NamedTuple):
    """A row as rows.lua packs it."""

    version: int
    state: int
    done: int
    attempts: int
    finished: int
    kept: int
    session: int
    epoch: int
    seq: int
    assigned: int
    taken: int
    started: int
    step: int
    flags: int
    losses: int
    doubts: int
    due: int
    expires: int
    pushed: int
    rank: int
    keep: int
    priority: int
    holds: int


def pack_jobs(jobs: Iterable[NewJob]) -> list[list[object]]:
    """New jobs as insert.lua takes them: in groups of those that follow each other and have the same options."""
    return [_group(list(alike)) for _, alike in groupby(jobs, _options)]


def _group(jobs: list[NewJob]) -> list[object]:
    first = jobs[0]
    flags = (HOOK if first.has_failed_hook else 0) | (ONCE if first.at_most_once else 0)
    keys = None if first.unique is None else [job.unique for job in jobs]
    end = _END.pack(round(first.result_ttl_s * 1000), first.priority, int(first.unique_until)) + named(first.queue)
    ends = [end + named(job.id) + b"\0\0" for job in jobs]
    if keys is not None:
        flags |= HAS_KEY
        ends = [end + named(job.id) + named(job.unique or "") for job in jobs]
    return [first.queue, first.priority, round(first.delay_s * 1000), flags, _expires_ms(first.expires_s),
            int(first.unique_until), round((first.unique_period_s or 0.0) * 1000), [job.id for job in jobs],
            [_job_bytes(job) for job in jobs], ends, keys or False]


def _options(job: NewJob) -> tuple[object, ...]:
    return (*_ALIKE(job), job.unique is None)


_ALIKE: Final = attrgetter("queue", "priority", "delay_s", "has_failed_hook", "at_most_once", "expires_s",
                           "unique_until", "unique_period_s", "result_ttl_s")


def named(text: str) -> bytes:
    """A name with its length in front, as rows have it."""
    data = text.encode()
    return _LENGTH.pack(len(data)) + data


def _expires_ms(expires_s: float | None) -> int:
    return 0 if expires_s is None else max(1, round(expires_s * 1000))


def _job_bytes(job: NewJob) -> bytes:
    header = _pack_header(job.name, job.max_attempts, job.timeout_s, job.backoff)
    return header + job.body


@lru_cache(maxsize=4096)
def _pack_header(name: str, max_attempts: int | None, timeout_s: float | None, backoff: Backoff | None) -> bytes:
    """The options of a job, with their length in front; few different ones occur."""
    header = encode([name, max_attempts, timeout_s, backoff], max_bytes=_HEADER_MAX_BYTES, what="options of a job")
    return _LENGTH.pack(len(header)) + header


def pack_token(token: Token) -> bytes:
    """A token as it stands in a row; one that no row can have is empty."""
    try:
        return _TOKEN.pack(*token)
    except struct.error:
        return b""


@lru_cache(maxsize=4096)
def _header(data: bytes) -> tuple[str, int | None, float | None, Backoff | None]:
    """Name, attempts, timeout, backoff; few different ones occur."""
    match decode(data, max_bytes=_HEADER_MAX_BYTES):
        case [str(name), int() | None as attempts, float() | int() | None as timeout_s, backoff, *_]:
            return name, attempts, timeout_s, None if backoff is None else _backoff(backoff)
        case _:
            raise CodecError("not the options of a job")


def _backoff(value: object) -> Backoff:
    match value:
        case [int() | float() as base, int() | float() as factor, int() | float() as cap, int() | float() as jitter]:
            return Backoff(float(base), float(factor), float(cap), float(jitter))
        case _:
            raise CodecError("not a backoff")


def _split(job: bytes) -> tuple[tuple[str, int | None, float | None, Backoff | None], bytes]:
    """The options of a job, and its body."""
    (length,) = _LENGTH.unpack_from(job)
    if len(job) < 2 + length:
        raise CodecError("a job's bytes are cut")
    return _header(job[2 : 2 + length]), job[2 + length :]


def _read_row(data: bytes) -> tuple[RowView, str, str, str]:
    """The row, its queue, id and unique key."""
    row = RowView(*_ROW.unpack_from(data))
    texts: list[str] = []
    place = _ROW.size
    for _ in range(3):
        (length,) = _LENGTH.unpack_from(data, place)
        texts.append(data[place + 2 : place + 2 + length].decode())
        place += 2 + length
    if row.version != 1 or row.state >= len(_STATES) or row.step >= len(_STEPS) or len(data) != place:
        raise CodecError("not a row of ours")
    return row, texts[0], texts[1], texts[2]


def taken_job(ref: bytes, data: bytes, job: bytes, error: bytes) -> TakenJob:
    """What a node gets of a row that was taken: the hot path.

    Raises:
        CodecError: Raised when the bytes are none of ours.
    """
    try:
        version, attempts, epoch, seq, step, flags, losses, doubts, pushed_ms = _RUN.unpack_from(data)
        queue_end = _ROW.size + 2 + (data[_ROW.size] | data[_ROW.size + 1] << 8)
        id_at = queue_end + 2
        id_end = id_at + (data[queue_end] | data[queue_end + 1] << 8)
        body_at = 2 + (job[0] | job[1] << 8)
        if version != 1 or id_end > len(data) or body_at > len(job):
            raise ValueError("a row or a job is cut")  # noqa: TRY301 - made a CodecError below, like the others
        name, max_attempts, timeout_s, backoff = _header(job[2:body_at])
        return TakenJob(
            int(ref), data[id_at:id_end].decode(), Token(epoch, seq), name, _name(data[_ROW.size + 2 : queue_end]),
            job[body_at:], attempts + (step == 0), losses, _STEPS[step], max_attempts, timeout_s, backoff,
            error or None, flags & HOOK != 0, pushed_ms, doubts, flags & ONCE != 0,
        )
    except (struct.error, ValueError, IndexError) as problem:
        raise CodecError(f"not a row of ours: {problem}", cause=problem) from problem


@lru_cache(maxsize=4096)
def _name(data: bytes) -> str:
    """A queue's name; few occur."""
    return data.decode()


def held_of(ref: bytes, data: bytes) -> tuple[str, Token]:
    """Id and token of a row whose job can't be read.

    Raises:
        CodecError: Raised when the row can't be read either.
    """
    try:
        row, _, job_id, _ = _read_row(data)
    except (struct.error, ValueError) as problem:
        raise CodecError(f"row {ref!r} can't be read", cause=problem) from problem
    return job_id, Token(row.epoch, row.seq)


def job_record(found: Sequence[Any], now_ms: int) -> JobRecord:
    """What an operator sees.

    Raises:
        StoreError: Raised when the bytes are none of ours.
    """
    ref, data, job, error, result, progress, history, node = found
    try:
        row, queue, job_id, unique = _read_row(data)
        (name, max_attempts, _, _), body = _split(job)
        return JobRecord(
            id=job_id, name=name, queue=queue, state=_STATES[row.state], priority=row.priority, attempts=row.attempts,
            losses=row.losses, max_attempts=max_attempts, pushed_ms=row.pushed, due_ms=row.due,
            finished_ms=row.finished or None, token=Token(row.epoch, row.seq) if row.seq else None,
            node=node.decode() or None, body=body, error=error or None, unique=unique or None, doubts=row.doubts,
            at_most_once=bool(row.flags & ONCE), expires_ms=row.expires or None, assigned_ms=row.assigned or None,
            taken_ms=row.taken or None, started_ms=row.started or None,
            result=(result or None) if now_ms < row.kept else None,
            result_until_ms=row.kept or None, progress=_progress(progress), history=_history(history),
        )
    except (struct.error, ValueError, CodecError) as problem:
        raise StoreError(f"row {bytes(ref).decode('ascii', 'replace')[:20]} of the job store can't be read: {problem}",
                         cause=problem) from problem


def pack_progress(fraction: float | None, message: str) -> bytes:
    """What a job says of its progress."""
    return encode([fraction, message[:PROGRESS_MAX]], what="progress")


def _progress(data: bytes) -> ProgressView | None:
    if not data:
        return None
    at_ms, said = _unpack(data)
    match decode(said):
        case [float() | int() | None as fraction, str(message)]:
            return ProgressView(fraction, message[:PROGRESS_MAX], int(at_ms))
        case _:
            raise CodecError("not a job's progress")


def _history(data: bytes) -> tuple[RunRecord, ...]:
    if not data:
        return ()
    if len(data) > HISTORY_MAX_BYTES:
        raise CodecError("a job's history is too long")
    runs: list[RunRecord] = []
    for run in _unpack(data)[-HISTORY_MAX:]:
        epoch, seq, node, assigned, taken, started, ended, end, error = run
        runs.append(RunRecord(Token(int(epoch), int(seq)), node.decode()[:_TEXT_MAX], int(assigned), int(taken),
                              int(started) or None, int(ended), end.decode()[:_TEXT_MAX], error or None))
    return tuple(runs)


def _unpack(data: bytes) -> Any:
    """What a script has packed: its strings are bytes."""
    try:
        return msgpack.unpackb(data, raw=True, strict_map_key=False)
    except (ValueError, msgpack.UnpackException, msgpack.StackError) as problem:
        raise CodecError(f"not packed by a script of ours: {problem}", cause=problem) from problem

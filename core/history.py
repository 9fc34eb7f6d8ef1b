"""What became of a job's runs, within bounds, as the bytes that stores keep.

The last run of a job that completed is told by the job's own row; this is about the others.
"""

from __future__ import annotations

from typing import Final

from callboard.core.codec import decode, encode
from callboard.core.errors import CodecError
from callboard.core.records import RunRecord, Token

HISTORY_MAX: Final = 20
"""Runs that are kept of one job; the oldest go first."""
HISTORY_MAX_BYTES: Final = 64 << 10
"""Limit of a job's history, in bytes; the oldest go first. One run with a long traceback takes 16 KiB and more."""
RUN_MAX_BYTES: Final = 40 << 10
"""Limit of one run; an error that would exceed it is left out."""

_TEXT_MAX: Final = 255


def encode_run(run: RunRecord) -> bytes:
    """One run; no element is nil, so that Lua's msgpack reads it too."""
    error = run.error or b""
    fields = [*run.token, run.node[:_TEXT_MAX], run.assigned_ms, run.taken_ms, run.started_ms or 0, run.ended_ms,
              run.end[:_TEXT_MAX]]
    whole = encode([*fields, error], max_bytes=HISTORY_MAX_BYTES * 4, what="history")
    return whole if len(whole) <= RUN_MAX_BYTES else encode([*fields, b""], what="history")


def decode_run(data: bytes) -> RunRecord:
    """The run in these bytes; fields that a newer version appended are left out.

    Raises:
        CodecError: Raised when the bytes are no run within the limits.
    """
    match decode(data, max_bytes=RUN_MAX_BYTES):
        case [int(epoch), int(seq), str(node), int(assigned), int(taken), int(started), int(ended), str(end),
              bytes(error), *_]:
            return RunRecord(Token(epoch, seq), node[:_TEXT_MAX], assigned, taken, started or None, ended,
                             end[:_TEXT_MAX], error or None)
        case _:
            raise CodecError("not a run of a job: it is an array of nine")


def add_run(history: bytes | None, run: RunRecord) -> bytes:
    """The history with one run more, for stores that keep it as one value. What can't be read is begun anew."""
    try:
        runs = _split(history)
    except CodecError:
        runs = []
    runs = [*runs, encode_run(run)][-HISTORY_MAX:]
    while len(data := encode(runs, max_bytes=HISTORY_MAX_BYTES * 8, what="history")) > HISTORY_MAX_BYTES:
        del runs[0]
    return data


def decode_history(history: bytes | None) -> tuple[RunRecord, ...]:
    """The runs, oldest first.

    Raises:
        CodecError: Raised when the bytes are no history within the limits.
    """
    return tuple(decode_run(data) for data in _split(history))


def _split(history: bytes | None) -> list[bytes]:
    if not history:
        return []
    match decode(history, max_bytes=HISTORY_MAX_BYTES, array_max=HISTORY_MAX):
        case [*runs] if all(isinstance(run, bytes) for run in runs):
            return runs
        case _:
            raise CodecError("not the history of a job: it is an array of runs")

"""Why an attempt ended, within bounds, as the bytes that stores keep."""

from __future__ import annotations

from typing import Final

from callboard.core.codec import decode, encode
from callboard.core.errors import CodecError
from callboard.core.lifecycle import Event
from callboard.core.records import ErrorRecord, OutcomeKind

KIND_MAX: Final = 255
MESSAGE_MAX: Final = 2_000
TRACEBACK_MAX: Final = 16_000
"""Limits in characters. Of a message the beginning is kept, of a traceback the end."""
RECORD_MAX_BYTES: Final = 4 * (KIND_MAX + MESSAGE_MAX + TRACEBACK_MAX) + 64

_CUT: Final = "[...]"


def error_record(kind: str, message: str, traceback: str = "") -> ErrorRecord:
    """An ErrorRecord within the limits; characters that UTF-8 can't carry are escaped."""
    tail = _clean(traceback)
    if len(tail) > TRACEBACK_MAX:
        tail = _CUT + tail[len(_CUT) - TRACEBACK_MAX :]
    return ErrorRecord(_head(kind, KIND_MAX), _head(message, MESSAGE_MAX), tail)


def encode_error(record: ErrorRecord) -> bytes:
    """Encode the record, cut to the limits first."""
    return encode(list(error_record(*record)), max_bytes=RECORD_MAX_BYTES, what="error record")


def decode_error(data: bytes) -> ErrorRecord:
    """The record in these bytes; fields that a newer version appended are left out.

    Raises:
        CodecError: Raised when the bytes are no error record within the limits.
    """
    match decode(data, max_bytes=RECORD_MAX_BYTES):
        case [str(kind), str(message), str(traceback), *_]:
            return error_record(kind, message, traceback)
        case _:
            raise CodecError("not an error record: it is an array of kind, message and traceback")


def _head(text: str, limit: int) -> str:
    clean = _clean(text)
    return clean if len(clean) <= limit else clean[: limit - len(_CUT)] + _CUT


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


EXPIRED: Final = encode_error(ErrorRecord("Expired", "no node had got it when its time was up (`expires`)"))
"""Why a job was cancelled that expired."""
_LOST: Final = encode_error(ErrorRecord("NodeLost", "the process that ran the job vanished"))
_SNOOZED_ONCE: Final = encode_error(ErrorRecord(
    "Snooze", "it asked to be run again later, but it starts at most once (`at_most_once`)"))
_FINAL: Final = frozenset({Event.QUARANTINE, Event.LOSE_ONCE, Event.LOSE_ONCE_TO_HOOK, Event.FAIL, Event.FAIL_TO_HOOK})


def node_lost(node: str, reason: str) -> bytes:
    """Why a run ended whose session did."""
    return encode_error(ErrorRecord("NodeLost", f"node {node} was lost: {reason}"))


def error_at_end(event: Event, kind: OutcomeKind, error: bytes | None) -> bytes | None:
    """The error of a run that ended so: what its node says, or where it says nothing and the job fails, why."""
    if error is not None or event not in _FINAL:
        return error
    return {OutcomeKind.LOST: _LOST, OutcomeKind.SNOOZED: _SNOOZED_ONCE}.get(kind)

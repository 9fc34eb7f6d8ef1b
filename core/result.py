"""What a job returned, within bounds, as the bytes that stores keep: the value, or why there is none.

msgpack of `[0, value]`, or of `[1, kind, message]` where the job completed and its result could not be kept.
"""

from __future__ import annotations

from typing import Any, Final

from callboard.core.codec import decode, encode
from callboard.core.errorrecord import error_record
from callboard.core.errors import CodecError, QueueError, ResultLost, Unserialisable

RESULT_MAX_BYTES: Final = 64 << 10
"""Limit of an encoded result."""

_VALUE: Final = 0
_LOST: Final = 1
_MARKER_MAX_BYTES: Final = 16 << 10  # a kind and a message within their own limits


def encode_result(value: object) -> bytes:
    """The bytes of what a job returned.

    Raises:
        Unserialisable: Raised when it is no plain data, or could not be read back: a dict whose keys are no strings.
        PayloadTooLarge: Raised when the bytes exceed 64 KiB.
    """
    data = encode([_VALUE, value], max_bytes=RESULT_MAX_BYTES, what="what the job returned")
    if isinstance(value, (dict, list, tuple)):  # other values always come back
        try:
            _decode(data)
        except CodecError as error:
            raise Unserialisable(f"what the job returned could not be read back ({error.message}); the keys of a dict "
                                 "must be strings", cause=error) from error
    return data


def lost_result(error: BaseException) -> bytes:
    """The bytes that say why there is no result."""
    try:
        text = error.message if isinstance(error, QueueError) else str(error)
    except Exception as failure:  # noqa: BLE001 - of user code: its __str__ may raise anything
        text = f"<its __str__ raised {type(failure).__name__}>"
    record = error_record(type(error).__name__, text)
    return encode([_LOST, record.kind, record.message], max_bytes=_MARKER_MAX_BYTES, what="a lost result")


def decode_result(data: bytes) -> Any:
    """What the job returned.

    Raises:
        ResultLost: Raised when it could not be kept; says why.
        CodecError: Raised when the bytes are no result of ours.
    """
    match _decode(data):
        case [0, value, *_]:
            return value  # pyright: ignore[reportUnknownVariableType]  # whatever plain data it is
        case [1, str(kind), str(message), *_]:
            raise ResultLost(f"the job completed, but its result could not be kept: {kind}: {message}")
        case _:
            raise CodecError("not a result: it is an array of 0 and a value, or of 1, a kind and a message")


def is_lost(data: bytes) -> bool:
    """Whether these bytes say that the result could not be kept."""
    return data[1:2] == b"\x01"


def _decode(data: bytes) -> Any:
    return decode(data, max_bytes=RESULT_MAX_BYTES, array_max=RESULT_MAX_BYTES)

"""msgpack within limits: the only way that bytes become values here.

Only whole, bounded frames are decoded. msgpack 1.2.4 or later is required: earlier versions allocate from a length that
the sender chose (measured: 830 MB for one hostile frame of 1 MiB).
"""

from __future__ import annotations

from typing import Any, Final

import msgpack

from callboard.core.errors import CodecError, PayloadTooLarge, Unserialisable

FRAME_MAX_BYTES: Final = 1 << 20
"""Limit of a frame on the node's socket and of a job's encoded arguments, in bytes."""
BROADCAST_MAX_BYTES: Final = 64 << 10
"""Limit of a broadcast through a cluster backend, in bytes."""
ARRAY_MAX: Final = 4096
"""Limit of elements of one array, and of pairs of one map."""
DEPTH_MAX: Final = 32
"""Limit of nesting. msgpack's own recursion limit is 1,024; a job's arguments need far less."""

_EXT_TIMESTAMP: Final = 12  # bytes of the longest timestamp, the one ext type that is let in


def encode(value: object, *, max_bytes: int = FRAME_MAX_BYTES, what: str = "message") -> bytes:
    """Encode plain data as msgpack.

    Args:
        value: None, bool, int (64 bits), float, str, bytes, list, tuple, dict, or an aware datetime, nested.
        max_bytes: limit of the result.
        what: how an error names the value.

    Raises:
        Unserialisable: Raised when a part is of another type, or too deep.
        PayloadTooLarge: Raised when the result exceeds max_bytes.
    """
    try:
        data: bytes = msgpack.packb(value, use_bin_type=True, datetime=True)
    except (TypeError, ValueError, OverflowError, UnicodeEncodeError) as error:
        raise Unserialisable(f"{what} can't be sent: {error}; use plain data (numbers, strings, bytes, lists, dicts, "
                             "aware datetimes)", cause=error) from error
    if len(data) > max_bytes:
        raise PayloadTooLarge(f"{what} is {len(data):,} bytes encoded, the limit is {max_bytes:,}; "
                              "store the data elsewhere and pass a reference")
    return data


def decode(data: bytes | memoryview, *, max_bytes: int = FRAME_MAX_BYTES, array_max: int = ARRAY_MAX) -> Any:
    """Decode one whole msgpack value; whatever the bytes are, only CodecError is raised.

    Args:
        data: one whole value, nothing behind it.
        max_bytes: longer input is refused before it is looked at.
        array_max: limit of elements of each array and map.

    Raises:
        CodecError: Raised when the bytes are not one whole value within the limits.
    """
    if len(data) > max_bytes:
        raise CodecError(f"{len(data):,} bytes exceed the limit of {max_bytes:,}")
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            timestamp=3,
            strict_map_key=True,
            max_str_len=max_bytes,
            max_bin_len=max_bytes,
            max_array_len=array_max,
            max_map_len=array_max,
            max_ext_len=_EXT_TIMESTAMP,
            ext_hook=_refuse_ext,
        )
    except CodecError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException, msgpack.StackError) as error:
        raise CodecError(f"not a message of ours: {type(error).__name__}: {error}"[:300], cause=error) from error


def _refuse_ext(code: int, _data: bytes) -> object:
    raise CodecError(f"extension type {code} is not accepted")

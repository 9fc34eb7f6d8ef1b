"""Frames on a node's socket: four bytes of length, most significant first, then one message as msgpack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.core.codec import FRAME_MAX_BYTES
from callboard.core.errors import CodecError
from callboard.core.messages import encode_message

if TYPE_CHECKING:
    from callboard.core.messages import Message

HEADER_BYTES: Final = 4


def frame(message: Message) -> bytes:
    """A message as one frame.

    Raises:
        PayloadTooLarge: Raised when it exceeds 1 MiB.
    """
    body = encode_message(message)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def body_length(header: bytes | bytearray | memoryview) -> int:
    """The length that a header announces, checked before anything is allocated for it.

    Raises:
        CodecError: Raised when it is 0 or more than 1 MiB.
    """
    length = int.from_bytes(header[:HEADER_BYTES], "big")
    if not 0 < length <= FRAME_MAX_BYTES:
        raise CodecError(f"a frame of {length:,} bytes was announced; 1 to {FRAME_MAX_BYTES:,} are allowed")
    return length


class FrameBuffer:
    """Gathers what a stream delivers until a frame is whole; takes no memory for what is only announced."""

    def __init__(self) -> None:
        """Begin empty."""
        self._data = bytearray()

    def __len__(self) -> int:
        """Bytes that wait."""
        return len(self._data)

    def add(self, data: bytes) -> None:
        """Keep what came; call `take` before adding more."""
        self._data += data

    def take(self) -> bytes | None:
        """The next whole frame's body, or None.

        Raises:
            CodecError: Raised when a header announces nothing or more than 1 MiB; the stream can't be read on.
        """
        if len(self._data) < HEADER_BYTES:
            return None
        end = HEADER_BYTES + body_length(self._data)
        if len(self._data) < end:
            return None
        body = bytes(memoryview(self._data)[HEADER_BYTES:end])
        del self._data[:end]
        return body

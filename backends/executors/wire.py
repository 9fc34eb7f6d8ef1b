"""Frames between node, template and children: a length of four bytes, then msgpack, within limits."""

from __future__ import annotations

import array
import os
import socket
import struct
from collections import deque
from enum import IntEnum
from typing import Any, Final

from callboard.core.codec import decode, encode
from callboard.core.errors import CodecError

FRAME_MAX_BYTES: Final = 4 << 20
"""Limit of a frame: the specs of 4,000 jobs, or a job whose body and error are as long as they may be."""
BATCH_MAX_BYTES: Final = 256 << 10
"""Bodies that go into one batch, in bytes; a single larger one goes alone."""
READ_BYTES: Final = 64 << 10

_LENGTH: Final = struct.Struct("<I")
_FDS_MAX: Final = 8


class ToTemplate(IntEnum):
    """Commands to the template."""

    BEGIN = 1  # settings
    FORK = 2  # ident, settings; with four descriptors
    SIGNAL = 3  # pid, signal
    KILL = 4  # pid: its group, its session and what descends from it
    STOP = 5


class FromTemplate(IntEnum):
    """What the template says."""

    READY = 20  # specs, threads
    FAILED = 21  # the import's error, its traceback
    FORKED = 22  # ident, pid, number of descriptors: a pidfd, where the system has them
    NOT_FORKED = 23  # ident, why
    EXITED = 24  # ident, pid, status: all that it started is dead too


class ToChild(IntEnum):
    """What a node sends to a child."""

    RUN = 1  # first index, default timeout, jobs
    SLOTS = 2  # number
    LIMIT = 3  # index of a job that has overrun
    END = 4


class FromChild(IntEnum):
    """What a child says."""

    READY = 20
    WAKE = 21  # [name, runs, ns] ...: look at the ring
    END = 22  # index, kind, error, permanent, retry_after_s, snooze_s, duration_s, result
    NOTE = 23  # event, token, fields
    SKIPPED = 24  # index of a job that was to be taken back


def frame(*parts: object) -> bytes:
    """One frame. Raises Unserialisable, PayloadTooLarge."""
    data = encode(parts, max_bytes=FRAME_MAX_BYTES, what="frame")
    return _LENGTH.pack(len(data)) + data


def _parts(value: Any) -> Any:
    if not isinstance(value, list) or not value or not isinstance(value[0], int):
        raise CodecError("a frame is a list that begins with its kind")
    return value  # pyright: ignore[reportUnknownVariableType]  # its parts are checked where they are used


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        """Begin at a frame's start."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[list[Any]]:
        """The frames that are whole with these bytes.

        Raises:
            CodecError: Raised when the bytes are no frames of ours; the stream is of no use from then on.
        """
        buffer = self._buffer
        buffer += data
        frames: list[list[Any]] = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > FRAME_MAX_BYTES:
                raise CodecError(f"a frame of {length:,} bytes exceeds the limit of {FRAME_MAX_BYTES:,}")
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            frames.append(_parts(decode(bytes(buffer[start + _LENGTH.size : end]), max_bytes=FRAME_MAX_BYTES)))
            start = end
        del buffer[:start]
        return frames


class FdChannel:
    """A stream socket on which frames travel with file descriptors."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a connected Unix stream socket, blocking."""
        self.sock = sock
        self.fds: deque[int] = deque()
        self._reader = FrameReader()

    def send(self, *parts: object, fds: tuple[int, ...] = ()) -> None:
        """Send a frame whole; the descriptors arrive with its first byte. Raises OSError when the peer is gone."""
        data = memoryview(frame(*parts))
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.sock.sendmsg([data], ancillary)
        if sent < len(data):
            self.sock.sendall(data[sent:])

    def receive(self, flags: int = 0) -> list[list[Any]] | None:
        """The frames that have come; None: the peer is gone. Descriptors go to `fds` in order.

        Raises:
            BlockingIOError: Raised with MSG_DONTWAIT when nothing has come.
            CodecError: Raised when the peer sent what is no frame.
        """
        space = socket.CMSG_SPACE(_FDS_MAX * array.array("i").itemsize)
        try:
            data, ancillary, _, _ = self.sock.recvmsg(READ_BYTES, space, flags)
        except ConnectionResetError:
            return None
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
                for fd in fds:
                    os.set_inheritable(fd, False)  # noqa: FBT003 - the system's function takes it so
                self.fds.extend(fds)
        return self._reader.feed(data) if data else None

"""What a child sends: frames in order, and the lines that its jobs write to stdout and stderr."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.executors.wire import FromChild, frame
from callboard.core.errors import QueueError
from callboard.core.job import JobContext, current_job

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from callboard.core.records import Token

_WRITERS_MAX: Final = 5_000
LOST_NODE: Final = 70
"""Exit status of a child whose socket broke."""


class Channel:
    """The child's end of the socket. Frames go out whole and in order, from whichever thread sends."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over the connected, blocking socket."""
        self.sock = sock
        self.nudge: Callable[[], None] = self.drain
        self.closed = False
        self._frames: deque[bytes] = deque()
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        """Send a frame now, or leave it to the thread that is sending."""
        self._frames.append(data)
        self.drain()

    def post(self, data: bytes) -> None:
        """Send a frame from inside user code, where an exception may strike between any two steps."""
        self._frames.append(data)
        self.nudge()

    def drain(self) -> None:
        """Send what has gathered."""
        frames = self._frames
        while frames and self._lock.acquire(blocking=False):
            try:
                while frames and not self.closed:
                    self.sock.sendall(frames.popleft())
            except OSError:
                os._exit(LOST_NODE)  # the node is gone, or a job closed our socket: nobody can hear of an end
            finally:
                self._lock.release()
            if self.closed:
                frames.clear()

    def note(self, event: str, token: Token | None, fields: dict[str, Any]) -> None:
        """Send a note from inside user code."""
        self.post(frame(FromChild.NOTE, event, token, fields))


class _Lines:
    """What one job wrote: the unfinished lines, and how many lines went out in this second."""

    __slots__ = ("dropped", "partial", "sent", "window_s")

    def __init__(self) -> None:
        self.partial: dict[str, bytes] = {}
        self.window_s = 0
        self.sent = 0
        self.dropped = 0


class Output:
    """Cuts what jobs write into lines and sends each with its job's token.

    Attributes:
        context: the one job that runs here, where there is only one; for threads that a job started.
    """

    def __init__(self) -> None:
        """Begin by writing through to the descriptors: that is what the template does."""
        self.context: JobContext | None = None
        self._channel: Channel | None = None
        self._lines: dict[Token | None, _Lines] = {}
        self._lines_per_s = 0
        self._line_max = 0

    def install(self) -> None:
        """Replace sys.stdout and sys.stderr; done before the app is imported, as it may keep references to them."""
        for name, fd in (("stdout", 1), ("stderr", 2)):
            stream = _JobStream(self, name, fd)
            text = io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", write_through=True)
            setattr(sys, name, text)

    def connect(self, channel: Channel, lines_per_s: int, line_max: int) -> None:
        """Send lines to this channel from now on."""
        self._channel = channel
        self._lines_per_s = lines_per_s
        self._line_max = line_max

    def disconnect(self) -> None:
        """Write through to the descriptors again: this is a process that a job forked."""
        self._channel = None

    def write(self, stream: str, fd: int, data: bytes) -> None:
        """Take what was written to a stream."""
        if self._channel is None:
            _write_all(fd, data)
            return
        token = self._token()
        lines = self._of(token)
        *whole, rest = (lines.partial.pop(stream, b"") + data).split(b"\n")
        while len(rest) > self._line_max:
            whole.append(rest[: self._line_max])
            rest = rest[self._line_max :]
        if rest:
            lines.partial[stream] = rest
        for line in whole:
            self._emit(token, lines, stream, line)

    def finish(self, token: Token) -> None:
        """The job has ended: send its unfinished lines, and how many were dropped."""
        lines = self._lines.pop(token, None)
        if lines is None:
            return
        for stream, rest in lines.partial.items():
            self._emit(token, lines, stream, rest)
        self._tell_dropped(token, lines)

    def _of(self, token: Token | None) -> _Lines:
        lines = self._lines.get(token)
        if lines is None:
            if len(self._lines) > _WRITERS_MAX:
                self._lines.clear()  # tasks that outlive their jobs, and go on printing
            lines = self._lines.setdefault(token, _Lines())
        return lines

    def _token(self) -> Token | None:
        try:
            return current_job().token
        except QueueError:
            return None if self.context is None else self.context.token

    def progress(self, token: Token, fields: dict[str, Any]) -> None:
        """Send how far a job is; counts as a line."""
        self._limited("job.progress", token, self._of(token), fields)

    def _emit(self, token: Token | None, lines: _Lines, stream: str, line: bytes) -> None:
        for start in range(0, max(len(line), 1), self._line_max):
            text = line[start : start + self._line_max].decode("utf-8", "backslashreplace")
            self._limited("job.output", token, lines, {"stream": stream, "line": text})

    def _limited(self, event: str, token: Token | None, lines: _Lines, fields: dict[str, Any]) -> None:
        now_s = int(time.monotonic())
        if now_s != lines.window_s:
            self._tell_dropped(token, lines)
            lines.window_s, lines.sent = now_s, 0
        if lines.sent < self._lines_per_s:
            lines.sent += 1
            self._note(event, token, fields)
        else:
            lines.dropped += 1

    def _tell_dropped(self, token: Token | None, lines: _Lines) -> None:
        dropped, lines.dropped = lines.dropped, 0
        if dropped:
            self._note("job.output_dropped", token, {"lines": dropped})

    def _note(self, event: str, token: Token | None, fields: dict[str, Any]) -> None:
        if self._channel is not None:
            self._channel.note(event, token, fields)


class _JobStream(io.BufferedIOBase):
    """The binary stream below sys.stdout or sys.stderr."""

    def __init__(self, output: Output, name: str, fd: int) -> None:
        self._output = output
        self._stream = name
        self._fd = fd

    def write(self, data: Any) -> int:
        content = bytes(data)
        self._output.write(self._stream, self._fd, content)
        return len(content)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    @property
    def name(self) -> str:
        return f"<{self._stream}>"

    def close(self) -> None:
        """A job that closes its sys.stdout does not close ours."""


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

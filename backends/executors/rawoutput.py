"""What is written to a child's descriptors 1 and 2 themselves: by C code, by programs that a job starts, by a crash."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.backends.executors.pump import Pump, Timer
    from callboard.core.ports import Clock

_READ_BYTES: Final = 64 << 10
_READS_MAX: Final = 16
"""Reads in one turn: 1 MiB."""
_REST_S: Final = 0.010
"""How long a pipe that flooded is left alone: the node then spends a few per cent on it."""


class RawOutput:
    """Reads one pipe and makes lines of it, so many a second; the others are counted."""

    def __init__(
        self, fd: int, pump: Pump, clock: Clock, lines_per_s: int, line_max: int,
        tell: Callable[[list[str], int], None],
    ) -> None:
        """Take over the pipe's reading end; `tell` gets lines and the number of dropped ones."""
        self._fd = fd
        self._pump = pump
        self._clock = clock
        self._lines_per_s = lines_per_s
        self._line_max = line_max
        self._tell = tell
        self._rest = b""
        self._window_s = 0
        self._told = 0
        self._timer: Timer | None = None
        os.set_blocking(fd, False)

    def start(self) -> None:
        """Begin to read; in the pump's thread."""
        self._timer = None
        if self._fd >= 0:
            self._pump.watch(self._fd, self.read)

    def read(self) -> None:
        """Read what is there, up to 1 MiB."""
        if self._fd < 0:
            return
        for _ in range(_READS_MAX):
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._pump.watch(self._fd, None)
                return
            self._take(data)
        self._pump.watch(self._fd, None)
        self._timer = self._pump.later(self._clock.boot_s() + _REST_S, self.start)

    def close(self) -> None:
        """Read the rest, tell it, close the pipe. Harmless when repeated."""
        if self._fd < 0:
            return
        self.read()
        if self._rest:
            self._take(b"\n")
        if self._timer is not None:
            self._timer.cancel()
        self._pump.watch(self._fd, None)
        os.close(self._fd)
        self._fd = -1

    def _take(self, data: bytes) -> None:
        now_s = int(self._clock.boot_s())
        if now_s != self._window_s:
            self._window_s, self._told = now_s, 0
        room = max(self._lines_per_s - self._told, 0)
        parts = (self._rest + data).split(b"\n")
        lines, rest = parts[:-1], parts[-1]
        dropped = max(len(lines) - room, 0)
        del lines[room:]
        if len(rest) > self._line_max:
            lines.append(rest)
            rest = b""
        self._rest = rest
        self._told += len(lines)
        texts = [line[: self._line_max].decode("utf-8", "backslashreplace") for line in lines]
        if texts or dropped:
            self._tell(texts, dropped)

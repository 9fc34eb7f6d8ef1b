"""A node as a process: from its settings to its exit code, with signals."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from callboard.core.errors import InvalidArgument, QueueError
from callboard.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TextIO

    from callboard.settings import NodeSettings

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ENDED: Final = b"\0"


class StopDuringStartError(Exception):
    """Raised in the main thread when a signal asks a node to stop that has not started yet."""


def serve(settings: NodeSettings, log_file: str | None = None, make_node: Callable[..., Node] = Node) -> int:
    """Run a node until it is told to stop; its exit code. To be called from the main thread.

    SIGTERM, SIGINT and SIGHUP begin a graceful stop; a second one kills what runs. Signals that the caller's parent had
    ignored stay ignored.

    Raises:
        UsageError: Raised when a setting is wrong or the app can't be imported.
        Unavailable: Raised when the store or cluster can't be reached.
        QueueError: Raised when the node gave up: another of its name lives, its store is gone, an actor died too often.
    """
    with _log_stream(log_file) as stream, _Signals() as signals:
        node: Node | None = None
        try:
            signals.starting()
            node = make_node(settings, log_stream=stream)
            node.start()
            signals.started()
        except StopDuringStartError:
            if node is not None:
                node.close()
            return 0
        threading.Thread(target=_wait, args=(node, signals), name="callboard-wait", daemon=True).start()
        times = 0
        while (number := signals.next()) != _ENDED and node.wait(0.0) is None:
            times += 1
            node.log.emit("node", "node.signal", signal=signal.Signals(number[0]).name)
            node.stop(None if times == 1 else 0.0, signal.Signals(number[0]).name)
        code = node.wait(0.0)
        if code:
            raise QueueError(f"the node ended: {node.reason}")
        return 1 if code is None else code


def _wait(node: Node, signals: _Signals) -> None:
    node.wait()
    signals.ended()


class _Signals:
    """Signals as bytes in a pipe, so that the main thread waits for them and for the node's end in one place."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._before: dict[int, object] = {}
        self._old_fd = -1
        self._starting = False
        self._came = False

    def __enter__(self) -> Self:
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup, or in a shell's background
                self._before[number] = signal.signal(number, self._arrived)
        self._old_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned
        os.close(self._reader)
        os.close(self._writer)

    def _arrived(self, number: int, frame: object) -> None:
        """The byte is in the pipe already; only a start is interrupted, which may take long."""
        del number, frame
        self._came = True
        if self._starting:
            self._starting = False
            raise StopDuringStartError

    def starting(self) -> None:
        """From now on a signal raises StopDuringStartError; at once, if one has come already."""
        self._starting = True
        if self._came:
            self._starting = False
            raise StopDuringStartError

    def started(self) -> None:
        """From now on signals only wake `next`."""
        self._starting = False

    def ended(self) -> None:
        """The node has ended; from its waiting thread."""
        with suppress(OSError):  # full of signals: reading one of them, the main thread looks for itself
            os.write(self._writer, _ENDED)

    def next(self) -> bytes:
        """The next signal's number, or a zero at the end; waits."""
        return os.read(self._reader, 1)


@contextmanager
def _log_stream(log_file: str | None) -> Generator[TextIO | None]:
    if log_file is None:
        yield None
        return
    try:
        descriptor = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise InvalidArgument(f"the log file {log_file!r} can't be written: {error.strerror}", cause=error) from error
    with os.fdopen(descriptor, "a", buffering=1, encoding="utf-8", errors="backslashreplace") as stream:
        yield stream

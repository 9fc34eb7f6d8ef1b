"""The first steps of a child, and its last."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Final

from callboard.backends.executors import linux
from callboard.backends.executors.asyncloop import AsyncChild
from callboard.backends.executors.childbase import limit_memory
from callboard.backends.executors.processloop import ProcessChild
from callboard.backends.executors.shared import Barrier, SharedState
from callboard.backends.executors.threadloop import ThreadChild

if TYPE_CHECKING:
    from callboard.backends.executors.childbase import ChildSettings
    from callboard.backends.executors.childio import Output

_KINDS: Final = {"process": ProcessChild, "thread": ThreadChild, "asyncio": AsyncChild}


def run_child(fds: list[int], ident: int, settings: ChildSettings, output: Output, template: int) -> None:
    """Be a child until its end. Never returns.

    Args:
        fds: socket, shared memory, stdout, stderr; taken over.
        ident: what it and its descendants are marked with.
        settings: from the node.
        output: whose streams are sys.stdout and sys.stderr already.
        template: pid of the parent.
    """
    with contextlib.suppress(PermissionError):  # it leads a session already: it was not forked but executed
        os.setsid()
    linux.die_with_parent(template, signal.SIGKILL)
    linux.mark(ident)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    sock_fd, memory_fd, stdout_fd, stderr_fd = fds
    os.dup2(stdout_fd, 1)
    os.dup2(stderr_fd, 2)
    memory = SharedState(memory_fd)
    for fd in (memory_fd, stdout_fd, stderr_fd):
        os.close(fd)
    limit_memory(settings.memory_max_bytes, settings.slots)
    Barrier().join()
    _reseed()
    sock = socket.socket(fileno=sock_fd)
    _KINDS[settings.kind](sock, memory, settings, output).serve()
    _end_process()


def _end_process() -> None:
    """End this child without what the app registered to be done at exit: it was imported in another process."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # a job may have closed it
    os._exit(0)


def _reseed() -> None:
    """`random` does it itself after a fork; numpy does not, so all children would draw the same numbers."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def threads() -> int:
    """Threads of this process, of Python or not."""
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - the number is all that is wanted
    except OSError:
        return threading.active_count()

"""The first steps of a child, and its last."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Final

from callboard.backends.executors import linux
from callboard.backends.executors.processloop import ProcessChild, end_process
from callboard.backends.executors.shared import Barrier, SharedState

if TYPE_CHECKING:
    from callboard.backends.executors.childbase import ChildSettings
    from callboard.backends.executors.childio import Output

_STACK_BYTES: Final = 8 << 20


def run_child(fds: list[int], settings: ChildSettings, output: Output, template: int) -> None:
    """Be a child until its end. Never returns.

    Args:
        fds: socket, shared memory, stdout, stderr; taken over.
        settings: from the node.
        output: whose streams are sys.stdout and sys.stderr already.
        template: pid of the parent.
    """
    with contextlib.suppress(PermissionError):  # it leads a session already: it was not forked but executed
        os.setsid()
    linux.die_with_parent(template, signal.SIGKILL)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    sock_fd, memory_fd, stdout_fd, stderr_fd = fds
    os.dup2(stdout_fd, 1)
    os.dup2(stderr_fd, 2)
    memory = SharedState(memory_fd)
    for fd in (memory_fd, stdout_fd, stderr_fd):
        os.close(fd)
    limit_memory(settings)
    Barrier().join()
    _reseed()
    sock = socket.socket(fileno=sock_fd)
    child = ProcessChild(sock, memory, settings, output)
    child.serve()
    end_process()


def limit_memory(settings: ChildSettings) -> None:
    """Let an allocation without end raise MemoryError here, rather than have the system kill whom it likes.

    The stacks of the threads that serve slots are counted by the system too, so they are added.
    """
    stack, _ = resource.getrlimit(resource.RLIMIT_STACK)
    stack = _STACK_BYTES if stack == resource.RLIM_INFINITY else stack
    wanted = settings.memory_max_bytes + stack * settings.slots
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


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

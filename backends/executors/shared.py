"""The memory that a node shares with one child: its lease, its slots, and one state byte for each job it holds.

The layout is fixed: 64-bit words, then a ring of bytes. Each word has one writer, is aligned and written whole.

| word | written by | says |
|---|---|---|
| 0 | node | the lease: instant of CLOCK_BOOTTIME in ns after which no job starts |
| 1 | node | jobs with an index below this that have not started are taken back |
| 2 | child | the memory's version, once it is mapped |
| 8 + 4 s | child | slot s: when its job started, in ns |
| 9 + 4 s | child | slot s: index of its job; 0: none |
| 10 + 4 s | node | slot s: index of the job that has overrun |
"""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
import time
from typing import Final

from callboard.backends.executors.options import SLOTS_MAX

RING: Final = 4_096
"""Jobs that a child may hold, and more: a power of two."""
MASK: Final = RING - 1
LEASE: Final = 0
REVOKED: Final = 1
FIRST_SLOT: Final = 8
SLOT_WORDS: Final = 4
START: Final = 0
INDEX: Final = 1
OVERRUN: Final = 2
NS: Final = 1_000_000_000
NEVER_NS: Final = (1 << 63) - 1

_WORDS: Final = FIRST_SLOT + SLOT_WORDS * SLOTS_MAX
_SIZE: Final = _WORDS * 8 + RING

_MEMBARRIER: Final = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "ppc64le": 365, "s390x": 356}
_QUERY: Final = 0
_GLOBAL_EXPEDITED: Final = 2
_REGISTER_GLOBAL_EXPEDITED: Final = 4


class SharedState:
    """Both sides' view of one child's memory.

    Attributes:
        words: the 64-bit words.
        ring: one SlotState byte a job, at its index modulo RING.
    """

    def __init__(self, fd: int) -> None:
        """Map the memory behind fd, which may be closed afterwards."""
        self._map = mmap.mmap(fd, _SIZE)
        whole = memoryview(self._map)
        self.words = whole[: _WORDS * 8].cast("q")
        self.ring = whole[_WORDS * 8 :]

    def close(self) -> None:
        """Unmap. Harmless when repeated."""
        self.words.release()
        self.ring.release()
        try:
            self._map.close()
        except BufferError:
            return  # a slice is still being read in another thread: the map goes with it

    def running(self, slots: int) -> list[tuple[int, float]]:
        """Index and start (in seconds of CLOCK_BOOTTIME) of what each of the first `slots` slots runs."""
        table = self.words[FIRST_SLOT : FIRST_SLOT + SLOT_WORDS * slots].tolist()
        slots_at = range(0, len(table), SLOT_WORDS)
        return [(table[at + INDEX], table[at + START] / NS) for at in slots_at if table[at + INDEX]]


def memory_fd() -> int:
    """A file of the right size that has no name."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("callboard-child", os.MFD_CLOEXEC)
    else:
        fd, path = tempfile.mkstemp(prefix="callboard-")
        os.unlink(path)  # noqa: PTH108 - the descriptor is all that is wanted
    os.ftruncate(fd, _SIZE)
    return fd


def boot_ns() -> int:
    """CLOCK_BOOTTIME in ns."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Barrier:
    """A memory barrier on all CPUs that run our processes, from one side only (Linux' membarrier).

    The node stores `revoked` and then loads a job's state; a child stores the state and then loads `revoked`. The node
    takes a job back only if it sees QUEUED after the barrier, and then the child is sure to see `revoked`: so a job
    that was taken back never starts, and the child pays nothing for it.
    """

    def __init__(self) -> None:
        """Find the system call. Where there is none, `cross` says False."""
        self._number = _MEMBARRIER.get(os.uname().machine, -1)
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        supported = self._call(self._number, _QUERY, 0, 0) if self._number > 0 else -1
        self._works = supported > 0 and bool(supported & _GLOBAL_EXPEDITED)

    def join(self) -> None:
        """Let this process be reached by others' barriers."""
        if self._works:
            self._call(self._number, _REGISTER_GLOBAL_EXPEDITED, 0, 0)

    def cross(self) -> bool:
        """Order all that was stored before it, on every side, against all that is loaded after; False: can't."""
        return self._works and self._call(self._number, _GLOBAL_EXPEDITED, 0, 0) == 0

"""How executors treat their children: numbers with units and defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Kind = Literal["process", "thread", "asyncio"]
KINDS: Final = ("process", "thread", "asyncio")
SLOTS_MAX: Final = 1_000
"""Limit of slots of one pool."""
MIB: Final = 1 << 20

_LIMIT_FILES: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """Options of a node's executors.

    Attributes:
        timeout_s: time limit of jobs that name none, until `set_timeout` says otherwise.
        kill_grace_s: how long a job may go on after TimeLimitExceeded was raised in it; 0: it is killed at once.
        replace_grace_s: how long the other jobs of a thread or asyncio child may go on once one had to be given up.
        child_memory_max_mb: limit of a child's data, in MiB; None: half of the machine's (or container's) memory.
        recycle_jobs: a process child is replaced after so many jobs.
        recycle_rss_mb: a child whose resident memory exceeds this, in MiB, is replaced; None: a quarter of the memory.
        import_timeout_s: how long the import of the app may take.
        output_lines_per_s: lines of output kept for each job and second; more are counted and dropped.
        output_line_max: characters of a line of output; longer ones are cut in pieces.
    """

    timeout_s: float = 300.0
    kill_grace_s: float = 2.0
    replace_grace_s: float = 30.0
    child_memory_max_mb: int | None = None
    recycle_jobs: int = 10_000
    recycle_rss_mb: int | None = None
    import_timeout_s: float = 120.0
    output_lines_per_s: int = 200
    output_line_max: int = 8_192

    @property
    def memory_max_bytes(self) -> int:
        """Limit of a child's data in bytes."""
        return memory_bytes() // 2 if self.child_memory_max_mb is None else self.child_memory_max_mb * MIB

    @property
    def rss_max_bytes(self) -> int:
        """Resident bytes from which on a child is replaced."""
        return memory_bytes() // 4 if self.recycle_rss_mb is None else self.recycle_rss_mb * MIB


def memory_bytes() -> int:
    """Memory of the machine, or of the container if that is less."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in _LIMIT_FILES:
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue  # no such cgroup version here
        if text.isdigit():
            found = min(found, int(text))
    return found

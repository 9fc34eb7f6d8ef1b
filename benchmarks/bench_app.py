"""The jobs of the benchmarks."""

from __future__ import annotations

import os
import time

import callboard


@callboard.job
def noop() -> None:
    """Do nothing: what remains is the queue's own work."""


@callboard.job
def stamp(path: str, pushed_ns: int) -> None:
    """Append how long it took from before the push to here, in nanoseconds."""
    line = f"{time.monotonic_ns() - pushed_ns}\n".encode()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)

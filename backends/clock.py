"""The machine's clocks."""

from __future__ import annotations

import time


class SystemClock:
    """`callboard.core.ports.Clock` on Linux: CLOCK_BOOTTIME goes on while the machine is suspended."""

    def boot_s(self) -> float:
        """Seconds since the machine started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_s(self) -> float:
        """Seconds since 1970."""
        return time.time()

"""The machine's clocks."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"


class SystemClock:
    """`callboard.core.ports.Clock` on Linux: CLOCK_BOOTTIME goes on while the machine is suspended."""

    def boot_s(self) -> float:
        """Seconds since the machine started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_s(self) -> float:
        """Seconds since 1970."""
        return time.time()


def machine_boot_id() -> str:
    """The kernel's id of this boot of the machine; "" where it tells none."""
    with suppress(OSError):
        return Path(_BOOT_ID).read_text(encoding="ascii").strip()[:64]
    return ""

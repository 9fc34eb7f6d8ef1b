"""Ids of jobs: sorted by the time they were made, and not to be guessed."""

from __future__ import annotations

import os
import time


def new_job_id() -> str:
    """32 hexadecimal digits: 12 of milliseconds since 1970, 20 random (80 bits)."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"

"""The job of this example: takes a moment, and leaves a line in a file of its own: evidence that needs no store."""

from __future__ import annotations

import os
import time
from pathlib import Path

import callboard


@callboard.job(max_attempts=5, retry_after=1, timeout=60)
def leave_a_line(number: int, folder: str, seconds: float) -> None:
    """Work for some seconds, then append who ran this, in which epoch it was assigned."""
    time.sleep(seconds)
    context = callboard.current_job()
    with (Path(folder) / str(number)).open("a", encoding="ascii") as file:
        file.write(f"epoch {context.token.epoch}, process {os.getpid()}\n")

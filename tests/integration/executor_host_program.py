"""A node in miniature: hosts executors, runs what it is told to, and waits to be killed."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from executor_kit import running


def main() -> None:
    kind, started, never, how = sys.argv[1:5]
    with running(kind, slots=2) as rig:
        rig.start("grandchildren", path=started, gate_path=never, how=how)
        Path(f"{started}.host").write_text(f"{rig.host.template_pid}\n")
        threading.Event().wait()


main()

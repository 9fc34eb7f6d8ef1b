"""What a test run left behind: processes that it started, files in the work tree."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

MARK = "CALLBOARD_TEST_RUN"
_CACHES = (
    ".venv/",
    "build/",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    ".import_linter_cache/",
    "__pycache__/",
    ".egg-info/",
)
_ENDS_WITH_ITS_PARENT = "multiprocessing.resource_tracker"


class Process(NamedTuple):
    """One running process."""

    pid: int
    parent: int
    marked: bool
    command: str


def processes(mark: str) -> list[Process]:
    """What runs because of this process: its descendants, and whoever was started with MARK=mark in the environment.

    The mark finds those that made themselves a session of their own and outlived their parent. Linux only (/proc).
    """
    running = [found for entry in Path("/proc").glob("[0-9]*") if (found := _read(entry, f"{MARK}={mark}".encode()))]
    ours = {os.getpid()}
    while more := {p.pid for p in running if p.parent in ours} - ours:
        ours |= more
    return [
        p
        for p in running
        if p.pid != os.getpid() and (p.pid in ours or p.marked) and _ENDS_WITH_ITS_PARENT not in p.command
    ]


def _read(entry: Path, mark: bytes) -> Process | None:
    """One entry of /proc; None when it has ended (a zombie too) or is another user's."""
    try:
        state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        if state in "ZX":
            return None
        marked = mark in (entry / "environ").read_bytes().split(b"\0")
        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    return Process(int(entry.name), int(parent), marked, command)


def files(root: Path) -> set[str]:
    """What `git status` says of the tree, ignored files too, without tools' caches; empty where git can't tell."""
    command = ["git", "--no-optional-locks", "status", "--porcelain", "--ignored", "--untracked-files=normal"]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return {line for line in told.stdout.splitlines() if not line.endswith(_CACHES)}

"""The check that a test run leaves nothing behind finds what it is for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import leftovers
import pytest
from kit import eventually, require

if TYPE_CHECKING:
    from pathlib import Path

SLEEPER = "import signal; print('up', flush=True); signal.pause()"
ESCAPER = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
"""


@pytest.fixture
def mark() -> str:
    """The mark of this run, set by the session's own check."""
    return os.environ[leftovers.MARK]


@pytest.fixture(autouse=True)
def _linux() -> None:
    require(sys.platform == "linux", "processes are found through /proc")


def test_a_child_is_found_and_its_death_too(mark: str) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, env={}) as child:
        child.stdout.readline()
        assert child.pid in {p.pid for p in leftovers.processes(mark)}  # by descent: it carries no mark
        child.kill()
    assert child.pid not in {p.pid for p in leftovers.processes(mark)}


def test_one_that_made_its_own_session_and_lost_its_parent_is_found(mark: str) -> None:
    done = subprocess.run([sys.executable, "-c", ESCAPER], stdout=subprocess.PIPE, text=True, check=True, timeout=30)
    orphan = int(done.stdout)
    try:
        assert orphan in {p.pid for p in leftovers.processes(mark)}
        assert orphan not in {p.pid for p in leftovers.processes("another run")}
    finally:
        os.kill(orphan, signal.SIGKILL)
    eventually(lambda: orphan not in {p.pid for p in leftovers.processes(mark)}, 5, "the orphan is gone")


def test_new_files_are_found_ignored_ones_too_but_no_caches(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("*.db\n__pycache__/\n")
    before = leftovers.files(tmp_path)
    (tmp_path / "callboard.db").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").touch()
    assert leftovers.files(tmp_path) - before == {"!! callboard.db", "?? notes.txt"}

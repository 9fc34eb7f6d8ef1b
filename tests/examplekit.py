"""Running the examples as a person does, in a folder of the test's own."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import leftovers
from kit import ROOT, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = ROOT / "examples"
RUN_S = 100.0


class Example:
    """A running example; what it starts is known by a mark in the environment."""

    def __init__(self, name: str, *args: str) -> None:
        mark = uuid.uuid4().hex
        self._mark = f"CALLBOARD_EXAMPLE_RUN={mark}".encode()
        command = [sys.executable, str(EXAMPLES / name / "run.py"), *args]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "CALLBOARD_EXAMPLE_RUN": mark}, start_new_session=True)

    def wait(self, code: int = 0) -> str:
        """Its output, once it ended with this code and nothing that it started runs."""
        output, _ = self.process.communicate(timeout=RUN_S)
        assert self.process.returncode == code, output
        eventually(lambda: not self.left(), 10.0, "the example's processes have ended")
        return output

    def kill(self) -> None:
        """kill -9: the program, its node, and the node's children."""
        while left := self.left():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.communicate(timeout=RUN_S)

    def left(self) -> list[int]:
        """What runs of it."""
        found = (leftovers._read(entry, self._mark) for entry in Path("/proc").glob("[0-9]*"))
        return [process.pid for process in found if process is not None and process.marked]


@contextmanager
def started(name: str, *args: str) -> Iterator[Example]:
    """An example that runs; killed at the end if it still does."""
    example = Example(name, *args)
    try:
        yield example
    finally:
        example.kill()


def run_example(name: str, *args: str, code: int = 0) -> str:
    """Run an example to its end; its output."""
    with started(name, *args) as example:
        return example.wait(code)


def load_jobs(name: str) -> Any:
    """An example's jobs module, under a name of its own: several of them are called jobs."""
    module_name = f"example_{name}_jobs"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, EXAMPLES / name / "jobs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module

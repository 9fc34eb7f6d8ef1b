"""The guide's code runs: blocks become files, scripts and commands, in a folder of their own for each page.

Before a block, `<!-- file: NAME -->` makes a file of it, `<!-- background -->` starts its command and lets it run.
Other Python blocks are one script a page, in order; lines of console blocks that begin with `$` are run after them.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from kit import ROOT, eventually

import callboard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GUIDE = ROOT / "docs" / "guide"
PAGES = sorted(path.name for path in GUIDE.glob("*.md"))
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
RUN_S = 60


class Page(NamedTuple):
    """A page's code."""

    files: dict[str, str]
    script: str
    background: list[str]
    commands: list[str]


def read(name: str) -> Page:
    page = Page({}, "", [], [])
    script = ""
    for block in BLOCK.finditer((GUIDE / name).read_text(encoding="utf-8")):
        mark, kind, text = block["mark"] or "", block["kind"], block["text"]
        commands = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
        if mark.startswith("file: "):
            page.files[mark.removeprefix("file: ")] = text
        elif kind == "python":
            script += text + "\n"
        elif mark == "background":
            page.background.extend(commands)
        elif kind == "console":
            page.commands.extend(commands)
        else:
            pytest.fail(f"{name} has a block of an unknown kind: {mark!r} {kind!r}")
    return page._replace(script=script)


def words(command: str) -> list[str]:
    parts = shlex.split(command)
    if parts[:2] == ["python", "-m"]:
        return [sys.executable, *parts[1:]]
    assert parts[0] == "callboard", command
    return [sys.executable, "-m", "callboard", *parts[1:]]


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("QUEUE_", "CALLBOARD_STORE")):
            monkeypatch.delenv(name)
    return tmp_path


def lay_out(page: Page, folder: Path) -> None:
    for name, text in page.files.items():
        (folder / name).write_text(text)
    # A program that may start a worker of its own: its modules are imported again by the node.
    (folder / "page.py").write_text(page.script)


@pytest.fixture
def background(folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.send_signal(signal.SIGINT)
    for process in started:
        assert process.wait(RUN_S) == 0, (folder / "node.log").read_text()


def node_leads(folder: Path) -> bool:
    store = callboard.Client(f"sqlite:///{folder}/callboard.db").store
    return bool(store.sessions()) and store.fence().epoch > 0


@pytest.mark.parametrize("name", PAGES)
def test_the_page_s_code_runs(name: str, folder: Path, background: list[subprocess.Popen[bytes]]):
    page = read(name)
    lay_out(page, folder)
    for command in page.background:
        with (folder / "node.log").open("wb") as log:
            background.append(subprocess.Popen(words(command), cwd=folder, stdout=log, stderr=log))
        eventually(lambda: node_leads(folder), 30, f"{command} works")
    if page.script:
        run(folder, sys.executable, "page.py")
    for command in page.commands:
        run(folder, *words(command))
    tests = [file for file in page.files if file.startswith("test_")]
    if tests:
        passed = run(folder, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
        assert "4 passed" in passed


def test_the_first_steps_lead_somewhere(folder: Path, background: list[subprocess.Popen[bytes]]):
    page = read("getting-started.md")
    lay_out(page, folder)
    with (folder / "node.log").open("wb") as log:
        background.append(subprocess.Popen(words(page.background[0]), cwd=folder, stdout=log, stderr=log))
    eventually(lambda: node_leads(folder), 30, "the node works")
    assert "hello, Edsger" in run(folder, sys.executable, "page.py")
    run(folder, *words("callboard push greet --arg name=Barbara"))
    eventually(lambda: "hello, Barbara" in run(folder, *words("callboard events")), 30, "Barbara is greeted")
    queue = callboard.connect(f"sqlite:///{folder}/callboard.db")
    # Ada and Alan were greeted by this node or by the program's own, whose events went with it.
    eventually(lambda: queue.stats().completed_jobs == 3, 30, "three are greeted")
    assert (queue.stats().pending_jobs, queue.stats().failed_jobs) == (1, 0)


def test_every_page_is_linked_and_every_link_leads_somewhere():
    index = (GUIDE / "README.md").read_text()
    for name in PAGES:
        assert name == "README.md" or f"({name})" in index
        text = (GUIDE / name).read_text()
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            assert (GUIDE / target).exists(), f"{name} links to {target}"


def test_the_tables_name_what_there_is():
    text = (GUIDE / "testing.md").read_text()
    for name in callboard.testing.__all__:
        assert f"`{name}" in text or name in {"InlineQueue", "PushedJob"}, name
    drivers = (GUIDE / "drivers.md").read_text()
    source = (ROOT / "bootstrap" / "queue.py").read_text()
    for variable in set(re.findall(r"QUEUE_(?:DRIVER|MEMORY|DATABASE)\w*", source)):
        assert f"`{variable}`" in drivers, variable

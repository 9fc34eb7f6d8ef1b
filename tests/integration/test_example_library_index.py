"""examples/library_index: every module accounted for, also when all of it is killed halfway."""

from __future__ import annotations

import ast
import os
import random
import re
import signal
import sqlite3
import sysconfig
import warnings
from contextlib import closing
from pathlib import Path

import pytest
from examplekit import load_jobs, run_example, started
from kit import eventually

from callboard import testing
from callboard.backends.clock import SystemClock
from callboard.core.errorrecord import decode_error
from callboard.core.records import JobRecord, JobState
from callboard.stores import open_store

NAME = "library_index"
LIBRARY = Path(sysconfig.get_path("stdlib"))
NOT_OURS = {"site-packages", "dist-packages", "__pycache__"}


def library() -> set[str]:
    """All modules, found in another way than the example does."""
    found: set[str] = set()
    for folder, inner, names in os.walk(LIBRARY):
        inner[:] = [name for name in inner if name not in NOT_OURS]
        found |= {os.path.relpath(Path(folder) / name, LIBRARY) for name in names if name.endswith(".py")}
    return found


def query(work: Path, sql: str) -> list[tuple]:
    """Read the index; nothing where it is not made yet."""
    try:
        with closing(sqlite3.connect(f"file:{work / 'index.db'}?mode=ro", uri=True, timeout=10)) as index:
            return index.execute(sql).fetchall()
    except sqlite3.OperationalError:
        return []


def jobs_of(work: Path, state: JobState) -> dict[str, JobRecord]:
    """The store's jobs, by module."""
    store = open_store(f"sqlite:///{work / 'jobs.db'}", SystemClock())
    found: dict[str, JobRecord] = {}
    before = None
    while page := store.jobs(state, "index", 1_000, before):
        found |= {record.id.removeprefix("index:"): record for record in page}
        before = page[-1].id
    store.close()
    return found


def parse(path: str) -> ast.Module:
    """Parse one module here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse((LIBRARY / path).read_bytes())


def test_the_whole_library_is_indexed_although_all_of_it_is_killed_halfway(tmp_path: Path):
    expected = library()
    with started(NAME, "--work", str(tmp_path)) as example:
        eventually(lambda: len(query(tmp_path, "SELECT path FROM modules")) > len(expected) / 2, 80, "half are indexed")
        example.kill()
    half = {path for (path,) in query(tmp_path, "SELECT path FROM modules")}
    assert len(half) < len(expected) - 100, "it was killed too late to show anything"

    output = run_example(NAME, "--work", str(tmp_path))
    assert "Going on where an earlier run stopped" in output

    rows = query(tmp_path, "SELECT path, functions, classes FROM modules")
    indexed = {path for path, _, _ in rows}
    failed = jobs_of(tmp_path, JobState.FAILED)
    assert len(rows) == len(indexed)
    assert indexed | set(failed) == expected
    assert not indexed & set(failed)
    assert half <= indexed
    assert set(jobs_of(tmp_path, JobState.COMPLETED)) == indexed
    assert f"{len(expected):,} modules: {len(indexed):,} indexed, {len(failed):,} failed." in output

    for path, record in failed.items():
        with pytest.raises((SyntaxError, ValueError, RecursionError)) as raised:
            parse(path)
        error = decode_error(record.error or b"")
        assert error.kind == type(raised.value).__name__
        assert (record.attempts, record.max_attempts) == (1, 3)
        assert f"  {path}: {error.kind}: {error.message}" in output

    twice = query(tmp_path, "SELECT path FROM modules JOIN (SELECT path, count(*) AS n FROM definitions GROUP BY path) "
                            "USING (path) WHERE n != functions + classes")
    assert twice == []
    seed = random.randrange(1 << 32)
    for path, functions, classes in random.Random(seed).sample(rows, 40):
        nodes = list(ast.walk(parse(path)))
        defined = [sum(isinstance(node, kind) for node in nodes)
                   for kind in (ast.FunctionDef | ast.AsyncFunctionDef, ast.ClassDef)]
        assert [functions, classes] == defined, (path, seed)


def test_the_summary_tells_the_largest_and_how_to_go_on(tmp_path: Path):
    output = run_example(NAME, "--work", str(tmp_path), "--only", "json")
    assert re.search(r"\d+ jobs in [\d.]+ s: [\d,]+ jobs/s", output)
    largest = [line.split()[-1] for line in output.split("The ten largest modules:\n")[1].split("\n\n")[0].splitlines()]
    assert largest == [path for (path,) in query(tmp_path, "SELECT path FROM modules ORDER BY lines DESC LIMIT 10")]
    assert f"callboard status --store sqlite:///{tmp_path}/jobs.db" in output
    assert f"callboard failed list --store sqlite:///{tmp_path}/jobs.db" in output
    again = run_example(NAME, "--work", str(tmp_path), "--only", "json")
    assert "is finished; making a new one" in again
    assert len(query(tmp_path, "SELECT path FROM modules")) == len(list((LIBRARY / "json").glob("*.py")))


def test_ctrl_c_ends_everything_and_says_how_to_go_on(tmp_path: Path):
    with started(NAME, "--work", str(tmp_path)) as example:
        eventually(lambda: len(query(tmp_path, "SELECT path FROM modules")) > 20, 60, "it is at work")
        example.process.send_signal(signal.SIGINT)
        assert "run it again and it goes on" in example.wait(code=130)


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path):
    with started(NAME, "--work", str(tmp_path)):
        eventually(lambda: query(tmp_path, "SELECT what FROM run"), 60, "the first one has begun")
        assert "another run is at work" in run_example(NAME, "--work", str(tmp_path), "--only", "json", code=1)


def test_what_is_no_python_fails_at_once_with_the_reason(tmp_path: Path):
    jobs = load_jobs(NAME)
    (tmp_path / "old.py").write_text("print 'two'\n")
    (tmp_path / "null.py").write_bytes(b"x = 1\0")
    (tmp_path / "good.py").write_text("import os\n\ndef f():\n    class C: ...\n    async def g(): ...\n")
    index = str(tmp_path / "index.db")
    jobs.create_index(index)
    with testing.inline(allow_failures=True) as queue:
        for name in ("old.py", "null.py", "good.py", "good.py"):
            jobs.index_module.push(index, str(tmp_path), name)
    jobs.kept_index(index).close()
    assert [(run.arguments["path"], run.attempt) for run in queue.report.failed] == [("old.py", 1), ("null.py", 1)]
    assert [run.error.kind for run in queue.report.failed if run.error is not None][0] == "SyntaxError"  # noqa: RUF015 - the whole list shows on failure
    assert query(tmp_path, "SELECT * FROM modules") == [("good.py", 5, 2, 1)]
    assert sorted(query(tmp_path, "SELECT line, kind, name FROM definitions")) == [
        (3, "function", "f"), (4, "class", "C"), (5, "function", "g")]
    assert query(tmp_path, "SELECT line, module FROM imports") == [(1, "os")]


def test_a_file_that_can_t_be_read_is_tried_again(tmp_path: Path):
    jobs = load_jobs(NAME)
    with testing.inline(allow_failures=True) as queue:
        jobs.index_module.push(str(tmp_path / "index.db"), str(tmp_path), "gone.py")
    assert len(queue.report.retried) == 2
    assert len(queue.report.failed) == 1

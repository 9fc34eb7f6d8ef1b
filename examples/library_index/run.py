"""Index the standard library of the Python that runs this: one job a module, on a node of this machine."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import sqlite3
import sys
import sysconfig
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import jobs

import callboard

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
NOT_OURS = {"site-packages", "dist-packages", "__pycache__"}
LOOK_S = 0.1
QUEUE = "index"


@dataclass(frozen=True)
class Place:
    """Where a run keeps its files."""

    folder: Path

    @property
    def index(self) -> str:
        """The index that is made."""
        return str(self.folder / "index.db")

    @property
    def store(self) -> str:
        """The address of the jobs' store."""
        return f"sqlite:///{self.folder / 'jobs.db'}"


@click.command(help=__doc__)
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), default=HERE / "work",
              help="Folder for the index and the jobs' store.")
@click.option("--fresh", is_flag=True, help="Begin anew, also where a run was interrupted.")
@click.option("--workers", type=click.IntRange(1, 64), default=len(os.sched_getaffinity(0)), show_default=True,
              help="Modules that are parsed side by side.")
@click.option("--only", default="", help="Only modules below this folder of the library, such as 'json'.")
def main(work: Path, fresh: bool, workers: int, only: str) -> None:  # noqa: FBT001 - click's flag
    """Index the library and say what came of it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    root = Path(sysconfig.get_path("stdlib"))
    paths = modules(root, only)
    place = Place(work.resolve())
    place.folder.mkdir(parents=True, exist_ok=True)
    with sole_user(place):
        prepare(place, f"{sys.version}\n{root}\n{only}\n{len(paths)}", fresh=fresh)
        try:
            took_s, done = run(place, root, paths, workers)
        except KeyboardInterrupt:
            fail("\nInterrupted. What is done is kept: run it again and it goes on.", 130)
        except callboard.QueueError as error:
            fail(error.message, error.exit_code)
        sys.exit(summary(place, paths, took_s, done))


def modules(root: Path, only: str) -> list[str]:
    """The library's modules, by path below root."""
    found = (path.relative_to(root) for path in (root / only).rglob("*.py"))
    return sorted(str(path) for path in found if not NOT_OURS & set(path.parts))


@contextmanager
def sole_user(place: Place) -> Iterator[None]:
    """Hold the folder's lock, which ends with this process however it ends."""
    with (place.folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fail(f"another run is at work in {place.folder}", 1)
        yield


def prepare(place: Place, what: str, *, fresh: bool) -> None:
    """Go on with an interrupted run of the same library, else begin anew."""
    state = read_state(place)
    if fresh or state is None or state["what"] != what or state["finished"]:
        if state is not None and state["finished"] and not fresh:
            click.echo(f"The index in {place.folder} is finished; making a new one.")
        for file in [*place.folder.glob("index.db*"), *place.folder.glob("jobs.db*")]:
            file.unlink()
        jobs.create_index(place.index)
        with closing(jobs.open_index(place.index)) as index:
            index.execute("CREATE TABLE run (what TEXT, finished INTEGER)")
            index.execute("INSERT INTO run VALUES (?, 0)", (what,))
    else:
        click.echo(f"Going on where an earlier run stopped, in {place.folder}.")


def read_state(place: Place) -> dict[str, Any] | None:
    """What an earlier run says of itself; None where there is none that can be read."""
    if not Path(place.index).exists():
        return None
    try:
        with closing(jobs.open_index(place.index)) as index:
            row = index.execute("SELECT what, finished FROM run").fetchone()
    except sqlite3.DatabaseError:
        return None
    return None if row is None else {"what": row[0], "finished": bool(row[1])}


def run(place: Place, root: Path, paths: list[str], workers: int) -> tuple[float, int]:
    """Push a job for each module and wait until all have ended: seconds, and jobs done by this run."""
    queue = callboard.connect(place.store, queue=QUEUE)
    # Short times to live: what was killed is given up, and its jobs go to this run, within some seconds.
    config = callboard.WorkerConfig(concurrency=workers, stop_grace=2, lease_ttl=1.5, session_ttl=3,
                                    log_level="error")
    before = ended(queue)
    with callboard.Worker(queue, config) as worker:
        click.echo(f"Node {worker.node_id} runs; pushing {len(paths):,} jobs, one for each module in {root}.")
        started_s = time.monotonic()
        # The ids say which module it is: pushed again by a second run, it is the same job.
        queue.push_many([jobs.index_module.bind(place.index, str(root), path) for path in paths],
                        ids=[f"index:{path}" for path in paths])
        watch(queue, worker, len(paths))
        return time.monotonic() - started_s, ended(queue) - before


def watch(queue: callboard.Queue, worker: callboard.Worker, total: int) -> None:
    """Show progress until every job has ended."""
    look = threading.Event()
    with click.progressbar(length=total, label="Indexing", show_pos=True) as bar:
        while bar.pos < total:
            bar.update(ended(queue) - bar.pos)
            look.wait(LOOK_S)
            worker.pool.stats()  # raises when the node has ended: nothing would move any more


def ended(queue: callboard.Queue) -> int:
    """Jobs that completed or failed for good."""
    stats = queue.stats()
    return stats.completed_jobs + stats.failed_jobs


def summary(place: Place, paths: list[str], took_s: float, done: int) -> int:
    """Say what came of it; the exit code."""
    queue = callboard.connect(place.store, queue=QUEUE)
    reasons = {job.arguments["path"]: f"{job.error_kind}: {job.error}" for job in queue.failed.list(1_000)}
    with closing(jobs.open_index(place.index)) as index:
        indexed = {path for (path,) in index.execute("SELECT path FROM modules")}
        totals = index.execute("SELECT sum(lines), sum(functions), sum(classes) FROM modules").fetchone()
        imports = index.execute("SELECT count(*) FROM imports").fetchone()[0]
        largest = index.execute("SELECT path, lines, functions, classes FROM modules ORDER BY lines DESC LIMIT 10")
        click.echo(f"\n{done:,} jobs in {took_s:.1f} s: {done / took_s:,.0f} jobs/s.")
        click.echo(f"{len(paths):,} modules: {len(indexed):,} indexed, {len(reasons):,} failed.")
        if indexed:
            click.echo("{:,} lines, {:,} functions, {:,} classes, {:,} imports.".format(*totals, imports))
        if reasons:
            click.echo("\nCould not be parsed:")
        for path, reason in sorted(reasons.items()):
            click.echo(f"  {path}: {reason}")
        click.echo("\nThe ten largest modules:")
        for path, lines, functions, classes in largest:
            click.echo(f"  {lines:>7,} lines {functions:>6,} functions {classes:>5,} classes  {path}")
        missing = set(paths) - indexed - set(reasons)
        if missing or indexed & set(reasons) or len(indexed) + len(reasons) != len(paths):
            click.echo(f"\nNot accounted for: {', '.join(sorted(missing)) or 'a module counts twice'}", err=True)
            return 1
        index.execute("UPDATE run SET finished = 1")
    go_on(place)
    return 0


def go_on(place: Place) -> None:
    """Commands to look further with."""
    command = callboard_command()
    store = shlex.quote(place.store)
    click.echo("\nGo on with:")
    for rest in ("status", "failed list"):
        click.echo(f"  {command} {rest} --store {store}")
    if shutil.which("sqlite3") is None:
        return
    query = "SELECT name, path FROM definitions WHERE kind = 'class' AND name LIKE '%Queue%'"
    click.echo(f'  sqlite3 {shlex.quote(shown(Path(place.index)))} "{query}"')


def callboard_command() -> str:
    """The command beside the Python that runs this."""
    script = Path(sys.executable).with_name("callboard")
    if script.exists():
        return shlex.quote(shown(script))
    return f"{shlex.quote(shown(Path(sys.executable)))} -m callboard"


def shown(path: Path) -> str:
    """A path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def fail(message: str, code: int) -> NoReturn:
    """End with a line on standard error."""
    click.echo(message, err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()

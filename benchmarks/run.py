"""callboard against the bare limit, on the same work in one run: `make bench`.

Everything is as shipped: fences, tokens, retries, stats and events on. A node is a process of its own (on the memory
store, threads of this process). Prints tables, and writes benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import bare
import bench_app
import measure

import callboard
from callboard.core.config import PoolConfig
from callboard.core.records import QueueShare
from callboard.handle import InProcessNode, NodeHandle, ProcessNode
from callboard.settings import NodeSettings

HERE = Path(__file__).parent
SLOTS = 10
KINDS = ("process", "thread")
STORES = ("sqlite", "memory")
DESIGN_LIMIT = 80_000
"""DESIGN.md: claim, child process and acknowledgement on Redis in batches of 100, jobs/s, on such a machine."""


@dataclass
class Figures:
    """One configuration's measurements, one value a repetition."""

    push: list[float] = field(default_factory=list)
    single_push: list[float] = field(default_factory=list)
    drain: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=30_000, help="no-op jobs of one drain")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--pings", type=int, default=300, help="pushes of the idle latency")
    options = parser.parse_args()
    figures: dict[tuple[str, str], Figures] = {(store, kind): Figures() for store in STORES for kind in KINDS}
    limit: list[float] = []
    for repetition in range(options.repetitions):
        with tempfile.TemporaryDirectory(prefix="callboard-bench-") as folder:
            limit.append(bare.drain(Path(folder) / "bare.db", options.jobs))
        print(f"{repetition + 1}: bare {limit[-1]:,.0f} jobs/s", flush=True)
        for (store, kind), found in figures.items():
            with tempfile.TemporaryDirectory(prefix="callboard-bench-") as folder:
                one(store, kind, found, options, Path(folder))
            print(f"{repetition + 1}: {store} {kind} drain {found.drain[-1]:,.0f} jobs/s, idle p50 "
                  f"{found.p50_ms[-1]:.2f} ms", flush=True)
    report(figures, limit, options)


def one(store: str, kind: str, found: Figures, options: argparse.Namespace, folder: Path) -> None:
    """One repetition of one configuration."""
    url = f"sqlite:///{folder}/jobs.db" if store == "sqlite" else f"memory://{folder.name}"
    queue = callboard.connect(url, max_jobs=options.jobs + 10_000)
    settings = NodeSettings(app=("bench_app",), store=queue.url, executor=kind, log_style="off",
                            pools=(PoolConfig((QueueShare("default"),), SLOTS),))
    node = start(settings, queue, found)
    pid = os.getpid() if store == "memory" else node.status().pid
    drained(queue, 0, lambda: queue.push(bench_app.noop.bind()), 1)
    latency(queue, found, options.pings, folder)
    found.rss_mb.append(measure.tree_rss_mb(pid)[0])
    before = queue.stats().completed_jobs
    queue.store.set_paused("default", paused=True)
    jobs = [bench_app.noop.bind() for _ in range(options.jobs)]
    started_s = time.perf_counter()
    queue.push_many(jobs)
    found.push.append(options.jobs / (time.perf_counter() - started_s))
    found.drain.append(drained(queue, before, lambda: queue.store.set_paused("default", paused=False), options.jobs))
    node.stop(5.0)
    queue.close()


def start(settings: NodeSettings, queue: callboard.Queue, found: Figures) -> NodeHandle:
    """A node that works, and how long it took."""
    node: NodeHandle
    if queue.url.startswith("memory"):
        from callboard.backends.clock import SystemClock  # noqa: PLC0415 - one kind of node only
        from callboard.stores import open_cluster  # noqa: PLC0415 - one kind of node only

        node = InProcessNode(settings, queue.store, open_cluster(queue.url, SystemClock()), None)
    else:
        node = ProcessNode(settings, None)
    started_s = time.perf_counter()
    node.start()
    found.ready_s.append(time.perf_counter() - started_s)
    return node


def drained(queue: callboard.Queue, before: int, begin: object, jobs: int) -> float:
    """Jobs per second from `begin` until so many more are completed, as the store counts."""
    pause = Event()
    started_s = time.perf_counter()
    begin()  # type: ignore[operator]  # a function without arguments
    while queue.stats().completed_jobs < before + jobs:
        pause.wait(0.02)
        if time.perf_counter() - started_s > 300:  # noqa: PLR2004 - five minutes: something is broken
            sys.exit(f"not drained: {queue.stats()}")
    return jobs / (time.perf_counter() - started_s)


def latency(queue: callboard.Queue, found: Figures, pings: int, folder: Path) -> None:
    """From before the push to the first line of the job, one job at a time on an idle node."""
    path, pause = folder / "stamps", Event()
    pushes: list[float] = []
    for _ in range(pings):
        started_ns = time.monotonic_ns()
        queue.push(bench_app.stamp.bind(str(path), started_ns))
        pushes.append((time.monotonic_ns() - started_ns) / 1e9)
        pause.wait(0.015)
    for _ in range(500):
        if path.exists() and path.read_text().count("\n") >= pings:
            break
        pause.wait(0.02)
    times_ms = [int(line) / 1e6 for line in path.read_text().split()]
    found.p50_ms.append(statistics.median(times_ms))
    found.p99_ms.append(measure.percentile(times_ms, 0.99))
    found.single_push.append(1 / statistics.median(pushes))


def report(figures: dict[tuple[str, str], Figures], limit: list[float], options: argparse.Namespace) -> None:
    """The tables."""
    middle = statistics.median(limit)
    head = ["store, executor", "drain, jobs/s", "of the bare limit", "of DESIGN's 80,000/s", "bulk push, jobs/s",
            "single push, jobs/s", "idle p50, ms", "idle p99, ms", "PSS of the tree, MiB", "start to ready, s"]
    rows = []
    for (store, kind), f in figures.items():
        drain = statistics.median(f.drain)
        rows.append([
            f"{store}, {kind}", measure.spread(f.drain), f"{drain / middle:.2f}", f"{drain / DESIGN_LIMIT:.2f}",
            measure.spread(f.push), measure.spread(f.single_push), measure.spread(f.p50_ms, 2),
            measure.spread(f.p99_ms, 2), measure.spread(f.rss_mb), measure.spread(f.ready_s, 2),
        ])
    imported = statistics.median(_import_ms() for _ in range(5))
    machine = (f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
               f"SQLite {sqlite3.sqlite_version}")
    command = f"run.py --jobs {options.jobs} --repetitions {options.repetitions} --pings {options.pings}"
    lines = [
        "# Results",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}.",
        f"Command: `make bench` (`benchmarks/{command}`).",
        f"Median (minimum-maximum) of {options.repetitions} repetitions, interleaved.",
        f"No-op jobs, concurrency {SLOTS}, everything as shipped. On SQLite the node is a process of its own; on",
        "memory it shares this process, and its memory includes the benchmark's.",
        "",
        "The bare limit (SQLite, one child, batches of 100, no promises; `benchmarks/bare.py`): ",
        f"{measure.spread(limit)} jobs/s. `import callboard`: {imported:.0f} ms above an empty interpreter.",
        "",
        measure.table(head, rows),
        "",
    ]
    text = "\n".join(lines)
    print(text)
    notes = (HERE / "NOTES.md").read_text() if (HERE / "NOTES.md").exists() else ""
    (HERE / "RESULTS.md").write_text(text + ("\n" + notes if notes else ""))


def _import_ms() -> float:
    def run(code: str) -> float:
        started_s = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return (time.perf_counter() - started_s) * 1000

    return run("import callboard") - run("pass")


if __name__ == "__main__":
    main()

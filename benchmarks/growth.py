"""Whether assigning gets slower as a store fills: `benchmarks/growth.py [--stores sqlite,redis,postgresql,mariadb]`.

Two places on one server: a small one with 1,000 waiting jobs, and one that grows to a million finished and a million
waiting ones. An assign (survey, plan of 100 jobs, assign) is timed on both in turn, so that what slows the machine
slows both; what follows it (take, finish, and as many new jobs as went) is not timed. Then 500,000 more jobs go
through the big place, and it is timed again. Everything through the store's own acts, durable as documented.
Prints a table, and writes benchmarks/GROWTH.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import measure

from callboard.backends.clock import SystemClock
from callboard.core.records import (
    Assignment,
    Held,
    NewJob,
    NodeInfo,
    Outcome,
    OutcomeKind,
    Plan,
    PoolReport,
    QueueShare,
    TermClaim,
)
from callboard.stores import migrate_store, open_store

if TYPE_CHECKING:
    from callboard.core.ports import JobStore

HERE = Path(__file__).parent
STORES = ("sqlite", "redis", "postgresql", "mariadb")
BATCH = 100
"""Jobs of a timed assign."""
CHUNK = 2_000
"""Jobs of one assign, take and finish while a place is filled: as a busy leader's."""
PUSH = 1_000
ASSIGN_BATCH_MAX = 2_000
"""As a node's (`NodeConfig.assign_batch_max`)."""
SMALL = 1_000
BOUND = 1.2
"""Times the small place: what docs/stores.md allows."""


@dataclass
class Place:
    """A store, with a leader and a node of its own, at work without actors."""

    store: JobStore
    pushed: int = 0
    times_s: list[float] = field(default_factory=list)

    def open(self) -> None:
        """Begin a term and a session."""
        self.epoch = self.store.begin_term(TermClaim("growth", "bench", 1, "boot-leader"))
        pool = PoolReport("q", (QueueShare("q"),), CHUNK, CHUNK)
        self.session = self.store.open_session(NodeInfo("n1", "boot-n1"), 3_600.0, [pool])

    def push(self, count: int) -> None:
        """Push so many jobs of 40 bytes."""
        end = self.pushed + count
        while self.pushed < end:
            step = range(self.pushed, min(end, self.pushed + PUSH))
            self.store.push([NewJob(f"j{n:08}", "work", "q", b"\x81\xa4text\xbfthe arguments of a job, 40 bytes")
                             for n in step])
            self.pushed += len(step)

    def assign(self, count: int) -> float:
        """Look, and assign so many; seconds."""
        started_s = time.perf_counter()
        self.store.survey(self.epoch, ASSIGN_BATCH_MAX)
        receipt = self.store.assign(self.epoch, Plan((Assignment(self.session, "q", "q", count),)))
        took_s = time.perf_counter() - started_s
        if receipt.assigned != {self.session: count}:
            sys.exit(f"{count} jobs were to be assigned: {receipt}")
        return took_s

    def finish(self) -> None:
        """Take and finish what is assigned."""
        taken = self.store.take(self.session, ["q"])
        receipt = self.store.finish(
            self.session, [Outcome(Held(job.ref, job.id, job.token), OutcomeKind.COMPLETED) for job in taken])
        if receipt.applied != len(taken):
            sys.exit(f"not all were finished: {receipt}")

    def pass_through(self, count: int) -> None:
        """Push, assign, take and finish so many, fast; as many wait as before."""
        for done in range(0, count, CHUNK):
            now = min(CHUNK, count - done)
            self.push(now)
            self.assign(now)
            self.finish()

    def timed(self) -> None:
        """One measured assign; then as many new jobs as went."""
        self.times_s.append(self.assign(BATCH))
        self.finish()
        self.push(BATCH)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", default=",".join(STORES))
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--through", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=300, help="timed assigns of each place")
    options = parser.parse_args()
    rows = []
    for kind in options.stores.split(","):
        with ExitStack() as cleanup:
            small, big = (Place(store) for store in _stores(kind, cleanup))
            for place in (small, big):
                place.open()
            rows += one(kind, small, big, options)
    report(rows, options)


def one(kind: str, small: Place, big: Place, options: argparse.Namespace) -> list[list[str]]:
    """The rows of one kind of store."""
    small.push(SMALL)
    big.push(SMALL)
    rows = [compare(kind, "1,000 waiting, as the other", small, big, options.rounds)]
    for what, act in (
        (f"{options.finished:,} finished", lambda: big.pass_through(options.finished)),
        (f"and {options.waiting:,} waiting", lambda: big.push(options.waiting)),
        (f"and {options.through:,} more went through", lambda: big.pass_through(options.through)),
    ):
        started_s = time.perf_counter()
        act()
        print(f"{kind}: {what}, after {time.perf_counter() - started_s:.0f} s", flush=True)
        rows.append(compare(kind, what, small, big, options.rounds))
    return rows


def compare(kind: str, what: str, small: Place, big: Place, rounds: int) -> list[str]:
    """Time both in turn."""
    for place in (small, big):
        place.timed()  # its first is of a cold cache
        place.times_s.clear()
    for number in range(rounds):
        for place in (small, big) if number % 2 else (big, small):
            place.timed()
    a, b = (statistics.median(place.times_s) for place in (small, big))
    tails = [measure.percentile(place.times_s, 0.95) for place in (small, big)]
    print(f"{kind}: {what}: {a * 1000:.2f} ms and {b * 1000:.2f} ms, x {b / a:.2f}", flush=True)
    return [kind, what, f"{a * 1000:.2f}", f"{b * 1000:.2f}", f"{b / a:.2f}", f"{tails[1] / tails[0]:.2f}"]


def _stores(kind: str, cleanup: ExitStack) -> list[JobStore]:
    """Two empty stores of a kind, on one server (or disk)."""
    if kind == "sqlite":
        folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="callboard-growth-"))
        urls = [f"sqlite:///{folder}/{name}.db" for name in ("small", "big")]
    else:
        import servers  # noqa: PLC0415 - from tests/, which main() adds to the path

        server = getattr(servers, kind)(durable=True)
        cleanup.callback(server.close)
        server.start()
        if kind == "redis":
            urls = [f"{server.url}?name={name}" for name in ("small", "big")]
        else:
            urls = [f"{server.url}?table={name}" for name in ("small", "big")]
            for url in urls:
                migrate_store(url)
    stores = [open_store(url, SystemClock()) for url in urls]
    for store in stores:
        cleanup.callback(store.close)
    return stores


def report(rows: list[list[str]], options: argparse.Namespace) -> None:
    """The table."""
    head = ["store", "the big place holds", "small, ms", "big, ms", "big / small", "the same at p95"]
    slower = [row for row in rows if float(row[4]) > BOUND]
    lines = [
        "# Growth",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.system()} {platform.release()}, {os.cpu_count()} cores.",
        f"Python {platform.python_version()}; load {os.getloadavg()[0]:.1f} at the end.",
        f"Command: `{shlex.join(['python', 'benchmarks/growth.py', *sys.argv[1:]])}`.",
        "",
        f"An assign of {BATCH} jobs (survey, plan, assign): the median of {options.rounds} on a place with 1,000 jobs",
        "that wait, and on one that fills, in turn, on one server. The first row of each store shows the noise.",
        "",
        measure.table(head, rows),
        "",
        f"Slower by more than a fifth: {', '.join(f'{row[0]} ({row[1]})' for row in slower) or 'none'}.",
        "",
    ]
    text = "\n".join(lines)
    print(text)
    (HERE / "GROWTH.md").write_text(text)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent / "tests"))
    main()

"""What the SQLite store's tests share: jobs, a node, a leader, and programs that run beside the test."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from callboard.backends.clock import SystemClock
from callboard.backends.store.sql import SqlStoreOptions, open_sqlite
from callboard.core.records import (
    Assignment,
    Held,
    JobState,
    NewJob,
    NodeInfo,
    Outcome,
    OutcomeKind,
    Plan,
    PoolReport,
    QueueShare,
    TermClaim,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from callboard.backends.store.sql import SqlStore

QUICK = SqlStoreOptions(busy_s=0.3)
WAIT_S = 30.0


def opened(path: Path | str, options: SqlStoreOptions | None = None, clock=None) -> SqlStore:
    """A store on the machine's clock."""
    return open_sqlite(str(path), clock=clock or SystemClock(), options=options or SqlStoreOptions())


def job(job_id: str, queue: str = "q", **options: object) -> NewJob:
    """A job."""
    return NewJob(job_id, "app.work", queue, b"\x81\xa1a\x80", **options)


def lead(store: SqlStore, number: int = 1, owner: str = "boot-1"):
    """Begin a term."""
    return store.begin_term(TermClaim("c1", "store", number, owner))


def node(store: SqlStore, name: str = "n1", queue: str = "q", capacity: int = 1_000):
    """Open a session with one pool."""
    pools = (PoolReport(queue, (QueueShare(queue),), capacity, capacity),)
    return store.open_session(NodeInfo(name, f"boot-of-{name}"), 5.0, pools)


def run(store: SqlStore, epoch, session, count: int = 1, queue: str = "q"):
    """Assign and take."""
    return store.assign(epoch, Plan((Assignment(session, queue, queue, count),)), session).taken


def outcome(taken, kind: OutcomeKind = OutcomeKind.COMPLETED, delay_s: float = 0.0) -> Outcome:
    """The end of a run."""
    return Outcome(Held(taken.ref, taken.id, taken.token), kind, delay_s)


def edit(path: Path | str, *statements: str) -> None:
    """What somebody else does to the file."""
    with closing(sqlite3.connect(path, timeout=5.0, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@contextmanager
def program(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python program beside the test, with pipes; killed at the end."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def output_of(process: subprocess.Popen[str]) -> str:
    """Wait for a program that must end well."""
    out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, f"exit {process.returncode}: {err[-2000:]}"
    return out


LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
print("open", flush=True)
"""
"""Holds the file's write lock until a line comes."""

STATES = {
    "delayed": (JobState.DELAYED,),
    "ready": (JobState.READY,),
    "assigned": (JobState.ASSIGNED,),
    "running": (JobState.RUNNING,),
    "failed": (JobState.FAILED,),
    "finished": (JobState.COMPLETED, JobState.CANCELLED),
}


def check_counters(path: Path | str) -> None:
    """Each counter in the file is what counting the rows gives."""
    with closing(sqlite3.connect(path)) as connection:
        rows: dict[tuple[str, int], int] = {
            (queue, state): count
            for queue, state, count in connection.execute(
                "SELECT queue, state, count(*) FROM callboard_jobs GROUP BY queue, state")}
        for (queue,) in connection.execute("SELECT queue FROM callboard_queues").fetchall():
            for column, states in STATES.items():
                (counted,) = connection.execute(
                    f"SELECT {column} FROM callboard_queues WHERE queue = ?", (queue,)).fetchone()  # noqa: S608 - ours
                assert counted == sum(rows.get((queue, state), 0) for state in states), (queue, column)
        held = {(session, queue): count for session, queue, count in connection.execute(
            "SELECT session, queue, held FROM callboard_held WHERE held <> 0")}
        assert held == {(session, queue): count for session, queue, count in connection.execute(
            "SELECT session, queue, count(*) FROM callboard_jobs WHERE state IN (2, 3) GROUP BY session, queue")}

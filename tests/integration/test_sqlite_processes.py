"""Several processes on one SQLite file: all of them get their turn, kill -9 loses nothing that was acknowledged."""

import logging
import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from kit import eventually
from sqlitekit import WAIT_S, check_counters, job, lead, node, opened, outcome, output_of, program, run

from callboard.backends.store.sql.sqlite import database
from callboard.core.records import Assignment, JobState, Plan

_LOG = logging.getLogger(__name__)
PUSHER = """
import sys
from callboard.backends.clock import SystemClock
from callboard.backends.store.sql import open_sqlite
from callboard.core.records import NewJob
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = open_sqlite(path, clock=SystemClock())
for number in range(count):
    store.push([NewJob(f"{name}-{number}-{k}", "n", "q", b"x" * 100) for k in range(number % 4 + 1)])
    print(number, flush=True)
store.close()
"""
WORKER = """
import sys, threading
from callboard.backends.clock import SystemClock
from callboard.backends.store.sql import open_sqlite
from callboard.core.records import *
path, name = sys.argv[1:]
store = open_sqlite(path, clock=SystemClock())
pools = (PoolReport("q", (QueueShare("q"),), 20, 20),)
session = store.open_session(NodeInfo(name, "boot-" + name), 60.0, pools)
rung, end = threading.Event(), threading.Event()
bell = store.listen(f"session-{session}", rung.set)
threading.Thread(target=lambda: (sys.stdin.readline(), end.set(), rung.set()), daemon=True).start()
print(session, flush=True)
while not end.is_set():
    rung.wait(0.2)
    rung.clear()
    taken = store.take(session, ["q"])
    for one in taken:
        print(one.id, flush=True)
    store.finish(session, [Outcome(Held(t.ref, t.id, t.token), OutcomeKind.COMPLETED) for t in taken])
store.close()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


def acknowledged(name: str, numbers: list[int]) -> set[str]:
    return {f"{name}-{number}-{k}" for number in numbers for k in range(number % 4 + 1)}


def test_kill_9_of_a_pusher_loses_nothing_acknowledged(path):
    seed = random.randrange(1 << 30)
    _LOG.warning("seed %s", seed)
    draw = random.Random(seed)
    opened(path).close()
    sure, possible = set(), set()
    for life in range(8):
        name, last = f"life{life}", draw.randrange(1, 40)
        with program(PUSHER, path, name, 100_000) as pusher:
            numbers = [int(pusher.stdout.readline()) for _ in range(last)]
            pusher.kill()
            numbers += [int(line) for line in pusher.stdout.read().split()]
        sure |= acknowledged(name, numbers)
        possible |= acknowledged(name, [*numbers, numbers[-1] + 1])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ids = {job_id for (job_id,) in connection.execute("SELECT id FROM callboard_jobs")}
    assert sure <= ids, "an acknowledged push is missing"
    assert ids <= possible
    check_counters(path)


def test_pushers_a_leader_and_workers_share_one_file(path):
    """Each job is taken once, and nobody has to give up for being locked out."""
    store = opened(path)
    epoch = lead(store)
    total = sum(number % 4 + 1 for number in range(120)) * 2
    with program(WORKER, path, "w1") as one, program(WORKER, path, "w2") as two:
        sessions = [int(worker.stdout.readline()) for worker in (one, two)]
        rung = threading.Event()
        store.listen("leader", rung.set)
        with program(PUSHER, path, "p1", 120) as first, program(PUSHER, path, "p2", 120) as second:
            plan = Plan(tuple(Assignment(session, "q", "q", 10) for session in sessions))
            deadline_s = time.monotonic() + WAIT_S
            while sum((counts := store.counts(["q"])[0])[1:7]) < total or counts.ready:
                assert time.monotonic() < deadline_s, counts
                if not store.assign(epoch, plan).assigned:
                    rung.wait(1.0)  # as a leader: a slow poll backs up the bell
                    rung.clear()
            output_of(first)
            output_of(second)
        eventually(lambda: store.counts(["q"])[0].completed == total, WAIT_S, "all jobs are done")
        took = []
        for worker in (one, two):
            took += output_of_worker(worker)
    assert len(took) == len(set(took)) == total
    assert store.counts(["q"])[0].completed == total
    store.close()
    check_counters(path)


def output_of_worker(worker) -> list[str]:
    out, err = worker.communicate("\n", timeout=WAIT_S)
    assert worker.returncode == 0, err[-2000:]
    return out.split()


def test_kill_9_inside_a_transaction_frees_the_file_and_undoes_it(path):
    code = """
import sys, time
from callboard.backends.clock import SystemClock
from callboard.backends.store.sql import open_sqlite
store = open_sqlite(sys.argv[1], clock=SystemClock())
with store._database.write() as (connection, row):
    connection.execute("DELETE FROM callboard_jobs")
    print("deleted", flush=True)
    sys.stdin.readline()
"""
    store = opened(path)
    store.push([job("a")])
    with program(code, path) as writer:
        assert writer.stdout.readline() == "deleted\n"
        writer.kill()
        writer.wait(WAIT_S)
        store.push([job("b")])
    assert {one.id for one in store.jobs(JobState.READY, None, 10)} == {"a", "b"}
    store.close()


def test_threads_share_one_store(path):
    store = opened(path)
    epoch, session = lead(store), node(store)
    done = []

    def push(name):
        for number in range(50):
            store.push([job(f"{name}-{number}")])
            store.counts()

    def work():
        while len(done) < 200:
            taken = run(store, epoch, session, 10)
            done.extend(one.id for one in taken)
            assert store.finish(session, [outcome(one) for one in taken]).stale == ()

    with ThreadPoolExecutor(6) as threads:
        acts = [threads.submit(push, name) for name in "abcd"] + [threads.submit(work) for _ in range(2)]
        for act in acts:
            act.result(WAIT_S)
    assert len(done) == len(set(done)) == 200
    store.close()
    check_counters(path)


def test_the_log_is_emptied_when_readers_let_it_grow(path, monkeypatch):
    """A reader that stands in the way of SQLite's own checkpoints is gone; the next sweep finds the log too long."""
    store = opened(path)
    epoch = lead(store)
    with store._database.read():
        store.push([job(f"a-{number}") for number in range(5_000)])
    log = path.with_name(path.name + "-wal")
    assert log.stat().st_size > 100_000
    monkeypatch.setattr(database, "WAL_MAX_BYTES", 100_000)
    store.sweep(epoch, 10)
    assert log.stat().st_size == 0
    store.push([job("b")])
    size = log.stat().st_size
    store.sweep(epoch, 10)
    assert log.stat().st_size >= size, "a short log is left alone"
    store.close()

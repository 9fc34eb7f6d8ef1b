"""A SQLite store across fork(): parent and child both go on, and neither harms the other."""

import os
import signal
import threading
from pathlib import Path

import pytest
from sqlitekit import WAIT_S, check_counters, job, opened

from callboard.backends.store.sql.sqlite import locks as sqlite_locks
from callboard.core.errors import StoreUnavailable
from callboard.core.records import JobState

IDS = [f"{who}-{number}" for who in ("child", "parent") for number in range(200)]


def in_child(act) -> None:
    """Run act in a forked child; the child's failure is the test's."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(int(WAIT_S))
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0, "the child failed; its traceback is above"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


def test_parent_and_child_push_side_by_side(path):
    store = opened(path)
    store.push([job("before")])
    store.counts()
    forked, pushed = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(int(WAIT_S))
        try:
            os.read(forked[0], 1)
            for job_id in IDS[:200]:
                store.push([job(job_id)])
            os.write(pushed[1], b"!")
            store.close()
        finally:
            os._exit(0)
    os.write(forked[1], b"!")
    for job_id in IDS[200:]:
        store.push([job(job_id)])
    assert os.read(pushed[0], 1) == b"!"
    assert os.waitpid(pid, 0)[1] == 0
    assert {one.id for one in store.jobs(JobState.READY, None, 1_000)} == {"before", *IDS}
    store.close()
    check_counters(path)


def test_the_parents_end_takes_no_log_from_the_child(path):
    """The parent closes as the last connection that it knows of; the child's work must stay."""
    store = opened(path)
    store.push([job("before")])

    def work():
        store.push([job("child-1")])
        store.counts()
        grandchild = os.fork()
        if grandchild == 0:
            store.close()
            os._exit(0)
        assert os.waitpid(grandchild, 0)[1] == 0
        store.push([job("child-2")])

    in_child(work)
    store.push([job("after")])
    store.close()
    again = opened(path)
    assert {one.id for one in again.jobs(JobState.READY, None, 10)} == {"before", "child-1", "child-2", "after"}
    again.close()


def test_no_connection_is_inherited(path):
    store = opened(path)
    store.push([job("a")])
    store.counts()

    def look():
        open_files = [str(fd.resolve()) for fd in Path("/proc/self/fd").iterdir()]
        assert not [name for name in open_files if name.startswith(str(path))]

    in_child(look)
    store.close()


def test_a_fork_waits_for_a_transaction_of_another_thread(path):
    store = opened(path)
    entered, leave = threading.Event(), threading.Event()

    def transact():
        with store._database.write() as (connection, _):
            entered.set()
            leave.wait(WAIT_S)
            connection.execute("UPDATE callboard_store SET epoch = 77")

    thread = threading.Thread(target=transact)
    thread.start()
    assert entered.wait(WAIT_S)
    threading.Timer(0.1, leave.set).start()

    def work():
        with store._database.read() as (_, row):
            assert row.epoch == 77
        store.push([job("child")])

    in_child(work)
    thread.join(WAIT_S)
    assert store.job("child") is not None
    store.close()


@pytest.mark.parametrize("kind", ["write", "read"])
def test_a_child_of_a_parent_that_can_not_let_go_refuses_the_file(path, monkeypatch, kind):
    monkeypatch.setattr(sqlite_locks, "FORK_WAIT_S", 0.05)
    store = opened(path)
    store.push([job("a")])
    entered, leave = threading.Event(), threading.Event()

    def transact():
        with getattr(store._database, kind)() as (connection, _):
            entered.set()
            leave.wait(WAIT_S)
            if kind == "write":
                connection.execute("UPDATE callboard_store SET epoch = 77")

    thread = threading.Thread(target=transact)
    thread.start()
    assert entered.wait(WAIT_S)

    def refused():
        for act in (lambda: store.push([job("b")]), store.counts, lambda: opened(path)):  # each way in
            with pytest.raises(StoreUnavailable, match="forked while its parent was at work"):
                act()
        store.close()

    in_child(refused)
    leave.set()
    thread.join(WAIT_S)
    assert store.push([job("c")]).new == 1
    with store._database.read() as (_, row):
        assert row.epoch == (77 if kind == "write" else 0)
    store.close()


def test_bells_of_the_parent_are_not_the_childs(path):
    store = opened(path)
    rung = threading.Event()
    store.listen("leader", rung.set)

    def ring_and_listen():
        heard = threading.Event()
        store.listen("nodes", heard.set)
        store.ring("nodes")
        assert heard.wait(WAIT_S)
        store.ring("leader")
        store.close()

    in_child(ring_and_listen)
    assert rung.wait(WAIT_S)
    store.close()

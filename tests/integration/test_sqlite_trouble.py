"""Trouble with the file of a SQLite store: locked, full, read-only. A clear error, and nothing lost or half done."""

import sqlite3
import threading
from contextlib import closing

import pytest
from sqlitekit import LOCKER, QUICK, WAIT_S, check_counters, job, lead, node, opened, outcome, output_of, program, run

from callboard.backends.store.sql import SqlStoreOptions
from callboard.backends.store.sql.sqlite import database as sqlite
from callboard.core.errors import PushOutcomeUnknown, StoreUnavailable
from callboard.core.records import JobState, ScheduleRow


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


@pytest.fixture
def store(path):
    store = opened(path, QUICK)
    yield store
    store.close()


# Locked ---------------------------------------------------------------------------------------------------------------


def test_a_file_that_another_process_locks_is_said_to_be_locked(path, store):
    with program(LOCKER, path) as locker:
        assert locker.stdout.readline() == "locked\n"
        with pytest.raises(StoreUnavailable, match="locked by another process"):
            store.push([job("a")])
        assert store.counts() == (), "reads are in nobody's way"
        locker.stdin.write("\n")
        locker.stdin.flush()
        assert locker.stdout.readline() == "open\n"
        assert store.push([job("a")]).new == 1


def test_a_short_lock_is_waited_for(path):
    store = opened(path, SqlStoreOptions(busy_s=WAIT_S))
    with program(LOCKER, path) as locker:
        assert locker.stdout.readline() == "locked\n"
        receipts = []
        pusher = threading.Thread(target=lambda: receipts.append(store.push([job("a")])))
        pusher.start()
        locker.stdin.write("\n")
        locker.stdin.flush()
        pusher.join(WAIT_S)
        assert receipts[0].new == 1
    store.close()


def test_opening_a_fresh_file_that_is_locked_says_so(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    with program(LOCKER, path) as locker:
        assert locker.stdout.readline() == "locked\n"
        with pytest.raises(StoreUnavailable, match="locked by another process"):
            opened(path, QUICK)


def test_threads_of_one_process_wait_for_each_other(store):
    """One holds the turn for longer than another waits: it gets its own error, not SQLite's."""
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with store._database.write():
            entered.set()
            leave.wait(WAIT_S)

    holder = threading.Thread(target=hold)
    holder.start()
    assert entered.wait(WAIT_S)
    with pytest.raises(StoreUnavailable, match="other threads of this process"):
        store.push([job("a")])
    leave.set()
    holder.join(WAIT_S)
    assert store.push([job("a")]).new == 1


def test_too_many_slow_reads_are_bounded(store):
    entered, leave = threading.Semaphore(0), threading.Event()

    def read():
        with store._database.read():
            entered.release()
            leave.wait(WAIT_S)

    readers = [threading.Thread(target=read) for _ in range(sqlite._READERS_MAX)]
    for reader in readers:
        reader.start()
    for _ in readers:
        assert entered.acquire(timeout=WAIT_S)
    with pytest.raises(StoreUnavailable, match="reads have taken"):
        store.counts()
    leave.set()
    for reader in readers:
        reader.join(WAIT_S)
    assert store.counts() == ()


# Full and read-only ---------------------------------------------------------------------------------------------------


def test_a_full_file_takes_nothing_and_works_again_when_there_is_room(path, store):
    store.push([job(f"old-{number}") for number in range(100)])
    (pages,) = store._database._writer.execute("PRAGMA page_count").fetchone()
    store._database._writer.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(StoreUnavailable, match="full, nothing was written"):
        store.push([job(f"new-{number}") for number in range(2_000)])
    assert store.job("new-0") is None
    check_counters(path)
    assert store.push([job(f"new-{number}") for number in range(2_000)]).new == 2_000, "a new connection has no limit"
    check_counters(path)


def test_a_limit_of_file_sizes_is_an_error_not_a_signal(path):
    """As on a full disk: SQLite finds it while it writes its log. What was acknowledged is there, nothing else."""
    opened(path).close()
    code = """
import resource, sys
from callboard.backends.clock import SystemClock
from callboard.backends.store.sql import open_sqlite
from callboard.core.errors import StoreUnavailable
from callboard.core.records import NewJob
store = open_sqlite(sys.argv[1], clock=SystemClock())
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
acknowledged = 0
try:
    while acknowledged < 1_000:
        store.push([NewJob(f"{acknowledged}-{n}", "n", "q", b"x" * 1000) for n in range(50)])
        acknowledged += 1
except StoreUnavailable as error:
    print(acknowledged, type(error).__name__, error)
"""
    with program(code, path) as process:
        acknowledged, kind, message = output_of(process).split(" ", 2)
    assert 0 < int(acknowledged) < 1_000
    assert kind in ("StoreUnavailable", "PushOutcomeUnknown")
    assert str(path) in message
    store = opened(path)
    (counts,) = store.counts()
    store.close()
    more = counts.ready - 50 * int(acknowledged)
    assert more == 0 or (more == 50 and kind == "PushOutcomeUnknown")
    check_counters(path)


def test_a_commit_that_may_be_on_the_disk_leaves_the_outcome_open(store, monkeypatch):
    commit = sqlite.Database._commit

    def fail_after(self, connection):
        commit(self, connection)
        raise sqlite.CommitUncertain("planted")

    monkeypatch.setattr(sqlite.Database, "_commit", fail_after)
    with pytest.raises(PushOutcomeUnknown) as caught:
        store.push([job("a"), job("b")])
    assert caught.value.job_ids == ("a", "b")
    monkeypatch.undo()
    assert store.push([job("a"), job("b")]).new == 0, "pushed again under the same ids, it makes no duplicate"


def test_a_file_that_turned_read_only_is_said_to_be(store):
    store.push([job("a")])
    store._database._writer.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailable, match="read-only for this user"):
        store.push([job("b")])


# Half done ------------------------------------------------------------------------------------------------------------


def test_an_act_that_breaks_in_the_middle_leaves_nothing(path, store, monkeypatch):
    epoch, session = lead(store), node(store)
    store.push([job("a"), job("b")])
    taken = run(store, epoch, session, 2)

    def fail(_tx):
        raise KeyboardInterrupt

    monkeypatch.setattr("callboard.backends.store.sql.tx.Tx.settle", fail)
    with pytest.raises(KeyboardInterrupt):
        store.finish(session, [outcome(one) for one in taken])
    with pytest.raises(KeyboardInterrupt):
        store.push([job("c")])
    monkeypatch.undo()
    assert store.job("c") is None
    assert [store.job(one).state for one in "ab"] == [JobState.RUNNING] * 2
    assert store.finish(session, [outcome(one) for one in taken]).applied == 2
    check_counters(path)


def test_a_bad_value_undoes_the_whole_push(store):
    with pytest.raises(OverflowError):
        store.push([job("a"), job("b", priority=1 << 80)])
    assert store.job("a") is None


# Synced to the disk ---------------------------------------------------------------------------------------------------


def test_what_is_acknowledged_for_good_is_synced(store, monkeypatch):
    """And what may be done again after a power loss is not: it would cost a sync each time."""
    levels = []
    commit = sqlite.Database._commit

    def watch(self, connection):
        levels.append(connection.execute("PRAGMA synchronous").fetchone()[0])
        commit(self, connection)

    monkeypatch.setattr(sqlite.Database, "_commit", watch)
    full, normal = 2, 1
    epoch = lead(store)
    assert levels == [full]
    session = node(store)
    store.push([job("a")])
    (taken,) = run(store, epoch, session)
    store.finish(session, [outcome(taken)])
    assert levels == [full, normal, full, normal, normal]
    tick = ScheduleRow("s", "* * * * *", "UTC", "skip", 60.0, job("tick"), 0)
    store.put_schedule(tick)
    assert store.fire_tick(epoch, "s", 0, 60_000, [job("tick-1")])
    assert levels[5:] == [full, full]

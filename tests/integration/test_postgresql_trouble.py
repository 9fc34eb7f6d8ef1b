"""Bad luck with PostgreSQL: cut connections, restarts, silence, locks, a process that stands still in a transaction."""

from __future__ import annotations

import os
import threading
import time

import psycopg
import pytest
import servers
from kit import eventually
from postgresqlkit import QUICK, WAIT_S, cut, edit, opened, prepare
from servers import shared
from sqlitekit import job, lead, node, outcome, run

from callboard.backends.store.sql import SqlStoreOptions
from callboard.backends.store.sql.dialect import Fence
from callboard.backends.store.sql.postgresql import database as pool
from callboard.backends.store.sql.postgresql import upkeep
from callboard.core.errors import (
    InvalidArgument,
    PushOutcomeUnknown,
    SchemaTooNew,
    StoreError,
    StoreReset,
    StoreUnavailable,
)
from callboard.core.records import JobState, TermClaim


@pytest.fixture
def url():
    with shared.database("postgresql", prepare) as url:
        yield url


@pytest.fixture
def store(url):
    store = opened(url)
    yield store
    store.close()


@pytest.fixture(scope="module")
def own():
    with servers.postgresql(durable=True) as server:
        yield server


def answers(store) -> bool:
    try:
        store.store_now_ms()
    except StoreUnavailable:
        return False
    return True


# Connections that are cut ---------------------------------------------------------------------------------------------


def test_an_idle_connection_that_was_cut_is_replaced(url, store):
    for number in range(3):
        assert store.push([job(f"a{number}")]).new == 1
        cut(url)
    assert len(store.jobs(JobState.READY, None, 10)) == 3


def test_a_connection_that_is_cut_in_a_transaction_leaves_nothing(url, store):
    def act():
        with store._act() as tx:
            tx.run("operator.last_n").fetchone()
            cut(url)
            tx.run("operator.last_n")

    with pytest.raises(StoreUnavailable, match=r"ended this connection|reached"):
        act()
    assert store.push([job("a")]).new == 1


# A server that goes away ----------------------------------------------------------------------------------------------


def test_a_restart_is_survived_and_nothing_acknowledged_is_lost(own):
    store = opened(own.url, QUICK)
    heard = threading.Semaphore(0)
    store.listen("leader", heard.release)
    known = set()
    for stop in (own.stop, own.kill):
        for _ in range(5):
            known.add(f"job-{len(known)}")
            store.push([job(f"job-{len(known) - 1}")])
        stop()
        begun_s = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"reached|shutting down|starting up|ended this"):
            store.push([job("never")])
        assert time.monotonic() - begun_s < 5.0
        own.start()
        eventually(lambda: answers(store), WAIT_S, "the store answers")
        assert {one.id for one in store.jobs(JobState.READY, None, 100)} - {"never"} == known
        assert heard.acquire(timeout=WAIT_S), "who listens is rung: something may have been missed"
    other = opened(own.url)
    while heard.acquire(blocking=False):
        pass
    other.ring("leader")
    assert heard.acquire(timeout=WAIT_S)
    other.close()
    store.close()


def test_a_server_that_keeps_silent_is_given_up_within_the_timeout(own):
    store = opened(own.url, QUICK)
    own.pause()
    try:
        begun_s = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"no answer|timeout|reached"):
            store.push([job("silent")])
        assert time.monotonic() - begun_s < 8.0
    finally:
        own.resume()
    eventually(lambda: answers(store), WAIT_S, "the store answers")
    store.close()


def test_silence_at_the_commit_is_an_unknown_outcome(own):
    store = opened(own.url, QUICK)
    act = store._act

    def silent_at_the_end(**options):
        context = act(**options)

        class Silent:
            def __enter__(self):
                return context.__enter__()

            def __exit__(self, *error):
                own.pause()
                return context.__exit__(*error)

        return Silent()

    store._act = silent_at_the_end
    try:
        with pytest.raises(PushOutcomeUnknown) as caught:
            store.push([job("unknown-1"), job("unknown-2")])
    finally:
        own.resume()
    assert caught.value.job_ids == ("unknown-1", "unknown-2")
    del store._act
    eventually(lambda: answers(store), WAIT_S, "the store answers")
    assert store.push([job("unknown-1"), job("unknown-2")]).ids == ("unknown-1", "unknown-2")
    assert sum(one.id.startswith("unknown") for one in store.jobs(JobState.READY, None, 1_000)) == 2
    store.close()


# Locks ----------------------------------------------------------------------------------------------------------------


def test_a_lock_that_is_held_for_long_is_given_up(url):
    store = opened(url, QUICK)
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM callboard_store FOR UPDATE")
        begun_s = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"locked|too long"):
            lead(store)
        assert time.monotonic() - begun_s < 5.0
    assert lead(store).number == 1
    store.close()


def test_a_process_that_stands_still_in_a_transaction_keeps_nobody_from_leading(url, store):
    lead(store)
    other = opened(url)
    entered, go_on, failed = threading.Event(), threading.Event(), []

    def stand_still():
        try:
            with store._database.write(fence=Fence.SHARE):
                entered.set()
                go_on.wait(WAIT_S)
        except StoreUnavailable as error:
            failed.append(error)

    thread = threading.Thread(target=stand_still)
    thread.start()
    assert entered.wait(WAIT_S)
    assert other.begin_term(TermClaim("c1", "store", 2, "boot-2")).number == 2
    go_on.set()
    thread.join(WAIT_S)
    assert failed, "its transaction was ended"
    other.close()


def test_more_transactions_than_connections_wait_their_turn(url):
    store = opened(url, SqlStoreOptions(busy_s=0.5))
    entered, leave = threading.Semaphore(0), threading.Event()

    def hold():
        with store._database.read():
            entered.release()
            leave.wait(WAIT_S)

    threads = [threading.Thread(target=hold) for _ in range(pool.CONNECTIONS_MAX)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert entered.acquire(timeout=WAIT_S)
    with pytest.raises(StoreUnavailable, match="transactions have taken"):
        store.counts()
    leave.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert store.counts() == ()
    store.close()


# What slows it down ---------------------------------------------------------------------------------------------------


def test_a_transaction_that_stays_open_for_long_is_warned_of_once(url, store, monkeypatch, caplog):
    monkeypatch.setattr(upkeep, "OLD_S", 0.0)
    monkeypatch.setattr(upkeep, "EVERY_S", 0.0)
    epoch = lead(store)
    with psycopg.connect(url, application_name="a report") as other:
        pid = other.info.backend_pid
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM callboard_jobs")
        for _ in range(3):
            store.sweep(epoch, 10)
    (warning,) = [record.getMessage() for record in caplog.records if "has been open" in record.getMessage()]
    assert f"process {pid}, a report" in warning


def test_dead_rows_that_pile_up_are_warned_of(url, store, monkeypatch, caplog):
    monkeypatch.setattr(upkeep, "DEAD_MAX", 10)
    epoch = lead(store)
    edit(url, "ALTER TABLE callboard_jobs SET (autovacuum_enabled = off)")
    store.push([job(f"a{part}") for part in range(20)])
    edit(url, *["UPDATE callboard_jobs SET rank = rank + 1"] * 3)

    def warned():
        monkeypatch.setattr(upkeep, "EVERY_S", 0.0)
        store.sweep(epoch, 10)
        return any("dead rows" in record.getMessage() for record in caplog.records)

    eventually(warned, WAIT_S, "the server's statistics tell of dead rows")


# What is not as it was ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", ["DELETE FROM callboard_store", "DROP TABLE callboard_jobs",
                                       "UPDATE callboard_store SET store_id = 'another'"])
def test_an_emptied_or_other_store_is_noticed(url, store, statement):
    lead(store)
    edit(url, statement)
    with pytest.raises(StoreReset, match=r"emptied|tables are gone|another"):
        store.push([job("a")])


def test_a_newer_schema_is_refused(url, store):
    edit(url, "UPDATE callboard_store SET schema_version = 999")
    with pytest.raises(SchemaTooNew, match="upgrade"):
        store.push([job("a")])
    edit(url, "UPDATE callboard_schema SET version_num = '0999'")
    with pytest.raises(SchemaTooNew, match="upgrade"):
        opened(url)


def test_two_who_open_an_empty_database_at_once_both_get_it(url):
    edit(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    barrier, found = threading.Barrier(3), []

    def open_one():
        barrier.wait()
        found.append(opened(url))

    threads = [threading.Thread(target=open_one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert len({store._store_id for store in found}) == 1
    assert len(found) == 3
    for store in found:
        store.close()


def test_what_no_text_column_can_hold_is_a_callers_error(store):
    for bad in ("a\0b", "a\ud800b"):
        with pytest.raises(InvalidArgument):
            store.push([job("x", bad)])
    assert store.push([job("x")]).new == 1


# Addresses and forks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [
    "postgresql://someone:c4nary@127.0.0.1:1/nowhere", "postgresql://someone:c4nary@[::bad/x?y",
    "postgresql://someone:c4nary@127.0.0.1:1/x?c4nary=1", "postgresql:c4nary",
])
def test_an_address_that_does_not_work_is_told_without_its_password(url):
    with pytest.raises((StoreUnavailable, InvalidArgument, StoreError)) as caught:
        opened(url, QUICK)
    text = "".join(str(part) for part in (caught.value, caught.value.cause, caught.value.__cause__))
    assert "c4nary" not in text


def test_a_wrong_password_is_told_as_such(own):
    with pytest.raises(StoreUnavailable, match="password") as caught:
        opened(own.url.replace(own.password, "c4nary"), QUICK)
    assert "c4nary" not in str(caught.value)


def test_a_forked_child_has_connections_of_its_own(store):
    epoch = lead(store)
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            store.push([job("child")])
            os.write(write_fd, b"pushed")
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(write_fd)
    assert os.read(read_fd, 10) == b"pushed"
    os.close(read_fd)
    session = node(store)
    (taken,) = run(store, epoch, session)
    assert taken.id == "child"
    assert store.finish(session, [outcome(taken)]).applied == 1

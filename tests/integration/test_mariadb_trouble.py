"""What MariaDB and the way to it can do to a store: lost connections and answers, locks, deadlocks, stopped clients."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing, suppress

import pymysql
import pytest
import servers
from mariadbkit import asked, connect, database, job, line
from storesteps import claim, finish_all, node_of, plan

from callboard.backends.store.sql import open_mariadb
from callboard.backends.store.sql.mariadb.connection import IDLE_TRANSACTION_S, LOCK_WAIT_S, READ_TIMEOUT_S
from callboard.core.errors import PushOutcomeUnknown, StoreUnavailable
from callboard.core.records import JobState

WAIT_S = 30.0


@pytest.fixture
def url():
    with database() as found:
        yield found


@pytest.fixture
def store(url: str):
    with closing(open_mariadb(url)) as found:
        yield found


# Connections ----------------------------------------------------------------------------------------------------------


def end_sessions(url: str) -> None:
    """As a server does that was started again."""
    mine = asked(url, "SELECT connection_id()")
    for (one,) in asked(url, "SELECT id FROM information_schema.processlist WHERE db = database()"):
        if (one,) not in mine:
            connection = connect(url)
            with connection.cursor() as cursor, suppress(pymysql.err.OperationalError):  # it has ended meanwhile
                cursor.execute(f"KILL {one}")
            connection.close()


def test_connections_that_died_while_nobody_used_them_are_replaced(url: str, store):
    store.push([job("a")])
    for name in "bcd":
        end_sessions(url)
        assert store.push([job(name)]).new == 1
    end_sessions(url)
    assert store.counts(["q"])[0].ready == 4


def test_a_server_that_was_killed_is_used_again():
    with servers.mariadb() as server, closing(open_mariadb(server.url)) as store:
        store.push([job("a")])
        server.kill()
        with pytest.raises(StoreUnavailable, match="can't be reached"):
            store.push([job("b")])
        server.start()
        assert store.push([job("b")]).new == 1
        assert store.job("a") is not None


def test_a_server_that_keeps_silent_is_given_up_in_time():
    with servers.mariadb() as server, closing(open_mariadb(server.url)) as store:
        store.push([job("a")])
        server.pause()
        try:
            began_s = time.monotonic()
            with pytest.raises(StoreUnavailable):
                store.push([job("b")])
            assert time.monotonic() - began_s < 2 * READ_TIMEOUT_S
        finally:
            server.resume()
        assert store.push([job("b")]).new == 1


def test_an_answer_to_a_commit_that_is_lost_leaves_the_outcome_open(url: str):
    with line(url) as way, closing(open_mariadb(way.url)) as store:
        store.push([job("z")])
        way.lose, way.after = b"COMMIT", True
        with pytest.raises(PushOutcomeUnknown) as caught:
            store.push([job("a"), job("b")])
        assert caught.value.job_ids == ("a", "b")
        assert store.job("a") is not None
        assert store.push([job("a"), job("b")]).new == 0
        assert store.counts(["q"])[0].ready == 3


def test_a_commit_that_never_arrived_leaves_the_outcome_open_too(url: str):
    with line(url) as way, closing(open_mariadb(way.url)) as store:
        way.lose = b"COMMIT"
        with pytest.raises(PushOutcomeUnknown):
            store.push([job("a")])
        assert store.job("a") is None
        assert store.push([job("a")]).new == 1


def test_a_connection_that_is_lost_before_the_commit_leaves_nothing(url: str):
    with line(url) as way, closing(open_mariadb(way.url)) as store:
        store.push([job("z")])
        way.lose, way.after = b"INSERT IGNORE INTO callboard_jobs", True
        with pytest.raises(StoreUnavailable) as caught:
            store.push([job("a")])
        assert not isinstance(caught.value, PushOutcomeUnknown)
        assert store.job("a") is None
        assert store.counts(["q"])[0].ready == 1


def test_a_forked_child_uses_connections_of_its_own(store):
    store.push([job("a")])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.push([job("b")])
            code = 0 if store.job("a") is not None else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.push([job("c")]).new == 1
    assert store.counts(["q"])[0].ready == 3


def test_a_closed_store_says_so(store):
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.push([job("a")])


def test_each_connection_is_set_up(store):
    with store._database.read() as (connection, _):
        (row,) = connection.run(
            "SELECT @@tx_isolation, @@sql_mode, @@innodb_lock_wait_timeout, @@idle_transaction_timeout, "
            "@@idle_write_transaction_timeout, @@time_zone, @@character_set_client, @@lock_wait_timeout").fetchall()
    isolation, mode, lock_s, idle_s, write_s, zone, charset, table_s = row
    assert isolation == "READ-COMMITTED"
    assert {"NO_BACKSLASH_ESCAPES", "ANSI_QUOTES", "STRICT_ALL_TABLES"} <= set(mode.split(","))
    assert (lock_s, idle_s, write_s, table_s) == (LOCK_WAIT_S, IDLE_TRANSACTION_S, IDLE_TRANSACTION_S, LOCK_WAIT_S)
    assert (zone, charset) == ("+00:00", "utf8mb4")


# Locks ----------------------------------------------------------------------------------------------------------------


def test_a_client_that_was_stopped_inside_a_leaders_act_keeps_nobody_from_leading(url: str, store):
    epoch = store.begin_term(claim())
    with closing(open_mariadb(url)) as stopped:
        act = stopped._fenced(epoch)
        tx = act.__enter__()
        tx.run("store.row_share")
        began_s = time.monotonic()
        assert store.begin_term(claim(2, "boot-2")).number == epoch.number + 1
        assert time.monotonic() - began_s < IDLE_TRANSACTION_S + 5
        with pytest.raises(StoreUnavailable):  # its transaction was ended by the server
            act.__exit__(None, None, None)
    assert store.fence().owner == "boot-2"


def test_a_row_that_is_locked_for_too_long_is_told_in_time(url: str, store):
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT * FROM callboard_store FOR UPDATE")
        began_s = time.monotonic()
        with pytest.raises(StoreUnavailable, match="in the way"):
            store.begin_term(claim())
        assert time.monotonic() - began_s < 5 * LOCK_WAIT_S + 5
        cursor.execute("ROLLBACK")
    connection.close()
    assert store.begin_term(claim()).number == 1


def deadlocks(url: str) -> int:
    """So far, on this server."""
    ((_, count),) = asked(url, "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
    return int(count)


def test_a_deadlock_is_tried_again(url: str, store):
    before = deadlocks(url)
    session = node_of(store, capacity=10)
    epoch = store.begin_term(claim())
    store.push([job("a"), job("b")])
    store.assign(epoch, plan(session, 2))
    taken = store.take(session, ["q"])
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute("SET innodb_lock_wait_timeout = 10")
        cursor.execute("START TRANSACTION")
        for number in range(2_000):  # heavier than the other, so that it is not the one that is undone
            cursor.execute("INSERT INTO callboard_draining VALUES (%s)", (f"weight-{number}",))
        cursor.execute("SELECT 1 FROM callboard_jobs WHERE id = 'b' FOR UPDATE")
        answers: list[object] = []
        thread = threading.Thread(target=lambda: answers.append(finish_all(store, session, taken)))
        thread.start()
        waits = "SELECT count(*) FROM information_schema.innodb_lock_waits"
        deadline_s = time.monotonic() + WAIT_S
        while asked(url, waits) == [(0,)] and time.monotonic() < deadline_s:
            time.sleep(0.005)
        cursor.execute("SELECT 1 FROM callboard_jobs WHERE id = 'a' FOR UPDATE")  # which the other has locked
        cursor.execute("ROLLBACK")
    thread.join(WAIT_S)
    connection.close()
    assert deadlocks(url) > before
    assert len(answers) == 1
    assert store.job("a").state is store.job("b").state is JobState.COMPLETED


def test_takes_of_one_session_do_not_wait_for_rows_of_another(url: str, store):
    epoch = store.begin_term(claim())
    one, two = node_of(store, "n1"), node_of(store, "n2")
    store.push([job("a"), job("b")])
    store.assign(epoch, plan(one, 1))
    store.assign(epoch, plan(two, 1))
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT 1 FROM callboard_jobs WHERE id = 'a' FOR UPDATE")
        (taken,) = store.take(two, ["q"])
        assert taken.id == "b"
        assert finish_all(store, two, [taken]).applied == 1
        cursor.execute("ROLLBACK")
    connection.close()


def test_an_assign_passes_over_what_another_has_locked(url: str, store):
    epoch = store.begin_term(claim())
    session = node_of(store)
    store.push([job("a"), job("b")])
    connection = connect(url)
    with connection.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT 1 FROM callboard_jobs WHERE id = 'a' FOR UPDATE")
        assert store.assign(epoch, plan(session, 2)).assigned == {session: 1}
        cursor.execute("ROLLBACK")
    connection.close()
    assert [one.id for one in store.take(session, ["q"])] == ["b"]


# Text and sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [
    ("job", "Job"), ("job", "job "), ("jöb", "job"), ("straße", "strasse"), ("\U0001f680", "\U0001f681"), ("é", "é"),
    ("a\\", "a"), ("o'neill", "o''neill"), ("%s", "%"), ('"', '""'),
])
def test_ids_keys_and_queues_that_look_alike_are_not_the_same(store, names: tuple[str, str]):
    assert store.push([job(name, queue=name, unique=name) for name in names]).ids == names
    assert [store.job(name).id for name in names] == list(names)
    assert [store.job(name).unique for name in names] == list(names)
    assert [counts.ready for counts in store.counts(names)] == [1, 1]


def test_a_batch_of_many_messages_is_one_push(store):
    body = b"\xff" * 700_000
    jobs = [job(f"{number}", body=body) for number in range(9)]
    assert store.push(jobs).new == 9
    epoch = store.begin_term(claim())
    session = node_of(store)
    store.assign(epoch, plan(session, 9))
    taken = store.take(session, ["q"])
    assert [one.id for one in taken] == [one.id for one in jobs]
    assert all(one.body == body for one in taken)


def test_a_batch_of_many_messages_that_is_cut_off_leaves_nothing(url: str):
    with line(url) as way, closing(open_mariadb(way.url)) as store:
        way.lose, way.after = b"'3'", True  # in a message of its own
        with pytest.raises(StoreUnavailable):
            store.push([job(f"{number}", body=b"\xff" * 700_000) for number in range(5)])
        assert way.lost == 1
        assert store.job("0") is None


def test_thousands_of_jobs_in_one_act(store):
    epoch = store.begin_term(claim())
    session = node_of(store, capacity=5_000)
    store.push([job(f"{number:05}") for number in range(3_000)])
    assert store.assign(epoch, plan(session, 3_000)).assigned == {session: 3_000}
    taken = store.take(session, ["q"])
    assert [one.id for one in taken] == [f"{number:05}" for number in range(3_000)]
    assert len({one.token for one in taken}) == 3_000
    assert finish_all(store, session, taken).applied == 3_000
    assert store.counts(["q"])[0].completed == 3_000

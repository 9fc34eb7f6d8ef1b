"""push(connection=) on MariaDB: jobs are part of the caller's own transaction, however it holds the connection."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pymysql
import pytest
from mariadbkit import asked, connect, database, job
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from storesteps import claim, node_of, plan

from callboard.backends.store.sql import SqlStoreOptions, open_mariadb
from callboard.core.errors import InvalidArgument, QueueFull
from callboard.core.records import JobState


@pytest.fixture
def url():
    with database() as found:
        asked(found, "DROP TABLE IF EXISTS orders")
        asked(found, "CREATE TABLE orders (id INT) ENGINE = InnoDB")
        yield found
        asked(found, "DROP TABLE orders")


@pytest.fixture
def store(url: str):
    with closing(open_mariadb(url, options=SqlStoreOptions(queue_max_jobs=20))) as found:
        yield found


def driver(url: str, **options):
    connection = connect(url)
    connection.autocommit(options.get("autocommit", False))
    return connection


class Django:
    """As `django.db.connection` is, within atomic()."""

    def __init__(self, raw):
        self._raw, self.connection = raw, None

    def ensure_connection(self):
        self.connection = self._raw


class ByDriver:
    def __init__(self, url):
        self.given = self.raw = driver(url)
        self.commit, self.rollback, self.close = self.raw.commit, self.raw.rollback, self.raw.close

    def order(self):
        with self.raw.cursor() as cursor:
            cursor.execute("INSERT INTO orders VALUES (1)")


class ByDjango(ByDriver):
    def __init__(self, url):
        super().__init__(url)
        self.given = Django(self.raw)


class ByConnection:
    def __init__(self, url):
        self.engine = create_engine(url.replace("mariadb://", "mariadb+pymysql://"))
        self.given = self.made()
        self.commit, self.rollback = self.given.commit, self.given.rollback

    def made(self):
        return self.engine.connect()

    def order(self):
        self.given.execute(text("INSERT INTO orders VALUES (1)"))

    def close(self):
        self.given.close()
        self.engine.dispose()


class BySession(ByConnection):
    def made(self):
        return Session(self.engine)


@pytest.mark.parametrize("ends", ["rollback", "commit"])
@pytest.mark.parametrize("way", [ByDriver, ByDjango, ByConnection, BySession])
def test_jobs_go_with_the_callers_own_rows(url, store, way, ends):
    caller = way(url)
    caller.order()
    receipt = store.push([job("a"), job("b", unique="k"), job("\U0001f680'\\", delay_s=60.0)], connection=caller.given)
    assert (receipt.new, receipt.rang) == (3, False)
    assert store.job("a") is None, "not committed yet"
    getattr(caller, ends)()
    caller.close()
    there = ends == "commit"
    assert asked(url, "SELECT count(*) FROM orders") == [(int(there),)]
    assert [store.job(name) is not None for name in ("a", "b", "\U0001f680'\\")] == [there] * 3
    assert (store.counts(["q"])[0].ready, store.counts(["q"])[0].delayed) == ((2, 1) if there else (0, 0))


def test_a_refused_push_leaves_the_transaction_as_it_was(url, store):
    caller = ByDriver(url)
    caller.order()
    store.push([job("a")], connection=caller.given)
    with pytest.raises(QueueFull):
        store.push([job(f"more-{number}") for number in range(30)], connection=caller.given)
    store.push([job("b")], connection=caller.given)
    caller.commit()
    caller.close()
    assert asked(url, "SELECT count(*) FROM orders") == [(1,)]
    assert {one.id for one in store.jobs(JobState.READY, "q", 100)} == {"a", "b"}
    assert store.counts(["q"])[0].ready == 2


def test_ids_and_keys_are_as_in_any_push_also_those_of_after_the_snapshot(url, store):
    caller = ByDriver(url)
    with caller.raw.cursor() as cursor:
        cursor.execute("SELECT * FROM callboard_jobs")  # its snapshot, at REPEATABLE READ
    store.push([job("a", unique="k")])
    receipt = store.push([job("a"), job("b", unique="k"), job("c")], connection=caller.given)
    assert (receipt.ids, receipt.new) == (("a", "a", "c"), 1)
    caller.commit()
    caller.close()
    assert store.counts(["q"])[0].ready == 2


def test_a_key_is_kept_from_others_until_the_end(url, store):
    caller = ByDriver(url)
    store.push([job("a", unique="k")], connection=caller.given)
    caller.rollback()
    caller.close()
    assert store.push([job("b", unique="k")]).ids == ("b",)


def test_rows_of_the_callers_own_kind_do_no_harm(url, store):
    connection = pymysql.connect(**{**connection_options(url), "cursorclass": pymysql.cursors.SSDictCursor})
    store.push([job("a")], connection=connection)
    connection.commit()
    connection.close()
    assert store.job("a") is not None


def connection_options(url: str):
    from callboard.backends.store.sql.mariadb.address import parse_address  # noqa: PLC0415 - one helper's

    return parse_address(url).arguments()


def test_counters_stay_right_and_are_folded(url, store):
    for number in range(3):
        caller = ByDriver(url)
        store.push([job(f"a{number}")], connection=caller.given)
        caller.commit()
        caller.close()
    slow = ByDriver(url)
    store.push([job("slow")], connection=slow.given)
    epoch, session = store.begin_term(claim()), node_of(store)
    store.sweep(epoch, 100)
    slow.commit()
    slow.close()
    assert asked(url, "SELECT count(*) FROM callboard_counts WHERE shard < 0") == [(1,)]
    assert store.counts(["q"])[0].ready == 4
    store.sweep(epoch, 100)
    assert asked(url, "SELECT count(*) FROM callboard_counts WHERE shard < 0") == [(0,)]
    assert store.counts(["q"])[0].ready == 4
    assert store.assign(epoch, plan(session, 9)).assigned == {session: 4}


def test_a_connection_in_no_transaction_is_refused(url, store):
    connection = driver(url, autocommit=True)
    with pytest.raises(InvalidArgument, match="begin one first"):
        store.push([job("a")], connection=connection)
    connection.begin()
    store.push([job("a")], connection=connection)
    connection.commit()
    connection.close()
    assert store.job("a") is not None


def test_what_is_no_connection_to_this_database_is_refused(store):
    for other in (object(), "x", sqlite3.connect(":memory:")):
        with pytest.raises(InvalidArgument, match="no connection"):
            store.push([job("a")], connection=other)
    with database() as elsewhere:
        asked(elsewhere, "UPDATE callboard_store SET store_id = 'another'")
        connection = driver(elsewhere)
        with pytest.raises(InvalidArgument, match="another database"):
            store.push([job("a")], connection=connection)
        connection.close()
    assert store.job("a") is None

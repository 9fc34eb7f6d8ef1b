"""push(connection=): jobs are part of the caller's own transaction, whatever it holds the connection with."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import psycopg
import pytest
from servers import shared
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

import callboard
from callboard.backends.clock import SystemClock
from callboard.backends.store.sql import SqlStoreOptions, open_postgresql, open_sqlite
from callboard.core.errors import InvalidArgument, QueueFull, StoreUnavailable
from callboard.core.records import (
    Assignment,
    JobState,
    NewJob,
    NodeInfo,
    Plan,
    PoolReport,
    PushReceipt,
    QueueShare,
    TermClaim,
)
from callboard.queue import Queue

WAIT_S = 20.0


class Place:
    """A store, and how a program of the user's connects to its database."""

    def __init__(self, kind, place, options=None):
        self.kind, self.place = kind, place
        options = options or SqlStoreOptions(queue_max_jobs=20)
        self.store = (open_sqlite(place, clock=SystemClock(), options=options) if kind == "sqlite"
                      else open_postgresql(place, options=options))

    def driver(self, **options):
        connect = sqlite3.connect if self.kind == "sqlite" else psycopg.connect
        return connect(self.place, **options)

    def engine(self):
        if self.kind == "sqlite":
            return create_engine(f"sqlite:///{self.place}")
        return create_engine(self.place.replace("postgresql://", "postgresql+psycopg://"))


def prepare(url):
    open_postgresql(url).close()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    if request.param == "sqlite":
        place = Place("sqlite", str(tmp_path / "jobs.db"))
        yield place
        place.store.close()
        return
    with shared.database("postgresql", prepare) as url:
        place = Place("postgresql", url)
        yield place
        place.store.close()


class Django:
    """As `django.db.connection` is, within atomic()."""

    def __init__(self, driver):
        self._driver = driver
        self.connection = None

    def ensure_connection(self):
        self.connection = self._driver


class ByDriver:
    def __init__(self, place):
        self.given = place.driver()
        self.commit, self.rollback, self.close = self.given.commit, self.given.rollback, self.given.close


class ByDjango(ByDriver):
    def __init__(self, place):
        super().__init__(place)
        self.given = Django(self.given)


class ByConnection:
    def __init__(self, place):
        self.engine = place.engine()
        self.given = self.engine.connect()
        self.commit, self.rollback = self.given.commit, self.given.rollback

    def close(self):
        self.given.close()
        self.engine.dispose()


class BySession(ByConnection):
    def __init__(self, place):
        self.engine = place.engine()
        self.given = Session(self.engine)
        self.commit, self.rollback = self.given.commit, self.given.rollback


WAYS = pytest.mark.parametrize("way", [ByDriver, ByDjango, ByConnection, BySession])


def job(job_id, queue="q", **options):
    return NewJob(job_id, "app.work", queue, b"\x80", **options)


def ready(store, queue="q"):
    (counts,) = store.counts([queue])
    found = {one.id for one in store.jobs(JobState.READY, queue, 100)}
    assert len(found) == counts.ready
    return found


@WAYS
def test_what_is_committed_is_there_and_what_is_rolled_back_never_was(place, way):
    caller = way(place)
    assert place.store.push([job("a"), job("b")], connection=caller.given) == PushReceipt(("a", "b"), 2, rang=False)
    assert ready(place.store) == set(), "not committed yet"
    caller.rollback()
    assert ready(place.store) == set()
    assert place.store.job("a") is None
    place.store.push([job("a")], connection=caller.given)
    place.store.push([job("c"), job("a")], connection=caller.given)
    caller.commit()
    caller.close()
    assert ready(place.store) == {"a", "c"}
    assert place.store.push([job("a")]).new == 0


@WAYS
def test_it_goes_with_the_callers_own_rows(place, way):
    with place.driver() as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.commit()
    for ends in ("rollback", "commit"):
        caller = way(place)
        if isinstance(caller, ByConnection):
            caller.given.execute(text("INSERT INTO orders VALUES (1)"))
        else:
            (caller.given if way is ByDriver else caller.given._driver).execute("INSERT INTO orders VALUES (1)")
        place.store.push([job("a")], connection=caller.given)
        getattr(caller, ends)()
        caller.close()
        with place.driver() as connection:
            (orders,) = connection.execute("SELECT count(*) FROM orders").fetchone()
        assert (orders, ready(place.store)) == ((1, {"a"}) if ends == "commit" else (0, set()))


def test_a_refused_push_leaves_the_transaction_as_it_was(place):
    connection = place.driver()
    place.store.push([job("a")], connection=connection)
    with pytest.raises(QueueFull):
        place.store.push([job(f"more-{number}") for number in range(30)], connection=connection)
    place.store.push([job("b")], connection=connection)
    connection.commit()
    connection.close()
    assert ready(place.store) == {"a", "b"}


def test_ids_and_keys_are_as_in_any_push(place):
    place.store.push([job("a", unique="k")])
    connection = place.driver()
    receipt = place.store.push([job("a"), job("b", unique="k"), job("c", delay_s=60.0)], connection=connection)
    assert (receipt.ids, receipt.new) == (("a", "a", "c"), 1)
    connection.commit()
    connection.close()
    assert ready(place.store) == {"a"}
    assert place.store.job("c").state is JobState.DELAYED


def test_rows_of_the_callers_own_kind_do_no_harm(place):
    connection = place.driver()
    connection.row_factory = sqlite3.Row if place.kind == "sqlite" else psycopg.rows.dict_row
    place.store.push([job("a")], connection=connection)
    connection.commit()
    connection.close()
    assert ready(place.store) == {"a"}


def test_counters_stay_right_and_are_folded(place):
    for number in range(3):
        connection = place.driver()
        place.store.push([job(f"a{number}")], connection=connection)
        connection.commit()
        connection.close()
    epoch = place.store.begin_term(TermClaim("c", "store", 1, "owner"))
    pools = (PoolReport("q", (QueueShare("q"),), 10, 10),)
    session = place.store.open_session(NodeInfo("n", "boot"), 5.0, pools)
    place.store.sweep(epoch, 100)
    assert ready(place.store) == {"a0", "a1", "a2"}
    if place.kind == "postgresql":
        with place.driver() as connection:
            assert connection.execute("SELECT count(*) FROM callboard_counts WHERE shard < 0").fetchone() == (0,)
    receipt = place.store.assign(epoch, Plan((Assignment(session, "q", "q", 9),)), session)
    assert len(receipt.taken) == 3


def test_in_a_file_others_wait_for_the_caller(tmp_path):
    """One transaction writes at a time; for the servers see test_slow_callers."""
    place = Place("sqlite", str(tmp_path / "jobs.db"), SqlStoreOptions(busy_s=0.2))
    connection = place.driver()
    place.store.push([job("slow")], connection=connection)
    with pytest.raises(StoreUnavailable, match="locked by another process"):
        place.store.push([job("quick")])
    assert ready(place.store) == set(), "reading goes on"
    connection.commit()
    connection.close()
    place.store.push([job("quick")])
    assert ready(place.store) == {"slow", "quick"}
    place.store.close()


def test_the_leader_is_rung_at_the_commit(place):
    if place.kind == "sqlite":
        pytest.skip("nobody is told of a commit in a file: the leader polls")
    rung = threading.Semaphore(0)
    listener = open_postgresql(place.place)
    listener.listen("leader", rung.release)
    place.store.listen("leader", rung.release)
    connection = place.driver()
    place.store.push([job("a")], connection=connection)
    after = threading.Event()
    listener.listen("after", after.set)
    place.store.ring("after")
    assert after.wait(WAIT_S)
    assert not rung.acquire(blocking=False), "nothing is committed"
    connection.commit()
    assert rung.acquire(timeout=WAIT_S)
    assert rung.acquire(timeout=WAIT_S), "this process, too"
    connection.close()
    listener.close()


def test_a_connection_in_no_transaction_is_refused(place):
    connection = place.driver(isolation_level=None) if place.kind == "sqlite" else place.driver(autocommit=True)
    with pytest.raises(InvalidArgument, match="begin one first"):
        place.store.push([job("a")], connection=connection)
    connection.execute("BEGIN")
    place.store.push([job("a")], connection=connection)
    connection.execute("COMMIT")
    connection.close()
    assert ready(place.store) == {"a"}


@pytest.mark.parametrize("other", [object(), "a string", 5, ByDriver])
def test_what_is_no_connection_is_refused(place, other):
    with pytest.raises(InvalidArgument, match="no connection"):
        place.store.push([job("a")], connection=other)


def test_another_drivers_connection_is_refused(place):
    other = psycopg.connect(shared.url("postgresql")) if place.kind == "sqlite" else sqlite3.connect(":memory:")
    with pytest.raises(InvalidArgument, match="no connection"):
        place.store.push([job("a")], connection=other)
    other.close()


def test_a_wrong_database_is_refused_and_left_as_it_was(place, tmp_path):
    with shared.database("postgresql", prepare) as url:
        others = ([sqlite3.connect(":memory:"), sqlite3.connect(str(tmp_path / "other.db"))] if place.kind == "sqlite"
                  else [psycopg.connect(url), psycopg.connect(shared.url("postgresql"))])
        if place.kind == "sqlite":
            open_sqlite(str(tmp_path / "other.db"), clock=SystemClock()).close()
        else:
            with psycopg.connect(url) as connection:
                connection.execute("UPDATE callboard_store SET store_id = 'another'")  # it is a copy of one template
        for other in others:
            other.execute("CREATE TEMPORARY TABLE mine (id INTEGER)")
            with pytest.raises(InvalidArgument, match="another database"):
                place.store.push([job("a")], connection=other)
            assert other.execute("SELECT count(*) FROM mine").fetchone() == (0,), "its transaction goes on"
            other.rollback()
            other.close()
    assert ready(place.store) == set()


# By the queue ---------------------------------------------------------------------------------------------------------


@callboard.job
def mail(address: str) -> None:
    """Nothing."""


def test_a_queue_pushes_in_the_callers_transaction(place):
    queue = Queue(place.store, "sqlite:///somewhere")
    engine = place.engine()
    with Session(engine) as session:
        first = queue.push(mail.bind(address="a"), connection=session)
        others = queue.push_many([mail.bind(address="b"), mail.bind(address="c")], connection=session)
        queue.later(60, mail.bind(address="d"), connection=session)
        session.rollback()
        assert queue.stats().total_jobs == 0
        assert first not in others
        kept = queue.push(mail.bind(address="a"), connection=session)
        session.commit()
    engine.dispose()
    assert queue.stats().total_jobs == 1
    assert place.store.job(kept) is not None


def test_a_store_that_has_no_transactions_refuses(place):
    queue = callboard.connect("memory://no-transactions")
    with pytest.raises(InvalidArgument, match="stores on SQL"):
        queue.push(mail.bind(address="a"), connection=place.driver())
    with pytest.raises(InvalidArgument, match="not from apush"):
        asyncio.run(queue.apush(mail.bind(address="a"), connection=object()))

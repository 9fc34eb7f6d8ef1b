"""Several sets of jobs in one database: QUEUE_DATABASE_TABLE and `?table=` begin the names of all tables."""

import sqlite3
from contextlib import closing

import psycopg
import pytest
from servers import shared

import callboard
from callboard.backends.clock import SystemClock
from callboard.backends.store.sql.statements import PREFIX
from callboard.core.errors import UnknownOption
from callboard.core.records import JobState, NewJob, NodeInfo, TermClaim
from callboard.stores import canonical_url, open_cluster, open_store, split_table, sqlite_path, with_table


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/jobs.db"
        return
    with shared.database(request.param, as_it_is) as address:
        yield address


def as_it_is(_url):
    """No tables."""


def names(url):
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(sqlite_path(url))) as connection:
            found = connection.execute("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'").fetchall()
    else:
        with psycopg.connect(url) as connection:
            found = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchall()
    return {name for (name,) in found}


def job(job_id):
    return NewJob(job_id, "work", "q", b"\x80")


def test_two_sets_of_tables_know_nothing_of_each_other(url):
    one, two = open_store(url, SystemClock()), open_store(with_table(url, "foo"), SystemClock())
    for number, store in enumerate((one, two), 1):
        store.push([job(f"job-{number}")])
        assert store.begin_term(TermClaim("c", "store", number, "owner")).number == 1
        store.open_session(NodeInfo("n", f"boot-{number}"), 5.0, ())
        assert [one.id for one in store.jobs(JobState.READY, None, 10)] == [f"job-{number}"]
        assert len(store.sessions()) == 1
    one.purge("q")
    assert two.job("job-2") is not None
    if url.startswith("mariadb"):
        one.close()
        two.close()
        return
    clusters = [open_cluster(address, SystemClock()) for address in (url, with_table(url, "foo"))]
    assert [cluster.campaign("A", 30.0) is not None for cluster in clusters] == [True, True]
    assert len({cluster.cluster_id for cluster in clusters}) == 2
    found = names(url)
    assert found
    assert {name for name in found if not name.startswith((PREFIX, "foo_"))} == set()
    assert {name.removeprefix("foo_") for name in found if name.startswith("foo_")} == {
        name.removeprefix(PREFIX) for name in found if name.startswith(PREFIX)}
    for opened in (*clusters, one, two):
        opened.close()


def test_the_variable_names_them(tmp_path, monkeypatch):
    monkeypatch.setenv("QUEUE_DATABASE_CONNECTION", f"sqlite:///{tmp_path}/jobs.db")
    monkeypatch.setenv("QUEUE_DATABASE_TABLE", "mail")
    queue = callboard.driver("database")
    assert queue.url == f"sqlite:///{tmp_path}/jobs.db?table=mail"
    assert queue.stats().total_jobs == 0
    assert "mail_jobs" in names(queue.url)
    assert canonical_url(queue.url) == queue.url


@pytest.mark.parametrize("table", ["Jobs", "a-b", "1st", "a b", "x" * 32, "", "ä", "a;drop", "a'b"])
def test_what_is_no_plain_name_is_refused(table, monkeypatch):
    monkeypatch.setenv("QUEUE_DATABASE_TABLE", table)
    monkeypatch.setenv("QUEUE_DATABASE_CONNECTION", "sqlite:///jobs.db")
    with pytest.raises(UnknownOption, match="table"):
        callboard.driver("database")


def test_a_store_without_tables_refuses_a_name(monkeypatch):
    monkeypatch.setenv("QUEUE_DATABASE_TABLE", "foo")
    monkeypatch.setenv("QUEUE_DATABASE_CONNECTION", "memory://")
    with pytest.raises(UnknownOption, match="stores on SQL"):
        callboard.driver("database")


def test_the_name_is_taken_out_of_the_address():
    assert split_table("postgresql://h/d?table=foo&sslmode=require") == ("postgresql://h/d?sslmode=require", "foo")
    assert split_table("postgresql://h/d?sslmode=require") == ("postgresql://h/d?sslmode=require", "jobs")
    assert split_table("sqlite:///what?.db") == ("sqlite:///what?.db", "jobs")
    assert with_table("postgresql://h/d?sslmode=require", "foo") == "postgresql://h/d?sslmode=require&table=foo"
    assert with_table("sqlite:///a.db", "jobs") == "sqlite:///a.db"
    with pytest.raises(UnknownOption):
        split_table("sqlite:///a.db?table=a&table=b")

"""Migrations: by whoever opens a store, by an administrator's SQL, without rights; and from the first version on."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pymysql
import pytest
from servers import shared
from sqlalchemy import create_engine

from callboard.backends.clock import SystemClock
from callboard.backends.store.sql import migrate as upgrading
from callboard.backends.store.sql.mariadb.address import parse_address
from callboard.backends.store.sql.mariadb.connection import connect as connect_mariadb
from callboard.backends.store.sql.mariadb.migrating import migrate as migrate_mariadb
from callboard.backends.store.sql.migrate import run
from callboard.backends.store.sql.statements import PREFIX
from callboard.backends.store.sql.versions import NEEDS_VERSION, SCHEMA_VERSION
from callboard.core.errors import SchemaTooNew, StoreError, UnknownOption
from callboard.core.records import (
    Assignment,
    CancelResult,
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
from callboard.stores import migrate_store, migration_sql, open_cluster, open_store, with_table


def as_it_is(_url):
    """No tables."""


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/jobs.db"
        return
    with shared.database(request.param, as_it_is) as address:
        yield address


def driver(url):
    if url.startswith("sqlite"):
        return closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None))
    if url.startswith("postgresql"):
        return closing(psycopg.connect(url, autocommit=True))
    at = urlsplit(url)
    return closing(pymysql.connect(host=at.hostname, port=at.port, user=at.username, password=at.password,
                                   database=at.path[1:], autocommit=True, charset="utf8mb4",
                                   client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS))


def execute(url, script):
    """As an administrator's program would."""
    with driver(url) as connection:
        if url.startswith("sqlite"):
            connection.executescript(script)
        elif url.startswith("postgresql"):
            connection.execute(script)
        else:
            with connection.cursor() as cursor:
                cursor.execute(script)
                while cursor.nextset():
                    pass


def asked(url, text):
    """The rows of one statement."""
    with driver(url) as connection:
        cursor = connection.cursor()
        cursor.execute(text)
        return list(cursor.fetchall())


def whole_life(store):
    """A job through a store: pushed, assigned, taken, marked, finished."""
    job_id = f"job-{store.store_now_ms()}"
    store.push([NewJob(job_id, "work", "q", b"\x80", unique="k")])
    fence = store.fence()
    epoch = store.begin_term(TermClaim("c", "store", max(0, fence.term_number) + 1, "owner"))
    session = store.open_session(NodeInfo("n", "boot"), 5.0, (PoolReport("q", (QueueShare("q"),), 10, 10),))
    store.assign(epoch, Plan((Assignment(session, "q", "q", 10),)))
    (taken,) = store.take(session, ["q"])
    held = Held(taken.ref, taken.id, taken.token)
    assert store.mark_started(session, [held]) == ()
    assert store.finish(session, [Outcome(held, OutcomeKind.COMPLETED, result=b"\x01")]).applied == 1
    store.sweep(epoch, 10)
    assert store.job(job_id).result == b"\x01"
    store.close_session(session)


@pytest.mark.parametrize("table", ["jobs", "foo"])
def test_an_administrators_sql_makes_what_a_store_would(url, table):
    url = with_table(url, table)
    script = migration_sql(url)
    assert "CREATE TABLE" in script
    execute(url.partition("?")[0], script)
    assert migration_sql(url) == ""
    store = open_store(url, SystemClock())
    whole_life(store)
    store.close()


def test_migrating_twice_is_harmless_and_needs_no_sql_afterwards(url):
    for _ in range(2):
        migrate_store(url)
        assert migration_sql(url) == ""


def test_stores_without_tables_have_no_migrations():
    for url in ("memory://", "redis://127.0.0.1:1"):
        with pytest.raises((UnknownOption, ValueError), match="no tables"):
            migrate_store(url)


# A user with few rights -----------------------------------------------------------------------------------------------

RIGHTS = """
CREATE ROLE {role} LOGIN PASSWORD 'few-rights';
GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};
"""


@pytest.fixture
def few_rights():
    """A database that is up to date, and the address of a user who may only read and write rows."""
    with shared.database("postgresql", as_it_is) as url:
        migrate_store(url)
        role = f"worker_{urlsplit(url).path.rpartition('_')[0][-8:]}"
        execute(url, RIGHTS.format(role=role))
        at = urlsplit(url)
        yield url, urlunsplit(at._replace(netloc=f"{role}:few-rights@{at.hostname}:{at.port}"))
        execute(url, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_user_who_may_only_read_and_write_rows_is_enough(few_rights):
    _, url = few_rights
    store = open_store(url, SystemClock())
    whole_life(store)
    store.set_paused("q", paused=True)
    assert store.cancel(store.push([NewJob("x", "work", "q", b"\x80")]).ids[0]) is CancelResult.CANCELLED
    store.purge("q")
    store.ring("leader")
    cluster = open_cluster(url, SystemClock())
    assert cluster.campaign("owner", 30.0) is not None
    cluster.close()
    store.close()


def test_who_may_not_make_tables_is_told_what_to_do(few_rights):
    owner, url = few_rights
    with pytest.raises(StoreError, match="callboard migrate"):
        open_store(with_table(url, "other"), SystemClock())
    execute(owner, "UPDATE callboard_schema SET version_num = '0002'")
    with pytest.raises(StoreError, match="callboard migrate"):
        open_store(url, SystemClock())


# From the first version -----------------------------------------------------------------------------------------------

STATES = {"delayed": 0, "ready": 1, "assigned": 2, "running": 3, "completed": 4, "failed": 5, "cancelled": 6}


def upgrade_to(url, revision):
    """As whoever opens a store does, but no further than this revision."""
    if url.startswith("sqlite"):
        with driver(url) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            upgrading.upgrade(connection, revision)
            connection.execute("COMMIT")
    elif url.startswith("postgresql"):
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.begin() as connection:
            run(connection, revision)
        engine.dispose()
    else:
        address = parse_address(url)
        with closing(connect_mariadb(address)) as raw:
            migrate_mariadb(raw, address, PREFIX, revision)


def make_first(url):
    """The first version's tables, with a job in every state.

    The store on MariaDB is younger than the third version, so there this is a database that nobody has: it shows that
    its steps upgrade what has jobs in it.
    """
    upgrade_to(url, "0001")
    rows = [f"({number}, '{name}', 'q', {state}, 0, 0, {number}, 0, 0, 'work', "
            f"{'1, 1, ' + str(number) if state in (2, 3) else 'NULL, NULL, NULL'}, "
            f"{0 if state >= 4 else 'NULL'}, {'key-' + name!r}, "
            f"{'NULL' if state != 5 else blob(url)}, {blob(url)})"
            for number, (name, state) in enumerate(STATES.items(), 1)]
    execute(url, f"""
        UPDATE callboard_store SET epoch = 1, owner = 'old', cluster_id = 'c', backend = 'store', term_number = 1;
        INSERT INTO callboard_sessions (node, boot_id, host, pid, version, socket, started_ms, counter, ttl_s,
            opened_ms) VALUES ('old-node', 'old-boot', '', 1, '', '', 0, 7, 5.0, 0);
        INSERT INTO callboard_jobs (n, id, queue, state, has_failed_hook, priority, rank, due_ms, pushed_ms, name,
            session, epoch, seq, finished_ms, unique_key, error, body) VALUES {', '.join(rows)};
        {"SELECT setval('callboard_jobs_n', 100), setval('callboard_tokens', 100);" if 'postgresql' in url else ''}
        {counters(url)}""")  # noqa: S608 - the test's own words


def blob(url):
    return r"'\x80'" if url.startswith("postgresql") else "x'80'"


def counters(url):
    if url.startswith("sqlite"):
        return """INSERT INTO callboard_queues (queue, delayed, ready, assigned, running, failed, finished, completed,
                      cancelled) VALUES ('q', 1, 1, 1, 1, 1, 2, 1, 1);
                  INSERT INTO callboard_held VALUES (1, 'q', 2);
                  UPDATE callboard_store SET seq = 100;"""
    tokens = "UPDATE callboard_tokens SET seq = 100;" if url.startswith("mariadb") else ""
    return f"""INSERT INTO callboard_queues (queue) VALUES ('q');
               INSERT INTO callboard_counts VALUES ('q', 0, 1, 1, 1, 1, 1, 2, 1, 1);
               INSERT INTO callboard_held VALUES (1, 'q', 0, 2);
               {tokens}"""  # noqa: S608 - the test's own words


def test_a_database_of_the_first_version_finishes_its_jobs(url):
    make_first(url)
    store = open_store(url, SystemClock())
    assert [int(number) for (number,) in asked(url, "SELECT version_num FROM callboard_schema")] == [SCHEMA_VERSION]
    assert {name: store.job(name).state for name in STATES} == {
        name: JobState(state) for name, state in STATES.items()}
    held = {name: store.push([NewJob(f"new-{name}", "work", "q", b"\x80", unique=f"key-{name}")]).ids[0]
            for name in STATES}
    assert held == {name: name if state < 4 else f"new-{name}" for name, state in STATES.items()}
    store.purge("nothing")
    epoch = store.begin_term(TermClaim("c", "store", 2, "new"))
    (view,) = store.sessions()
    released = store.end_session(epoch, view.session, "of the old version")
    assert (released.handed_back, released.doubted, released.lost) == (1, 1, 0), "old nodes set no start marks"
    store.retry_failed("failed", None) if store.cancel("new-failed") is CancelResult.CANCELLED else None
    assert store.promote_due(epoch, 10).moved == 1
    session = store.open_session(NodeInfo("n", "boot"), 5.0, (PoolReport("q", (QueueShare("q"),), 100, 100),))
    taken = store.assign(epoch, Plan((Assignment(session, "q", "q", 100),)), session).taken
    outcomes = [Outcome(Held(one.ref, one.id, one.token), OutcomeKind.COMPLETED) for one in taken]
    assert store.finish(session, outcomes).applied == len(taken)
    assert {one.id for one in taken} == {"delayed", "ready", "assigned", "running", "failed", "new-completed",
                                         "new-cancelled"}
    (counts,) = store.counts(["q"])
    assert (counts.ready, counts.running, counts.failed, counts.completed) == (0, 0, 0, 8)
    store.sweep(epoch, 100)
    store.close()


def test_versions_that_come_one_by_one_are_the_same_as_all_at_once(url):
    make_first(url)
    for number in range(2, SCHEMA_VERSION + 1):
        for _ in range(2):  # a version that is there already is not run again
            upgrade_to(url, f"{number:04}")
        assert asked(url, "SELECT schema_version FROM callboard_store") == [(min(number, NEEDS_VERSION),)]
    assert migration_sql(url) == ""
    store = open_store(url, SystemClock())
    assert store.push([NewJob("another", "work", "q", b"\x80", unique="key-ready")]).ids == ("ready",)
    store.close()


def test_a_node_lives_with_what_a_newer_version_adds_and_stops_when_that_needs_a_newer_node(url):
    tables = re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(callboard_\w+)", migration_sql(url))
    store, cluster = open_store(url, SystemClock()), open_cluster(url, SystemClock())
    whole_life(store)
    assert {"callboard_jobs", "callboard_queues", "callboard_cluster_nodes"} <= set(tables)
    expand = [f"ALTER TABLE {table} ADD COLUMN from_later INTEGER NOT NULL DEFAULT 7;" for table in tables
              if table != "callboard_schema"]
    execute(url, "\n".join([*expand, "UPDATE callboard_schema SET version_num = '9999';"]))
    whole_life(store)
    assert cluster.campaign("owner", 30.0) is not None
    late = open_store(url, SystemClock())
    whole_life(late)
    late.close()
    execute(url, "UPDATE callboard_store SET schema_version = 9999")
    with pytest.raises(SchemaTooNew, match="upgrade callboard"):
        store.push([NewJob("more", "work", "q", b"\x80")])
    with pytest.raises(SchemaTooNew, match="upgrade callboard"):
        open_store(url, SystemClock())
    cluster.close()
    store.close()

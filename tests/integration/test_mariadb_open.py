"""Opening a MariaDB database: migrations, what a server must be able to do, rights."""

from __future__ import annotations

import threading
from urllib.parse import urlsplit, urlunsplit

import pymysql
import pytest
from mariadbkit import asked, at, connect, database, job, prepare_nothing

from callboard.backends.cluster.server.mariadb import MariadbCluster
from callboard.backends.store.sql import open_mariadb
from callboard.backends.store.sql.mariadb import schema
from callboard.backends.store.sql.mariadb.address import parse_address
from callboard.backends.store.sql.mariadb.connection import connect as connect_ours
from callboard.backends.store.sql.mariadb.migrating import migrate
from callboard.backends.store.sql.migrations import mariadb as ddl
from callboard.backends.store.sql.options import SqlStoreOptions
from callboard.backends.store.sql.versions import SCHEMA_VERSION
from callboard.core.errors import SchemaTooNew, StoreError, StoreReset, StoreUnavailable

WAIT_S = 30.0


def as_user(url: str, user: str, password: str) -> str:
    """The address for another user."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.hostname}:{parts.port}"))


def tables(url: str) -> list[str]:
    return sorted(name for (name,) in asked(url, "SHOW TABLES"))


def test_connections_make_no_tls_context_of_their_own(monkeypatch):
    """The driver's own has all authorities of the machine in it, for each connection: megabytes at a reconnection."""
    def refuse(*_: object) -> None:
        raise AssertionError("a connection makes a TLS context of its own")

    with database() as url:
        monkeypatch.setattr(pymysql.connections.Connection, "_create_ssl_ctx", refuse)
        store, cluster = open_mariadb(url), MariadbCluster(url)
        store.push([job("a")])
        assert cluster.campaign("boot", 5.0)
        rung, seen = threading.Event(), threading.Event()
        store.listen("leader", rung.set)
        cluster.watch(seen.set)
        store.ring("leader")
        assert rung.wait(WAIT_S)
        assert seen.wait(WAIT_S)
        cluster.close()
        store.close()


def test_an_empty_database_gets_its_tables_and_a_second_opening_finds_them():
    with database(prepare_nothing) as url:
        store = open_mariadb(url)
        store.push([job("a")])
        store.close()
        again = open_mariadb(url)
        assert again.job("a") is not None
        again.close()
        assert asked(url, "SELECT version_num FROM callboard_schema") == [(f"{SCHEMA_VERSION:04}",)]


def test_a_prefix_keeps_installations_apart():
    with database(prepare_nothing) as url:
        one, two = open_mariadb(url), open_mariadb(url, options=SqlStoreOptions(table_prefix="other_"))
        one.push([job("a")])
        assert two.job("a") is None
        one.close()
        two.close()
        assert {name.partition("_")[0] for name in tables(url)} == {"callboard", "other"}


@pytest.mark.parametrize("done", range(1, len(ddl.FIRST), 3))
def test_a_migration_that_ended_in_its_middle_is_run_again(done: int):
    with database(prepare_nothing) as url:
        connection = connect(url)
        with connection.cursor() as cursor:
            for statement in ddl.FIRST[:done]:
                cursor.execute(statement)
        connection.close()
        store = open_mariadb(url)
        assert store.push([job("a")]).new == 1
        store.close()


def test_a_version_that_ended_in_its_middle_keeps_what_the_one_before_had():
    with database(prepare_nothing) as url:
        where = parse_address(url)
        raw = connect_ours(where)
        migrate(raw, where, "callboard_", "0002")
        with raw.cursor() as cursor:
            cursor.execute("INSERT INTO callboard_jobs (id, queue, state, has_failed_hook, priority, rank, due_ms, "
                           "pushed_ms, name, body) VALUES ('old', 'q', 1, 0, 0, 1, 1, 1, 'app.work', x'81a16180')")
            cursor.execute("INSERT INTO callboard_queues (queue) VALUES ('q')")
            cursor.execute("INSERT INTO callboard_counts VALUES ('q', 0, 0, 1, 0, 0, 0, 0, 0, 0)")
            for statement in ddl.LIFE[:1]:
                cursor.execute(statement)
        raw.close()
        store = open_mariadb(url)
        assert store.job("old") is not None
        assert store.counts(["q"])[0].ready == 1
        store.close()


def test_processes_that_open_it_at_once_migrate_it_once():
    with database(prepare_nothing) as url:
        errors: list[BaseException] = []
        barrier = threading.Barrier(4, timeout=WAIT_S)

        def run() -> None:
            barrier.wait()
            try:
                open_mariadb(url).close()
            except BaseException as error:  # noqa: BLE001 - told below
                errors.append(error)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        assert errors == []
        assert len(asked(url, "SELECT * FROM callboard_schema")) == 1


def test_a_newer_schema_is_refused():
    with database(prepare_nothing) as url:
        open_mariadb(url).close()
        asked(url, "UPDATE callboard_schema SET version_num = '9999'")
        open_mariadb(url).close()  # which only added
        asked(url, "UPDATE callboard_store SET schema_version = 9999")
        with pytest.raises(SchemaTooNew):
            open_mariadb(url)


def test_a_migration_is_noticed_by_who_works():
    with database(prepare_nothing) as url:
        store = open_mariadb(url)
        asked(url, "UPDATE callboard_store SET schema_version = 9999")
        with pytest.raises(SchemaTooNew):
            store.push([job("a")])
        store.close()


def test_an_emptied_or_replaced_store_is_noticed():
    with database(prepare_nothing) as url:
        store = open_mariadb(url)
        asked(url, "UPDATE callboard_store SET store_id = 'another'")
        with pytest.raises(StoreReset):
            store.push([job("a")])
        asked(url, "DELETE FROM callboard_store")
        with pytest.raises(StoreReset):
            store.push([job("a")])
        asked(url, "DROP TABLE callboard_store")
        with pytest.raises(StoreReset):
            store.push([job("a")])
        store.close()


def test_a_user_who_may_only_change_rows_works_with_tables_that_are_there():
    with database(prepare_nothing) as url:
        name = urlsplit(url).path[1:]
        user = f"u{name[-12:]}"
        asked(url, f"CREATE USER '{user}'@'%' IDENTIFIED BY 'narrow'")
        try:
            asked(url, f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{name}`.* TO '{user}'@'%'")
            with pytest.raises(StoreError, match="callboard migrate"):
                open_mariadb(as_user(url, user, "narrow"))
            open_mariadb(url).close()
            store = open_mariadb(as_user(url, user, "narrow"))
            assert store.push([job("a")]).new == 1
            heard = threading.Event()
            bell = store.listen("leader", heard.set)
            store.ring("leader")
            assert heard.wait(WAIT_S)
            bell.close()
            store.close()
        finally:
            asked(url, f"DROP USER '{user}'@'%'")


def test_a_wrong_password_is_told_and_not_shown():
    with database(prepare_nothing) as url, pytest.raises(StoreUnavailable, match="password are not accepted") as caught:
        open_mariadb(as_user(url, "callboard", "hunter2"))
    assert "hunter2" not in f"{caught.value!r} {caught.value} {caught.value.cause!r}"


def test_a_database_that_is_not_there_is_told():
    with database(prepare_nothing) as url, pytest.raises(StoreUnavailable, match="create it"):
        open_mariadb(url + "_none")


def test_a_server_that_is_not_there_is_told():
    with database(prepare_nothing) as url, pytest.raises(StoreUnavailable, match="can't be reached"):
        open_mariadb(at(url, "127.0.0.1", 9))


@pytest.mark.parametrize(("told", "says"), [
    (("8.0.36", 1 << 24, 1, 0, "ROW"), "MariaDB 10.11"),
    (("10.6.5-MariaDB", 1 << 24, 1, 0, "ROW"), "MariaDB 10.11"),
    (("11.4.2-MariaDB", 1 << 20, 1, 0, "ROW"), "max_allowed_packet"),
    (("10.11.2-MariaDB-log", 1 << 24, 1, 1, "STATEMENT"), "binlog_format"),
])
def test_a_server_that_does_not_do_is_refused(monkeypatch: pytest.MonkeyPatch, told: tuple[object, ...], says: str):
    with database(prepare_nothing) as url:
        monkeypatch.setattr(schema, "_ask", lambda _raw, text: (told,) if text.startswith("SELECT @@version") else ())
        with pytest.raises(StoreUnavailable, match=says):
            open_mariadb(url)


def test_a_hasty_server_says_so():
    with database(prepare_nothing) as url:
        store = open_mariadb(url)
        ((flush,),) = asked(url, "SELECT @@innodb_flush_log_at_trx_commit")
        assert store.characteristics.durable.startswith("yes" if flush == 1 else "no")
        store.close()

"""The servers that tests use: each starts, answers, survives kill -9 on the same port, and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pymysql
import pytest
import redis
import servers
from kit import ROOT, eventually, require
from servers import packages, shared
from servers.packages import Missing, Recipe

KINDS = ("redis", "postgresql", "mariadb")
ALL_KINDS = (*KINDS, "etcd", "consul")
WAIT_S = 30.0
ORPHANER = """
import os, signal, servers
server = getattr(servers, {kind!r})().start()
print(server.pid, server.folder, flush=True)
signal.pause()
"""


def client(url: str, timeout_s: float = 5.0):
    """A connection, and a function that asks it for one value."""
    at = urlsplit(url)
    if at.scheme.startswith("redis"):
        connection = redis.Redis.from_url(url, socket_timeout=timeout_s, protocol=2, decode_responses=True)
        return connection, connection.execute_command
    if at.scheme == "postgresql":
        connection = psycopg.connect(url, connect_timeout=int(timeout_s), autocommit=True)
    else:
        connection = pymysql.connect(
            host=at.hostname, port=at.port, user=at.username, password=unquote(at.password),
            database=at.path[1:], autocommit=True, read_timeout=timeout_s,
        )  # fmt: skip
    cursor = connection.cursor()

    def ask(text):
        cursor.execute(text)
        return cursor.fetchone()[0] if cursor.description else None

    return connection, ask


def asked(url: str, *texts: str):
    """The last answer."""
    connection, ask = client(url)
    try:
        return [ask(text) for text in texts][-1]
    finally:
        connection.close()


WRITES = {
    "redis": ("SET k 7",),
    "postgresql": ("CREATE TABLE k (v int)", "INSERT INTO k VALUES (7)"),
    "mariadb": ("CREATE TABLE k (v int)", "INSERT INTO k VALUES (7)"),
}
READS = {"redis": "GET k", "postgresql": "SELECT v FROM k", "mariadb": "SELECT v FROM k"}


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_there_after_kill_9_on_the_same_address(kind, durable) -> None:
    with getattr(servers, kind)(durable=durable) as server:
        url = server.url
        asked(url, *WRITES[kind])
        server.kill()
        with pytest.raises(Exception, match=r"(?i)refused|connect"):
            asked(url, READS[kind])
        server.start()
        assert server.url == url
        assert int(asked(url, READS[kind])) == 7


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_server_answers_nobody_until_it_goes_on(kind) -> None:
    with getattr(servers, kind)() as server:
        connection, ask = client(server.url, timeout_s=1.0)
        ask({"redis": "PING"}.get(kind, "SELECT 1"))
        server.pause()
        with pytest.raises(Exception, match=r"(?i)timed? ?out|timeout|lost connection"):
            asked_slowly(server.url, connection, ask, kind)
        server.resume()
        assert server.answers()
        connection.close()


def asked_slowly(url, connection, ask, kind):
    """Ask a stopped server: psycopg has no timeout of its own for answers, but one for connecting."""
    if kind == "postgresql":
        connection.close()
        client(url, timeout_s=2.0)
    ask("PING" if kind == "redis" else "SELECT 1")


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_nothing_is_left_of_a_server_that_was_closed(kind) -> None:
    server = getattr(servers, kind)().start()
    folder, pid = server.folder, server.pid
    server.stop()
    assert not server.alive
    server.start().kill()
    assert folder.exists()
    server.close()
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_server_dies_with_its_test_run_and_the_next_run_removes_its_data(kind) -> None:
    require(sys.platform == "linux", "only Linux tells a process of its parent's death")
    getattr(servers, kind)().close()  # skips, or fails, where there is none
    path = os.pathsep.join([str(ROOT / "tests"), *sys.path])
    orphaner = subprocess.Popen([sys.executable, "-c", ORPHANER.format(kind=kind)], stdout=subprocess.PIPE, text=True,
                                env={**os.environ, "PYTHONPATH": path})
    pid, folder = orphaner.stdout.readline().split()
    orphaner.kill()
    orphaner.wait(WAIT_S)
    orphaner.stdout.close()
    eventually(lambda: not alive(int(pid)), WAIT_S, "the server has ended")
    assert Path(folder).exists()
    servers.redis().close()
    assert not Path(folder).exists()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_server_that_does_not_start_says_why() -> None:
    server = servers.postgresql(settings={"shared_buffers": "nonsense"})
    with pytest.raises(servers.Broken, match=r"ended with 1 instead of starting(.|\n)*nonsense"):
        server.start()
    server.close()


def test_a_server_is_started_in_the_main_thread_alone() -> None:
    server, errors = servers.redis(), []

    def start():
        try:
            server.start()
        except servers.Broken as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join(WAIT_S)
    server.close()
    assert "start it there" in str(errors[0])


def test_redis_with_tls_and_a_limited_user() -> None:
    with servers.redis(tls=True, limited="~mine:* +@all -@dangerous") as server:
        limited = redis.Redis.from_url(server.url_of("limited"), ssl_ca_certs=str(server.ca), protocol=2)
        limited.set("mine:k", 1)
        with pytest.raises(redis.exceptions.NoPermissionError):
            limited.set("k", 1)
        limited.close()
        stranger = redis.Redis.from_url(server.url)  # knows nothing of who signed
        with pytest.raises(redis.exceptions.ConnectionError, match="certificate"):
            stranger.ping()
        stranger.close()


def tables(url: str) -> None:
    """Two tables, one with a row."""
    serial = "bigserial" if url.startswith("postgresql") else "bigint auto_increment"
    asked(url, f"CREATE TABLE a (id {serial} PRIMARY KEY, v int)", "CREATE TABLE b (v int)", "INSERT INTO b VALUES (1)")


def seen(url: str) -> tuple:
    return asked(url, "SELECT count(*) FROM a"), asked(url, "SELECT sum(v) FROM b")


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_shared_database_is_as_it_was_prepared_whatever_the_last_test_did(kind) -> None:
    for bad in (*["INSERT INTO a (v) VALUES (5)", "DELETE FROM b", "UPDATE b SET v = 9"],
                *["ALTER TABLE a ADD w int", "DROP TABLE b", "SELECT 1"]):
        with shared.database(kind, tables) as url:
            assert seen(url) == (0, 1)
            open_still, ask = client(url)
            ask(bad)
            asked(url, "INSERT INTO a (v) VALUES (6)")
            assert asked(url, "SELECT min(id) FROM a") == 1
        with pytest.raises((psycopg.OperationalError, pymysql.MySQLError)):
            ask("SELECT 1")  # its session was ended
        open_still.close()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_two_shared_databases_at_once_are_two(kind) -> None:
    with shared.database(kind, tables) as one, shared.database(kind, tables) as two:
        asked(one, "DELETE FROM b")
        assert seen(two) == (0, 1)


def test_a_shared_redis_database_is_empty_and_the_callers_alone() -> None:
    for _ in range(2):
        with shared.redis_database() as one, shared.redis_database() as two:
            assert one != two
            assert asked(one, "DBSIZE") == 0
            asked(one, "SET k 1")
            assert asked(two, "DBSIZE") == 0


def test_an_address_in_the_environment_goes_before_a_server_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with servers.redis() as server:
        monkeypatch.setenv("CALLBOARD_TEST_REDIS_URL", server.url)
        monkeypatch.setattr(shared, "_urls", {})
        with shared.redis_database() as url:
            assert urlsplit(url).port == server.port


def test_what_no_machine_has_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(packages.FORCE, "local")
    with pytest.raises(Missing, match="nonesuch: not on this machine"):
        packages.find(Recipe("nonesuch", ("nonesuch-server",), ("nonesuch",)))


FETCH = """
from servers import packages
print(packages.find(packages.Recipe("hello", ("hello",), ("hello",)))["hello"])
"""


def test_two_runs_that_fetch_at_once_get_the_same_whole_programs() -> None:
    require(Path("/usr/bin/apt-get").exists(), "no apt on this machine")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        environment = {**os.environ, "XDG_CACHE_HOME": folder, packages.FORCE: "fetch"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), *sys.path])
        runs = [subprocess.Popen([sys.executable, "-c", FETCH], stdout=subprocess.PIPE, text=True, env=environment)
                for _ in range(2)]
        found = {run.communicate(timeout=100)[0].strip() for run in runs}
        assert len(found) == 1
        program = Path(found.pop())
        assert Path(folder) in program.parents
        assert "Hello" in subprocess.run([program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("stanzas", "old_lines", "release", "expected"), [
    ("URIs: http://m/security\nSuites: b-security\n\nURIs: http://m/debian http://n\nSuites: b\n", "", "debian",
     "http://m/debian"),
    ("", "deb [signed-by=/k] http://m/debian b main\n", "debian", "http://m/debian"),
    ("", "deb http://m/ubuntu b main\n", "ubuntu", "http://deb.debian.org/debian"),
    ("", "", "debian", "http://deb.debian.org/debian"),
])
def test_another_release_comes_from_this_machines_mirror(monkeypatch, stanzas, old_lines, release, expected) -> None:
    monkeypatch.setattr(packages, "sources", lambda: stanzas)
    monkeypatch.setattr(packages, "lines", lambda: old_lines)
    monkeypatch.setattr(packages, "_release", lambda: {"ID": release, "VERSION_CODENAME": "b"})
    assert packages.mirror() == expected

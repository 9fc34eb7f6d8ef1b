"""Opening a SQLite store: what is created, and a clear error for each file that can't be one."""

import os
import sqlite3
import stat
import sys
import time
from contextlib import closing, suppress

import pytest
from kit import require
from sqlitekit import QUICK, edit, job, opened, output_of, program

from callboard.backends.store.sql import versions
from callboard.backends.store.sql.migrate import upgrade
from callboard.backends.store.sql.sqlite import schema
from callboard.core.errors import InvalidArgument, SchemaTooNew, StoreError, StoreReset, StoreUnavailable
from callboard.core.records import JobState


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


def test_a_new_file_is_for_its_owner_only(path):
    opened(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_store_keeps_what_it_has_when_opened_again(path):
    store = opened(path)
    store.push([job("a")])
    store.close()
    again = opened(path)
    assert again.job("a").state is JobState.READY
    again.close()


def test_opening_an_up_to_date_file_is_quick_and_loads_no_migration_tool(path):
    opened(path).close()
    code = """
import sys
from callboard.backends.clock import SystemClock
from callboard.backends.store.sql import open_sqlite
open_sqlite(sys.argv[1], clock=SystemClock()).close()
print([name for name in ("sqlalchemy", "alembic") if name in sys.modules])
"""
    with program(code, path) as process:
        assert output_of(process).strip() == "[]"
    best_s = 1.0
    for _ in range(5):
        start_s = time.perf_counter()
        opened(path).close()
        best_s = min(best_s, time.perf_counter() - start_s)
    assert best_s < 0.02


def test_it_works_in_a_folder_whose_name_needs_quoting(tmp_path):
    folder = tmp_path / "50% off?#é x"
    folder.mkdir()
    store = opened(folder / "jobs?.db")
    store.push([job("a")])
    store.close()
    assert {one.name for one in folder.iterdir()} == {"jobs?.db"}


def test_many_processes_open_a_fresh_file_at_the_same_moment(path):
    code = """
import sys
from callboard.backends.clock import SystemClock
from callboard.backends.store.sql import open_sqlite
import callboard.backends.store.sql.migrate
print("ready", flush=True)
sys.stdin.readline()
store = open_sqlite(sys.argv[1], clock=SystemClock())
from callboard.core.records import NewJob
store.push([NewJob(sys.argv[2], "n", "q", b"")])
store.close()
"""
    with program(code, path, 1) as one, program(code, path, 2) as two, program(code, path, 3) as three:
        programs = [one, two, three]
        for process in programs:
            assert process.stdout.readline() == "ready\n"
        for process in programs:
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in programs:
            output_of(process)
    store = opened(path)
    assert {one.id for one in store.jobs(JobState.READY, None, 10)} == {"1", "2", "3"}
    store.close()


# What is no store of ours ---------------------------------------------------------------------------------------------


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(StoreUnavailable, match=r"directory .*/nowhere does not exist; create it"):
        opened(tmp_path / "nowhere" / "jobs.db")


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(StoreUnavailable, match="is a directory"):
        opened(tmp_path)


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_no_file_is_refused(path):
    with pytest.raises(InvalidArgument, match="memory://"):
        opened(path)


def test_another_applications_database_is_left_alone(path):
    edit(path, "CREATE TABLE recipes (name TEXT)")
    with pytest.raises(StoreError, match=r"belongs to another application .*'recipes'"):
        opened(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("recipes",)]


def test_a_file_that_is_no_database_is_refused(path):
    path.write_bytes(b"Dear diary, " * 1_000)
    with pytest.raises(StoreError, match="not a SQLite database"):
        opened(path)


def test_a_newer_schema_is_refused_with_the_remedy(path):
    opened(path).close()
    edit(path, "UPDATE callboard_schema SET version_num = '9999'", "UPDATE callboard_store SET schema_version = 9999")
    with pytest.raises(SchemaTooNew, match=r"schema version 9999.*upgrade callboard"):
        opened(path)


def test_a_schema_version_that_is_no_number_is_refused(path):
    opened(path).close()
    edit(path, "UPDATE callboard_schema SET version_num = 'abc'")
    with pytest.raises(StoreError, match="version can't be read"):
        opened(path)


def test_a_migration_under_a_running_node_is_noticed(path):
    store = opened(path)
    edit(path, "UPDATE callboard_store SET schema_version = 999")
    with pytest.raises(SchemaTooNew, match="upgrade"):
        store.push([job("a")])
    with pytest.raises(SchemaTooNew, match="upgrade"):
        store.counts()
    store.close()


def test_an_older_schema_is_migrated(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        upgrade(connection, "0001")
        connection.execute("COMMIT")
    store = opened(path)
    store.push([job("a")])
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM callboard_schema").fetchall() == [
            (f"{versions.SCHEMA_VERSION:04}",)]
        assert connection.execute("SELECT schema_version FROM callboard_store").fetchone() == (versions.NEEDS_VERSION,)


def test_a_migration_that_fails_leaves_nothing(path, monkeypatch):
    def fail(connection, **options):
        upgrade(connection, **options)
        raise RuntimeError("planted")

    monkeypatch.setattr("callboard.backends.store.sql.migrate.upgrade", fail)
    with pytest.raises(RuntimeError, match="planted"):
        opened(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM sqlite_schema").fetchall() == []
    monkeypatch.undo()
    opened(path).close()


def test_a_read_only_file_or_folder_is_named(path):
    """As another user: root may write everywhere."""
    require(os.geteuid() == 0, "root, to become a user who may not write")
    opened(path).close()
    folder = path.parent
    folder.chmod(0o755)
    path.chmod(0o644)
    code = """
import os, sys
from callboard.backends.clock import SystemClock
from callboard.backends.store.sql import open_sqlite
from callboard.core.errors import StoreUnavailable
os.chdir(sys.argv[1])
os.setuid(65534)
for path in ("jobs.db", "new.db"):
    try:
        open_sqlite(path, clock=SystemClock())
    except StoreUnavailable as error:
        print(error)
"""
    with program(code, folder) as process:
        old, new = output_of(process).splitlines()
    assert "read-only for this user" in old
    assert "can't be created: Permission denied" in new


# What happens to the file while it is open ----------------------------------------------------------------------


def move_away(path):
    path.rename(path.with_suffix(".moved"))


def replace(path):
    move_away(path)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()
    opened(path).close()


def empty(path):
    edit(path, "DELETE FROM callboard_store")


def drop(path):
    edit(path, "DROP TABLE callboard_store")


def another(path):
    edit(path, "UPDATE callboard_store SET store_id = 'another'")


@pytest.mark.parametrize("change", [move_away, replace, empty, drop, another])
def test_another_file_in_its_place_is_noticed(path, change):
    store = opened(path)
    store.push([job("a")])
    change(path)
    with pytest.raises(StoreReset):
        store.push([job("b")])
    with pytest.raises(StoreReset):
        store.counts()
    store.close()


def read_all(path):
    store = opened(path, QUICK)
    try:
        store.jobs(JobState.READY, None, 1_000)
    finally:
        store.close()


def test_a_corrupt_file_is_said_to_be_corrupt(path):
    store = opened(path)
    store.push([job(f"job-{number}") for number in range(2_000)])
    store.close()
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(os.urandom(512))
    with pytest.raises(StoreError, match=rf"{path}: the file is corrupt; restore it"):
        read_all(path)


def test_a_closed_store_says_so(path):
    store = opened(path)
    store.push([job("a")])
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.push([job("b")])
    with pytest.raises(StoreUnavailable, match="closed"):
        store.counts()


def test_opening_it_twice_drops_no_lock_of_the_first(path):
    """Closing any descriptor of a file drops the process's locks on it; then another process may remove the log."""
    store = opened(path)
    store.push([job("a")])
    opened(path).close()
    code = """
import sqlite3, sys
try:
    print(sqlite3.connect(sys.argv[1], timeout=0).execute("PRAGMA journal_mode = DELETE").fetchone())
except sqlite3.OperationalError as error:
    print(error)
"""
    with program(code, path) as process:
        assert output_of(process).strip() == "database is locked"
    store.close()


def test_this_python_has_what_the_schema_needs():
    assert sqlite3.sqlite_version_info >= schema.SQLITE_MIN, sys.version

"""How SQLite carries out the statements: none that acts often reads all jobs, however many there are."""

import re
import sqlite3
from contextlib import closing
from importlib.resources import files

import pytest
from sqlitekit import opened

from callboard.backends.store.sql.sqlite.dialect import sqlite_dialect

PACKAGE = files("callboard.backends.store.sql")
STATEMENTS = sqlite_dialect().statements
RARE = {"operator.scan_page", "aging.waiting_after", "aging.last_n"}
"""Walk over all rows, in order, from one place on: operators' statements."""


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    path = tmp_path_factory.mktemp("plans") / "jobs.db"
    opened(path).close()
    with closing(sqlite3.connect(path)) as connection:
        yield connection


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_scans_all_jobs(connection, name):
    values = (1,) * statement_values(STATEMENTS[name])
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {STATEMENTS[name]}", values)]
    scans = [step for step in plan if re.search(r"SCAN (callboard_jobs|j|o)\b(?! USING (COVERING )?INDEX)", step)]
    assert not scans or name in RARE, plan
    long = [step for step in plan if re.search(r"SCAN \w+ USING .*INDEX callboard_jobs_(ready|delayed|over)", step)]
    assert not long or name.startswith("operator."), plan


def statement_values(statement: str) -> int:
    numbered = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    return max(numbered) if numbered else statement.count("?")


def test_a_sort_of_ready_jobs_is_the_indexes_order(connection):
    statement = STATEMENTS["leader.next_jobs"]
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", ("q", 10, 0))]
    assert plan == ["SEARCH callboard_jobs USING INDEX callboard_jobs_ready (queue=?)"]

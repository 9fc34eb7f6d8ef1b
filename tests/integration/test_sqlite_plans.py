"""How SQLite carries out the statements: none that acts often reads all jobs, however many there are."""

import re
import sqlite3
from contextlib import closing
from importlib.resources import files

import pytest
from sqlitekit import opened

from callboard.backends.store.sql.statements import load

PACKAGE = files("callboard.backends.store.sql")
FILES = sorted(file.name for file in PACKAGE.iterdir() if file.name.endswith(".sql"))
RARE = {("operator.sql", "scan_page"), ("aging.sql", "waiting_after"), ("aging.sql", "last_n")}
"""Walk over all rows, in order, from one place on: operators' statements."""


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    path = tmp_path_factory.mktemp("plans") / "jobs.db"
    opened(path).close()
    with closing(sqlite3.connect(path)) as connection:
        yield connection


@pytest.mark.parametrize("file", FILES)
def test_no_statement_scans_all_jobs(connection, file):
    for name, statement in load(file).items():
        values = (1,) * statement_values(statement)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
        scans = [step for step in plan if re.search(r"SCAN (callboard_jobs|j|o)\b(?! USING (COVERING )?INDEX)", step)]
        assert not scans or (file, name) in RARE, (name, plan)
        long = [step for step in plan if re.search(r"SCAN \w+ USING .*INDEX callboard_jobs_(ready|delayed|over)", step)]
        assert not long or file == "operator.sql", (name, plan)


def statement_values(statement: str) -> int:
    numbered = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    return max(numbered) if numbered else statement.count("?")


@pytest.mark.parametrize("module", sorted(file.name for file in PACKAGE.iterdir() if file.name.endswith(".py")))
def test_every_statement_that_is_named_exists(module):
    text = PACKAGE.joinpath(module).read_text(encoding="utf-8")
    for variable, arguments in re.findall(r"^(\w+): Final = load\((.*?)\)$", text, re.MULTILINE):
        known = load(*re.findall(r'"([\w.]+)"', arguments))
        used = set(re.findall(rf'\b{variable}\["(\w+)"', text))
        assert used
        assert used <= set(known)


def test_every_statement_is_used():
    text = "".join(file.read_text(encoding="utf-8") for file in PACKAGE.iterdir() if file.name.endswith(".py"))
    for file in FILES:
        if file != "cluster.sql":
            assert {name for name in load(file) if f'"{name}"' not in text} == set()


def test_a_sort_of_ready_jobs_is_the_indexes_order(connection):
    statement = load("leader.sql")["next_jobs"]
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", ("q", 10))]
    assert plan == ["SEARCH callboard_jobs USING INDEX callboard_jobs_ready (queue=?)"]

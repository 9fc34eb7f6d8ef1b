"""`callboard migrate`: as an order, and as SQL for an administrator."""

from __future__ import annotations

import sqlite3

import pytest
from clikit import Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_tables_are_made_once_and_a_node_finds_them(place):
    assert place.ok("migrate") == "sqlite:///callboard.db: its tables are current now\n"
    assert place.run("migrate", "--json").json == {"store": "sqlite:///callboard.db", "migrated": False}
    place.push("send_email", "--arg", "to=x")


def test_the_sql_alone_makes_the_same_tables(place):
    sql = place.ok("migrate", "--sql", "--store", "sqlite:///other.db")
    place.ok("migrate")
    with sqlite3.connect(place.folder / "other.db") as db:
        db.executescript(sql)
    assert place.ok("migrate", "--store", "sqlite:///other.db").endswith("its tables were current\n")
    names = [tables(place.folder / name) for name in ("callboard.db", "other.db")]
    assert names[0] == names[1]
    done = place.run("migrate", "--sql", "--store", "sqlite:///other.db")
    assert (done.code, done.out) == (0, "")
    assert "nothing to do" in done.err


def tables(path):
    with sqlite3.connect(path) as db:
        return sorted(db.execute("SELECT type, name FROM sqlite_master").fetchall())


def test_a_store_without_tables_is_refused_in_one_line(place):
    done = place.run("migrate", "--store", "redis://localhost:1/0")
    assert (done.code, len(done.err.splitlines())) == (2, 1)

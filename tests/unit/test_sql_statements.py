"""The statements of the SQL stores: each that is named exists in every dialect, each that exists is used."""

import re
from importlib.resources import files

import pytest

from callboard.backends.store.sql.mariadb.dialect import mariadb_dialect
from callboard.backends.store.sql.postgresql.dialect import postgresql_dialect
from callboard.backends.store.sql.sqlite.dialect import sqlite_dialect
from callboard.backends.store.sql.statements import checked_prefix
from callboard.core.errors import InvalidArgument

PACKAGES = files("callboard.backends.store.sql"), files("callboard.backends.cluster")
DIALECTS = {"sqlite": sqlite_dialect, "postgresql": postgresql_dialect, "mariadb": mariadb_dialect}
GIVES = {"leader.give_jobs", "leader.give_n", "leader.give_alone"}
FOLDED = {"sweep.guest_counts", "sweep.drop_guest_counts"}
POLLED = {"bells.rung", "bells.drop_old", "bells.woken"}
KEPT_UP = {"sweep.fold_counts", "sweep.upkeep"}
LACKS = {
    "sqlite": {"bells.wake", "bells.missed", "bells.ring", "store.add_guest_counts",
               *GIVES, *POLLED, *FOLDED, *KEPT_UP},
    "postgresql": {"store.set_anchor", *POLLED, *FOLDED},
    "mariadb": {"store.set_anchor", *GIVES, *KEPT_UP},
}
"""Statements that only others need."""


def texts():
    folders = [folder for package in PACKAGES for folder in (package, *package.iterdir()) if folder.is_dir()]
    return {str(file): file.read_text(encoding="utf-8") for folder in folders for file in folder.iterdir()
            if file.name.endswith(".py")}


NAMED = {name for text in texts().values() for name in re.findall(r'"([a-z]+\.[a-z_]+)"', text)} - {"callboard.stores"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_statement_that_is_named_exists(dialect):
    known = DIALECTS[dialect]().statements
    files_of_statements = {name.partition(".")[0] for name in known}
    named = {name for name in NAMED if name.partition(".")[0] in files_of_statements}
    assert len(named) > 80
    assert named - LACKS[dialect] <= set(known)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_statement_is_used(dialect):
    by_fence = {"store.row", "store.row_share", "store.row_update"}
    known = {name for name in DIALECTS[dialect]().statements if not name.startswith("cluster.")}
    assert known - by_fence - NAMED == set()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_macro_is_left_and_the_prefix_is_everywhere(dialect):
    for name, text in DIALECTS[dialect]("tasks_").statements.items():
        assert "{" not in text, name
        assert "callboard_" not in text, name


@pytest.mark.parametrize("prefix", ["", "_", "Jobs_", "jobs", "1_", "a-_", "a b_", 'a"_', "x" * 32 + "_", "a;_", "ä_"])
def test_a_prefix_that_is_no_plain_name_is_refused(prefix):
    with pytest.raises(InvalidArgument, match="tables"):
        checked_prefix(prefix)


def test_plain_prefixes_are_taken():
    assert [checked_prefix(prefix) for prefix in ("callboard_", "jobs_", "_a1_", "x" * 31 + "_")] != []

"""How PostgreSQL carries out the statements: none that acts often reads all jobs, however many there are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from postgresqlkit import prepare
from servers import shared

from callboard.backends.store.sql.postgresql.connection import Link
from callboard.backends.store.sql.postgresql.database import Address
from callboard.backends.store.sql.postgresql.dialect import postgresql_dialect

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_HERE = {"store.set_anchor", "store.wakes", "store.not_idle", "leader.next_jobs", "leader.next_n",
            "leader.isolated_job", "leader.draw_tokens", "leader.give", "producer.inserted_since"}
"""Common statements that this dialect has others for."""
STATEMENTS = {name: text for name, text in postgresql_dialect().statements.items()
              if name not in NOT_HERE and not name.startswith("cluster.")}
RARE = {"operator.scan_page", "aging.waiting_after", "aging.last_n", "operator.last_n", "producer.last_n"}
"""Walk over all rows, in order, from one place on: operators' statements."""


@pytest.fixture(scope="module")
def link() -> Iterator[Link]:
    with shared.database("postgresql", prepare) as url:
        link = Link(Address(url, 5.0).conninfo, 5.0)
        yield link
        link.close()


def plan(link: Link, statement: str) -> dict[str, Any]:
    """The plan that is made once for all values."""
    used = {int(number) for number in re.findall(r"\$(\d+)", statement)}
    values = max(used, default=0)
    kinds = ", ".join("unknown" if number in used else "bigint" for number in range(1, values + 1))
    raw = link.raw
    raw.execute(f"PREPARE planned{f' ({kinds})' if values else ''} AS {statement}", prepare=False)
    try:
        given = f" ({', '.join(['NULL'] * values)})" if values else ""
        (found,) = raw.execute(f"EXPLAIN (FORMAT JSON) EXECUTE planned{given}", prepare=False).fetchone()
    finally:
        raw.execute("DEALLOCATE planned", prepare=False)
    return found[0]["Plan"]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_reads_all_jobs(link, name):
    for node in nodes(plan(link, STATEMENTS[name])):
        if node.get("Relation Name") != "callboard_jobs" or node["Node Type"] == "ModifyTable":
            continue
        assert node["Node Type"] != "Seq Scan", f"{name} reads the whole table"
        whole = node.get("Index Name") == "callboard_jobs_pkey" and "Index Cond" not in node
        assert not whole or name in RARE, f"{name} reads the whole table in the order of its key"


@pytest.mark.parametrize(("name", "index"), [
    ("leader.give_jobs", "ready"), ("leader.give_n", "ready"), ("leader.due", "delayed"),
    ("leader.idle_queues", "ready"), ("node.assigned_jobs", "held"), ("changes.rows_held", "held"),
    ("operator.assigned_of_queue", "held"), ("leader.sessions", "alone"),
    ("leader.session_for", "alone"), ("changes.rows_expired", "expires"), ("sweep.older", "over"),
    ("sweep.drop_results", "results"), ("leader.ready", "ready"), ("bells.missed", "ready"),
    ("producer.known_ids", "id"),
])
def test_each_hot_statement_goes_by_its_index(link, name, index):
    used = {node.get("Index Name") for node in nodes(plan(link, STATEMENTS[name]))}
    assert f"callboard_jobs_{index}" in used


@pytest.mark.parametrize("name", ["leader.give_jobs", "leader.give_n", "leader.due"])
def test_the_order_of_jobs_is_the_indexes(link, name):
    assert "Sort" not in {node["Node Type"] for node in nodes(plan(link, STATEMENTS[name]))}

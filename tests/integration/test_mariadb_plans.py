"""How MariaDB carries out the statements: none that acts often reads all jobs, however many there are."""

from __future__ import annotations

import re
from contextlib import closing

import pytest
from mariadbkit import connect, database

from callboard.backends.store.sql.mariadb.dialect import mariadb_dialect
from callboard.backends.store.sql.mariadb.literals import Listed, Many, Statement

STATEMENTS = mariadb_dialect().statements
KINDS = ("SELECT", "UPDATE", "DELETE")
RARE = {"operator.scan_page", "aging.waiting_after", "aging.last_n", "operator.last_n", "producer.last_n",
        "producer.inserted_since"}
"""Walk over all rows, in order, from one place on: operators' statements; or are of others only."""
LONG = {"operator.assigned_of_queue", "operator.page_held", "operator.page_ready", "operator.page_over",
        "operator.page_delayed", "operator.purge_assigned", "operator.purge_delayed", "operator.failed_rows",
        "leader.isolated", "sweep.held_drift"}
"""Read all jobs that are in one state: what is held, isolated or delayed, or what an operator asks for."""
PLACE = re.compile(r"(?:([\w.]+) (=|IN|<=|>|<) (\()?)?\?(\d*)")
TEXTS = {"id", "queue", "lane", "node", "live_node", "unique_key", "topic", "name"}
FEW = 200


@pytest.fixture(scope="module")
def cursor():
    with database() as url, closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("""
            INSERT INTO callboard_jobs (id, queue, state, has_failed_hook, priority, rank, due_ms, pushed_ms,
                finished_ms, session, name, body, expires_ms, result, result_until_ms)
            SELECT concat('j', seq), concat('q', seq % 5), elt(seq % 4 + 1, 4, 4, 1, IF(seq % 100 = 3, 3, 0)), 0, 0,
                seq, seq, seq, IF(seq % 4 < 2, seq, NULL), IF(seq % 100 = 3, seq % 7, NULL), 'app.work', x'81a16180',
                IF(seq % 50 = 2, seq, NULL), IF(seq % 4 = 0, x'01', NULL), IF(seq % 4 = 0, seq, NULL)
            FROM seq_1_to_4000""")
        cursor.execute("ANALYZE TABLE callboard_jobs")
        yield cursor


def explained(name: str) -> list[str]:
    """The parts of a statement that can be explained, with values of the columns' kinds."""
    text = STATEMENTS[name]
    if text.startswith("BEGIN"):
        return []
    places = [(int(found[4] or place), found[1] or "", found[2] or "", found[3] or "")
              for place, found in enumerate(PLACE.finditer(text), 1)]
    values: list[object] = [7] * max([place for place, *_ in places] or [0])
    for place, column, how, bracket in places:
        value = "q1" if column.rpartition(".")[2] in TEXTS else 7
        if how == "IN":
            values[place - 1] = Listed([value, value]) if bracket else Many([value, value])
        elif values[place - 1] == 7:
            values[place - 1] = value
    return [part for part in Statement(text).filled(values).split(";") if part.strip().startswith(KINDS)]


@pytest.mark.parametrize("name", sorted(name for name in STATEMENTS if not name.startswith("cluster.")))
def test_no_statement_reads_all_jobs(cursor, name: str):
    for part in explained(name):
        cursor.execute("EXPLAIN " + part)
        for row in cursor.fetchall():
            table, how, key, rows = row[2], row[3], row[5], row[8]
            if table not in {"callboard_jobs", "j"} or how is None:
                continue
            assert key is not None or name in RARE, f"{part}\n{row}"
            assert how not in {"ALL", "index"} or name in RARE, f"{part}\n{row}"
            if name not in RARE | LONG and "LIMIT" not in part and "EXISTS" not in part:  # which stop at the first
                assert int(rows) <= FEW, f"{part}\n{row}"


@pytest.mark.parametrize("name", ["leader.next_jobs", "leader.next_n", "leader.due", "sweep.older", "sweep.oldest"])
def test_a_sort_is_the_indexes_order(cursor, name: str):
    (part,) = explained(name)
    cursor.execute("EXPLAIN " + part)
    ((*_, extra),) = cursor.fetchall()
    assert "filesort" not in extra
    assert "temporary" not in extra

"""Values in the text of statements for MariaDB, and statements for many rows."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.backends.store.sql.mariadb.dialect import macro, rewritten
from callboard.backends.store.sql.mariadb.literals import Listed, Many, Statement, joined, literal
from callboard.core.errors import InvalidArgument

PLAIN = re.compile(r"'[A-Za-z0-9_.:@/+\- ]*'\Z")
DIGITS = re.compile(r"_utf8mb4 x'([0-9a-f]*)'\Z")


@given(st.text())
def test_no_text_can_end_its_literal(text):
    written = literal(text)
    found = DIGITS.match(written)
    if found:
        assert bytes.fromhex(found[1]).decode() == text
    else:
        assert PLAIN.match(written)
        assert written == f"'{text}'"


@pytest.mark.parametrize("text", ["'", "\\", "a';DROP TABLE x;-- ", 'a"b', "\0", "a\nb", "ä", "\U0001f680", "a%sb",
                                  "x'41'", "`"])
def test_what_is_not_plain_goes_as_digits(text):
    assert DIGITS.match(literal(text))


@given(st.binary())
def test_bytes_go_as_digits(value):
    assert literal(value) == f"x'{value.hex()}'"


@pytest.mark.parametrize(("value", "written"), [
    (None, "NULL"), (0, "0"), (-5, "-5"), ((1 << 63) - 1, "9223372036854775807"), (-(1 << 63), "-9223372036854775808"),
    (True, "1"), (False, "0"), (0.5, "0.5"), (1e300, "1e+300"), (Many([1, "a"]), "(1,'a')"), (Many(), "(NULL)"),
    (Listed([1, 2]), "1,2"), (Listed([Many([1]), Many([2])]), "(1),(2)"),
])
def test_other_values(value, written):
    assert literal(value) == written


@pytest.mark.parametrize("value", [1 << 63, float("nan"), float("inf"), "\ud800", [1], object(), {"a": 1}])
def test_what_can_not_be_stored_is_refused(value):
    with pytest.raises(InvalidArgument, match="stored"):
        literal(value)


def test_values_go_to_their_places():
    assert Statement("a = ? AND b = ?").filled((1, "x")) == "a = 1 AND b = 'x'"
    assert Statement("a = ?2 AND b = ?1 AND c = ?2").filled((1, 2)) == "a = 2 AND b = 1 AND c = 2"
    assert Statement("n = ?3").filled((1, 2, 3)) == "n = 3"
    with pytest.raises(ValueError, match="1 values for 2 places"):
        Statement("a = ? AND b = ?").filled((1,))


def test_rows_that_get_the_same_are_one_statement():
    change = Statement("UPDATE t SET a = ?, b = ?\nWHERE n = ?")
    assert change.for_rows([(1, None, 7), (1, None, 5), (2, "x", 6), (1, None, 8)], 1_000) == [
        "UPDATE t SET a = 1, b = NULL\nWHERE n IN (5,7,8)", "UPDATE t SET a = 2, b = 'x'\nWHERE n = 6"]


def test_numbered_places_group_too_if_only_the_last_is_n():
    complete = Statement("UPDATE t SET a = ?1, b = ?1 + c, d = ?2 WHERE n = ?3")
    assert complete.for_rows([(9, None, 1), (9, None, 2)], 1_000) == [
        "UPDATE t SET a = 9, b = 9 + c, d = NULL WHERE n IN (1,2)"]
    assert len(Statement("UPDATE t SET a = ?1 WHERE b = ?2 AND n = ?1").for_rows([(1, 2), (3, 2)], 1_000)) == 2


def test_runs_that_get_the_same_are_one_statement():
    mark = Statement("UPDATE t SET a = ?\nWHERE n = ? AND id = ? AND epoch = ? AND seq = ? AND session = ? AND b = 3")
    assert mark.for_rows([(9, 1, "a", 1, 2, 3), (9, 4, "b", 1, 5, 3), (8, 6, "c", 1, 7, 3)], 1_000) == [
        ("UPDATE t SET a = 9\nWHERE n IN (1,4) AND (n, id, epoch, seq, session) IN "
         "((1,'a',1,2,3),(4,'b',1,5,3)) AND b = 3"),
        "UPDATE t SET a = 8\nWHERE n IN (6) AND (n, id, epoch, seq, session) IN ((6,'c',1,7,3)) AND b = 3"]


def test_rows_of_an_insert_are_one_statement():
    insert = Statement("INSERT INTO t (a, b)\nVALUES (?1, ?2 < 0)\nON DUPLICATE KEY UPDATE b = b + VALUES(b)")
    assert insert.for_rows([("x", 1), ("y", -2)], 1_000) == [
        "INSERT INTO t (a, b)\nVALUES ('x', 1 < 0),('y', -2 < 0)\nON DUPLICATE KEY UPDATE b = b + VALUES(b)"]


def test_other_statements_are_run_for_each_row():
    assert Statement("DELETE FROM t WHERE a = ?").for_rows([(1,), (2,)], 1_000) == [
        "DELETE FROM t WHERE a = 1", "DELETE FROM t WHERE a = 2"]


@given(st.lists(st.integers(1, 10**9), unique=True, min_size=1, max_size=200), st.integers(1, 300))
def test_long_lists_are_cut_and_nothing_is_left_out(numbers, max_chars):
    texts = Statement("UPDATE t SET a = ? WHERE n = ?").for_rows([(0, n) for n in numbers], max_chars)
    found = [int(n) for text in texts for n in re.findall(r"\d+", text.partition("WHERE n ")[2])]
    assert sorted(found) == sorted(numbers)
    lists = [text.partition("(")[2] for text in texts]
    assert all(len(one) <= max_chars + 12 for one in lists)


def test_statements_go_together_as_far_as_a_message_holds():
    assert joined(["aaaa", "bbbb", "cccc"], 9) == ["aaaa;bbbb", "cccc"]
    assert joined(["a" * 20, "b"], 9) == ["a" * 20, "b"]
    assert joined([], 9) == []


@pytest.mark.parametrize(("common", "here"), [
    ("WHERE queue = ? AND state = 1 AND losses < 2 ORDER BY rank, n", "WHERE phase = 1 AND lane = ? ORDER BY place, n"),
    ("WHERE j.queue = q.queue AND j.state = 1 AND j.losses >= 2", "WHERE j.phase = -1 AND j.lane = q.queue"),
    ("WHERE session = ? AND state IN (2, 3) AND state = 3", "WHERE place = ? AND lane = '' AND phase = 3"),
    ("WHERE state = 0 AND due_ms <= ? ORDER BY due_ms, n",
     "WHERE phase = 0 AND lane = '' AND place <= ? ORDER BY place, n"),
    ("WHERE state >= 4 AND state = ?1", "WHERE phase = ?1 AND lane = ''"),
    ("WHERE expires_ms IS NOT NULL AND state IN (0, 1) AND step = 0 AND expires_ms <= ? ORDER BY expires_ms LIMIT ?",
     "WHERE expiring_ms <= ? ORDER BY expiring_ms LIMIT ?"),
    ("SELECT 1 FROM x_sessions WHERE node = ? AND ended_ms IS NULL", "SELECT 1 FROM x_sessions WHERE live_node = ?"),
    ("UPDATE x_jobs SET state = 1 WHERE n = ?", "UPDATE x_jobs FORCE INDEX (PRIMARY) SET state = 1 WHERE n = ?"),
    ("DELETE FROM x_jobs WHERE n = ?", "DELETE FROM x_jobs WHERE n = ?"),
    ("SELECT a FROM x_jobs WHERE n = ?", "SELECT a FROM x_jobs FORCE INDEX (PRIMARY) WHERE n = ?"),
])
def test_common_conditions_become_those_of_the_one_index(common, here):
    assert rewritten(common) == here


def test_one_index_stands_for_the_partial_ones():
    assert macro("by", "callboard_jobs_ready") == "FORCE INDEX (callboard_jobs_work)"
    assert macro("by", "callboard_jobs_held") == "FORCE INDEX (callboard_jobs_work)"
    assert macro("by", "callboard_jobs_results") == "FORCE INDEX (callboard_jobs_results)"

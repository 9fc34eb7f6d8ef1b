"""MariaDB's dialect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.store.sql.dialect import Dialect
from callboard.backends.store.sql.mariadb.connection import MESSAGE_CHARS
from callboard.backends.store.sql.mariadb.literals import Listed, Many, Written, literal
from callboard.backends.store.sql.statements import PREFIX, load
from callboard.core.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from callboard.backends.store.sql.giving import Give
    from callboard.backends.store.sql.tx import Tx

TEXT_MAX: Final = 255
"""Characters of an id, a name, a key."""
_NAMES: Final = (0, 1, 8, 12)
"""Where id, queue, name and unique key are in the row of a new job."""
_MACROS: Final = {
    "by": "FORCE INDEX ({})",
    "scan": "FORCE INDEX (PRIMARY)",
    "ints": "IN {}",
    "texts": "IN {}",
    "lock": "FOR UPDATE",
    "lock n": "ORDER BY n FOR UPDATE",
    "lock skip": "FOR UPDATE SKIP LOCKED",
    "lock own": "FOR UPDATE",
    "lock key": "LOCK IN SHARE MODE",
}
_WORK: Final = "callboard_jobs_work"
_INDEX: Final = {f"callboard_jobs_{name}": _WORK for name in ("ready", "isolated", "delayed", "held", "alone", "over")}
"""Partial indexes of the others: one does the same here, see `migrations.mariadb`."""
_OF: Final = r"(\w+\.)?\b"
_READY: Final = rf"{_OF}state = 1 AND (?:\w+\.)?losses"
_HELD: Final = r"(?:\w+\.)?state IN \(2, 3\)"
_REWRITES: Final = tuple((re.compile(pattern, re.DOTALL), text) for pattern, text in (
    (rf"{_OF}queue = (\S+) AND {_READY} < 2\b", r"\1phase = 1 AND \1lane = \2"),
    (rf"{_OF}queue = (\S+) AND {_READY} >= 2\b", r"\1phase = -1 AND \1lane = \2"),
    (rf"{_READY} < 2\b", r"\1phase = 1"),
    (rf"{_READY} >= 2\b", r"\1phase = -1"),
    (rf"{_OF}session = (\S+) AND {_HELD} AND (?:\w+\.)?state = (\S+)",
     r"\1place = \2 AND \1lane = '' AND \1phase = \3"),
    (rf"{_OF}session = (\S+) AND {_HELD}", r"\1place = \2 AND \1lane = '' AND \1phase IN (2, 3)"),
    (rf"{_HELD} AND state = (\S+)", r"phase = \1"),
    (r"\bstate >= 4 AND state = (\S+)", r"phase = \1 AND lane = ''"),
    (r"\bstate = 0\b", "phase = 0 AND lane = ''"),
    (r"(?<!BY queue )\bORDER BY (?:rank|due_ms|finished_ms)\b", "ORDER BY place"),
    (r"\blane = '' AND (?:due|finished)_ms\b", "lane = '' AND place"),
    (r"\bmin\(due_ms\)", "min(place)"),
    (r"\bexpires_ms IS NOT NULL AND state IN \(0, 1\) AND step = 0 AND expires_ms <= (\S+) ORDER BY expires_ms\b",
     r"expiring_ms <= \1 ORDER BY expiring_ms"),
    (rf"{_OF}node = (\S+) AND ended_ms IS NULL\b", r"\1live_node = \2"),
    # a small table would be read whole otherwise, past rows that others have locked
    (r"(?<!DELETE )\bFROM (\w+_jobs)(\s+WHERE n (?:=|IN) )", r"FROM \1 FORCE INDEX (PRIMARY)\2"),
    (r"(?<!DELETE )\bFROM (\w+_(?:queues|sessions))(\s+WHERE (?:queue|session) (?:=|IN) )",
     r"FROM \1 FORCE INDEX (PRIMARY)\2"),
    (r"\bUPDATE (\w+_sessions)\b(?! FORCE)(?=[^;]*\bWHERE session = )", r"UPDATE \1 FORCE INDEX (PRIMARY)"),
    (r"\AUPDATE (\w+_jobs)\b(?! FORCE)(?=.*\bWHERE n (?:=|IN) )", r"UPDATE \1 FORCE INDEX (PRIMARY)"),
))


def macro(word: str, argument: str) -> str:
    """What a common statement's macro is here."""
    if word == "any":
        column, value = argument.split()
        return f"({value} IS NULL OR {column} = {value})"
    if word == "by":
        argument = _INDEX.get(argument, argument)
    return _MACROS[f"{word} {argument}".strip() if word == "lock" else word].format(argument)


def rewritten(text: str) -> str:
    """A statement with what the common ones can't say here."""
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text


def mariadb_dialect(prefix: str = PREFIX) -> Dialect:
    """The dialect for tables whose names begin with `prefix`."""
    return Dialect(
        name="mariadb", statements=load("mariadb", macro, rewritten, prefix), array=array, concurrent=True, give=give,
        insert=insert,
    )


def array(values: Sequence[object]) -> Many:
    """Many values as one."""
    return Many(values)


def give(tx: Tx, order: Give) -> list[tuple[Any, ...]]:
    """Hand out jobs in two round trips; see `giving.give`."""
    if order.alone is not None:
        rows = tx.run("leader.isolated_job", order.alone.ref, order.alone.id, order.queue, tx.now_ms).fetchall()
        rows = rows if order.run else [row[:1] for row in rows]
    else:
        name = "leader.next_jobs" if order.run else "leader.next_n"
        rows = tx.run(name, order.queue, order.at_most, tx.now_ms).fetchall()
    if not rows:
        return []
    numbers = Listed([row[0] for row in rows])
    taken_ms = tx.now_ms if order.run else None
    (before,) = tx.run("leader.give", numbers, len(rows), order.state, order.session, order.epoch, order.node,
                       tx.now_ms, taken_ms).fetchone()
    return [(*row, before + place) for place, row in enumerate(rows, 1)]


def insert(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> Collection[str]:
    """Write new jobs in as few statements as fit into messages; see `giving.insert`."""
    for row in rows:
        for place in _NAMES:
            if row[place] is not None and len(row[place]) > TEXT_MAX:
                raise InvalidArgument(f"{row[place][:60]!r}... is longer than the {TEXT_MAX} characters that can be "
                                      "stored")
    texts = [Written(literal(Many(row))) for row in rows]
    return [job_id for part in _parts(texts) for (job_id,) in tx.run("producer.insert", Listed(part)).fetchall()]


def _parts(texts: Sequence[Written]) -> Iterator[Sequence[Written]]:
    """Rows for one statement each."""
    begin = chars = 0
    for place, text in enumerate(texts):
        if chars and chars + len(text) > MESSAGE_CHARS:
            yield texts[begin:place]
            begin, chars = place, 0
        chars += len(text)
    yield texts[begin:]

"""PostgreSQL's dialect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.store.sql.dialect import Dialect
from callboard.backends.store.sql.statements import PREFIX, load

from .arrays import array, columns

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from callboard.backends.store.sql.giving import Give
    from callboard.backends.store.sql.tx import Tx

_MACROS: Final = {
    "by": "",
    "scan": "",
    "ints": "= ANY ({}::bigint[])",
    "texts": "= ANY ({}::text[])",
    "lock": "FOR UPDATE",
    "lock n": "ORDER BY n FOR UPDATE",
    "lock skip": "FOR UPDATE SKIP LOCKED",
    "lock own": "FOR NO KEY UPDATE",
    "lock key": "FOR KEY SHARE",
}
_VALUE: Final = re.compile(r"\?(\d*)")


def macro(word: str, argument: str) -> str:
    """What a common statement's macro is here."""
    if word == "any":
        column, value = argument.split()
        return f"({value}::text IS NULL OR {column} = {value}::text)"
    return _MACROS[f"{word} {argument}".strip() if word == "lock" else word].format(argument)


def numbered(text: str) -> str:
    """The values as PostgreSQL names them: $1, $2."""
    place = 0

    def name(found: re.Match[str]) -> str:
        nonlocal place
        place += 1
        return f"${found[1] or place}"

    return _VALUE.sub(name, text)


def postgresql_dialect(prefix: str = PREFIX) -> Dialect:
    """The dialect for tables whose names begin with `prefix`."""
    return Dialect(
        name="postgresql", statements=load("postgresql", macro, numbered, prefix), array=array, concurrent=True,
        give=give, insert=insert,
    )


def give(tx: Tx, order: Give) -> list[tuple[Any, ...]]:
    """Hand out jobs in one statement; see `giving.give`."""
    taken_ms = tx.now_ms if order.run else None
    if order.alone is not None:
        job = order.alone
        rows = tx.run("leader.give_alone", job.ref, job.id, order.queue, order.state, order.session,
                      order.epoch, order.node, tx.now_ms, taken_ms).fetchall()
        rows = rows if order.run else [(row[0], row[-1]) for row in rows]
    else:
        name = "leader.give_jobs" if order.run else "leader.give_n"
        rows = tx.run(name, order.queue, order.at_most, order.state, order.session, order.epoch, order.node,
                      tx.now_ms, taken_ms).fetchall()
    return sorted(rows, key=lambda row: row[-1])


def insert(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> Collection[str]:
    """Write new jobs in one statement; see `giving.insert`."""
    return [job_id for (job_id,) in tx.run("producer.insert", *columns(tx.text("producer.insert"), rows)).fetchall()]

"""SQLite's dialect."""

from __future__ import annotations

import json
from typing import Final

from callboard.backends.store.sql.dialect import Dialect
from callboard.backends.store.sql.giving import give, insert
from callboard.backends.store.sql.statements import PREFIX, load

_MACROS: Final = {
    "by": "INDEXED BY {}",
    "scan": "NOT INDEXED",
    "ints": "IN (SELECT value FROM json_each({}))",
    "texts": "IN (SELECT value FROM json_each({}))",
    "lock": "",
}


def macro(word: str, argument: str) -> str:
    """What a common statement's macro is here."""
    if word == "any":
        column, value = argument.split()
        return f"({value} IS NULL OR {column} = {value})"
    return _MACROS[word].format(argument)


def sqlite_dialect(prefix: str = PREFIX) -> Dialect:
    """The dialect for tables whose names begin with `prefix`."""
    return Dialect(
        name="sqlite", statements=load("sqlite", macro, prefix=prefix), array=json.dumps, concurrent=False, give=give,
        insert=insert,
    )

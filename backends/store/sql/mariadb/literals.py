"""Values in the text of statements, for the driver has no parameters of the protocol's own.

No value can end its literal, whatever the session's sql_mode is: text that is not plain goes as hexadecimal digits.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from callboard.core.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:@/+\- ]{0,255}\Z")
_VALUE: Final = re.compile(r"\?(\d*)")
_INT_MIN: Final = -(1 << 63)
_INT_MAX: Final = (1 << 63) - 1
_BY_N: Final = re.compile(r"\sWHERE n = \?(\d*)\Z")
_BY_TOKEN: Final = re.compile(
    r"(.*\bWHERE )n = \? AND id = \? AND epoch = \? AND seq = \? AND session = \?(.*)", re.DOTALL)
_TOKEN: Final = 5
_VALUES: Final = re.compile(r"(INSERT .*\bVALUES )(\([^()]*\))(.*)", re.DOTALL)


class Many(tuple[object, ...]):
    """Values that are one in a statement: `IN ?`, or a row of `VALUES`."""

    __slots__ = ()


class Written(str):
    """SQL already."""

    __slots__ = ()


class Listed(tuple[object, ...]):
    """The same without parentheses."""

    __slots__ = ()


def literal(value: object) -> str:
    """The value as SQL.

    Raises:
        InvalidArgument: Raised when MariaDB can't keep it.
    """
    write = _WRITERS.get(type(value))
    if write is not None:
        return str(write(value))
    if isinstance(value, Written):
        return str(value)
    for kind, write_kind in _WRITERS.items():  # an IntEnum, say
        if isinstance(value, kind):
            return str(write_kind(value))
    raise InvalidArgument(f"{str(value)[:60]!r} can't be stored")


def _int(value: Any) -> str:
    if not _INT_MIN <= value <= _INT_MAX:
        raise InvalidArgument("a whole number of more than 64 bits can't be stored")
    return str(int(value))


def _float(value: Any) -> str:
    if not isfinite(value):
        raise InvalidArgument(f"{value!r} can't be stored")
    return repr(float(value))


def _many(values: Any) -> str:
    if not values:
        return "(NULL)"
    get = _WRITERS.get  # once a value of each row that is pushed
    return f"({','.join([write(value) if (write := get(type(value))) else literal(value) for value in values])})"


def _listed(values: Any) -> str:
    return ",".join(map(literal, values))


def _text(value: Any) -> str:
    if _PLAIN.match(value):
        return f"'{value}'"
    try:
        return f"_utf8mb4 x'{value.encode().hex()}'"
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{value[:60]!r} is no text that can be stored", cause=error) from error


_WRITERS: Final[dict[type, Any]] = {
    int: _int, str: _text, bytes: lambda value: f"x'{value.hex()}'", float: _float, Many: _many, Listed: _listed,
    type(None): lambda _: "NULL",
}


class Statement:
    """A statement with the places of its values."""

    __slots__ = ("_by_token", "_numbered", "_order", "_parts", "_rows", "by_n")

    def __init__(self, text: str) -> None:
        """Find the places: `?`, or `?1`, `?2` where one is used twice."""
        self._parts = tuple(_VALUE.split(text)[::2])
        numbers = _VALUE.findall(text)
        self._order = tuple(int(number) - 1 if number else place for place, number in enumerate(numbers))
        self._numbered = any(numbers)
        by_n = _BY_N.search(text)
        self.by_n = by_n is not None and self._order[-1] == max(self._order) and self._order.count(self._order[-1]) == 1
        found = _VALUES.fullmatch(text)
        by_token = _BY_TOKEN.fullmatch(text)
        self._by_token = (Statement(by_token[1]), by_token[2]) if by_token is not None else None
        whole = found is not None and "?" not in found[3]
        self._rows = (found[1], Statement(found[2]), found[3]) if found is not None and whole else None

    def filled(self, values: Sequence[object]) -> str:
        """With values."""
        if len(values) != len(self._order) and not self._numbered:
            raise ValueError(f"{len(values)} values for {len(self._order)} places")
        literals = [literal(value) for value in values]
        parts = self._parts
        return parts[0] + "".join([literals[place] + parts[at] for at, place in enumerate(self._order, 1)])

    def for_rows(self, rows: Sequence[tuple[object, ...]], max_chars: int) -> list[str]:
        """Texts that together do the same as one for each row, in fewer statements where that can be.

        Args:
            rows: values of each row.
            max_chars: of each text, unless one row needs more.
        """
        if self._rows is not None:
            head, values, tail = self._rows
            return [head + chunk + tail for chunk in _chunks([values.filled(row) for row in rows], ",", max_chars)]
        if self.by_n:
            return self._grouped(rows, max_chars)
        if self._by_token is not None:
            return self._of_tokens(*self._by_token, rows)
        return [self.filled(row) for row in rows]

    def _grouped(self, rows: Sequence[tuple[object, ...]], max_chars: int) -> list[str]:
        """Rows that get the same values, and are known by n: one statement."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for row in rows:
            groups.setdefault(row[:-1], []).append(int(str(row[-1])))
        texts: list[str] = []
        for values, found in groups.items():
            if len(found) == 1:
                texts.append(self.filled((*values, found[0])))
                continue
            filled = self.filled((*values, 0)).removesuffix("n = 0")
            numbers = [str(n) for n in sorted(found)]
            texts += [f"{filled}n IN ({chunk})" for chunk in _chunks(numbers, ",", max_chars)]
        return texts


    @staticmethod
    def _of_tokens(head: Statement, tail: str, rows: Sequence[tuple[object, ...]]) -> list[str]:
        """Runs that get the same values: found by n, and each compared whole."""
        groups: dict[tuple[object, ...], list[tuple[object, ...]]] = {}
        for row in rows:
            groups.setdefault(row[:-_TOKEN], []).append(row[-_TOKEN:])
        return [
            f"{head.filled(values)}n IN {literal(Many(run[0] for run in found))} AND (n, id, epoch, seq, session) IN "
            f"{literal(Many(Many(run) for run in found))}{tail}" for values, found in groups.items()]


def _chunks(texts: Sequence[str], glue: str, max_chars: int) -> list[str]:
    """Joined, in as few as fit."""
    found: list[str] = []
    begin = chars = 0
    for place, text in enumerate(texts):
        if chars and chars + len(text) > max_chars:
            found.append(glue.join(texts[begin:place]))
            begin, chars = place, 0
        chars += len(text) + len(glue)
    found.append(glue.join(texts[begin:]))
    return found


def joined(texts: Sequence[str], max_chars: int) -> list[str]:
    """Statements that go together in one message each."""
    return _chunks(texts, ";", max_chars) if texts else []


@lru_cache(maxsize=1024)
def statement(text: str) -> Statement:
    """Read once."""
    return Statement(text)

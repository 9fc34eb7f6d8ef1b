"""Arrays for PostgreSQL, packed here: psycopg's own way costs microseconds for each value."""

from __future__ import annotations

import re
import struct
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from psycopg.adapt import Dumper
from psycopg.pq import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

_CAST: Final = re.compile(r"\$(\d+)::(\w+)(?: precision)?\[\]")
_HEADER: Final = struct.Struct(">iiIii")  # dimensions, whether one is null, the values' type, how many, the first index
_LENGTH: Final = struct.Struct(">i")
_NULL: Final = _LENGTH.pack(-1)
_INT: Final = struct.Struct(">iq")
_FLOAT: Final = struct.Struct(">id")


class Array:
    """Values of one type, None among them."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[Any]) -> None:
        """Keep the values."""
        self.values = values


class Ints(Array):
    """bigint[]."""

    __slots__ = ()


class Floats(Array):
    """double precision[]."""

    __slots__ = ()


class Texts(Array):
    """text[]."""

    __slots__ = ()


class Blobs(Array):
    """bytea[]."""

    __slots__ = ()


def array(values: Sequence[Any]) -> Array:
    """Numbers or texts, by the first; where there is none, a statement's cast makes of it what it needs."""
    return Texts(values) if values and isinstance(values[0], str) else Ints(values)


class _ArrayDumper(Dumper):
    format = Format.BINARY
    element: ClassVar[int]

    @staticmethod
    def pack(value: Any) -> bytes:
        """One value, its length before it."""
        raise NotImplementedError

    def dump(self, obj: Array) -> bytes:
        """PostgreSQL's binary form."""
        values, pack = obj.values, self.pack
        if not values:
            return _HEADER.pack(0, 0, self.element, 0, 0)[:12]
        nulls = None in values
        packed = [_NULL if value is None else pack(value) for value in values] if nulls else [*map(pack, values)]
        return b"".join([_HEADER.pack(1, nulls, self.element, len(values), 1), *packed])


class IntsDumper(_ArrayDumper):
    """Of Ints."""

    oid = 1016
    element = 20

    @staticmethod
    def pack(value: int) -> bytes:
        """One value, its length before it."""
        return _INT.pack(8, value)


class FloatsDumper(_ArrayDumper):
    """Of Floats."""

    oid = 1022
    element = 701

    @staticmethod
    def pack(value: float) -> bytes:
        """One value, its length before it."""
        return _FLOAT.pack(8, value)


class TextsDumper(_ArrayDumper):
    """Of Texts."""

    oid = 1009
    element = 25

    @staticmethod
    def pack(value: str) -> bytes:
        """One value, its length before it."""
        data = value.encode()
        return _LENGTH.pack(len(data)) + data


class BlobsDumper(_ArrayDumper):
    """Of Blobs."""

    oid = 1001
    element = 17

    @staticmethod
    def pack(value: bytes) -> bytes:
        """One value, its length before it."""
        return _LENGTH.pack(len(value)) + value


DUMPERS: Final = ((Ints, IntsDumper), (Floats, FloatsDumper), (Texts, TextsDumper), (Blobs, BlobsDumper))
KINDS: Final[dict[str, type[Array]]] = {
    "bigint": Ints, "smallint": Ints, "integer": Ints, "text": Texts, "bytea": Blobs, "double": Floats,
}
"""By what a statement casts an array to."""


@cache
def kinds(statement: str) -> tuple[type[Array], ...]:
    """What the statement casts its arrays to, in the order of its values."""
    found = {int(number): KINDS[kind] for number, kind in _CAST.findall(statement)}
    return tuple(found[number] for number in sorted(found))


def columns(statement: str, rows: Sequence[tuple[object, ...]]) -> list[Array]:
    """Rows as one array for each column."""
    return [kind(column) for kind, column in zip(kinds(statement), zip(*rows, strict=True), strict=True)]

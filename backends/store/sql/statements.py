"""SQL lives in .sql files: in `common/` what the dialects agree on, in a dialect's folder what it says otherwise.

Each statement stands under a `-- name: <name>` line and is known as `<file>.<name>`. Values are `?`, or `?1`, `?2`
where one is used twice. `{word}` or `{word argument}` is what the dialect's `macro` makes of it:

- `{by INDEX}` names the index to use, `{scan}` the table itself; `{ints ?}` and `{texts ?}` are membership in an array;
  `{any COLUMN ?1}` holds where the value is null, or the column's.
- `{lock}` locks rows for whoever changes them, `{lock n}` in the order of n, `{lock skip}` leaves out what is locked;
  `{lock own}` is weaker: it goes with `{lock key}`, which only keeps them from being locked by `{lock}`.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from callboard.core.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from importlib.resources.abc import Traversable

PREFIX: Final = "callboard_"
"""What the tables' names begin with, unless the options say otherwise."""

_MARK: Final = "-- name: "
_MACRO: Final = re.compile(r"\{(\w+)(?: ([^{}]*))?\}")
_PREFIX: Final = re.compile(r"[a-z_][a-z0-9_]{0,30}_")
_FOLDER: Final = files(__package__ or "")


def checked_prefix(prefix: str) -> str:
    """The prefix, which goes into statements as it is.

    Raises:
        InvalidArgument: Raised when it is not lower case letters, digits and underscores, with one at its end.
    """
    if not _PREFIX.fullmatch(prefix):
        raise InvalidArgument(f"{prefix!r} can't begin the names of tables: use up to 31 of a-z, 0-9 and _, with no "
                              "digit at the beginning, and one _ at the end")
    return prefix


@cache
def load(
    dialect: str, macros: Callable[[str, str], str], finish: Callable[[str], str] = str, prefix: str = PREFIX
) -> Mapping[str, str]:
    """All statements of a dialect by name, the common ones among them.

    Args:
        dialect: its folder.
        macros: what a macro's word and argument become; the argument may be empty.
        finish: turns each statement's values into the driver's way.
        prefix: what the tables' names begin with.
    """
    found: dict[str, str] = {}
    for folder in ("common", dialect):
        for file in _FOLDER.joinpath(folder).iterdir():
            if file.name.endswith(".sql"):
                found.update(_read(file))
    checked_prefix(prefix)
    def fill(text: str) -> str:
        return _MACRO.sub(lambda macro: macros(macro[1], macro[2] or ""), text)

    return {name: finish(fill(text).replace(PREFIX, prefix)) for name, text in found.items()}


def _read(file: Traversable) -> Iterator[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith(_MARK):
            lines = found.setdefault(f"{file.name.removesuffix('.sql')}.{line[len(_MARK) :].strip()}", [])
        elif line.strip() and not line.startswith("--"):
            lines.append(line)
    return ((name, "\n".join(body).rstrip(";")) for name, body in found.items())

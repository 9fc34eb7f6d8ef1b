"""What commands print: tables, JSON, and texts that a terminal may be given."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from callboard.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CELL_MAX: Final = 60
"""Characters of a cell; longer ones are cut."""
_COLOURS: Final = {
    "healthy": "green", "warning": "yellow", "critical": "red", "error": "red", "ok": "green", "note": "cyan",
    "failed": "red", "paused": "yellow", "draining": "yellow", "debug": "bright_black",
}


def lines(text: str) -> str:
    """As printable, but lines stay lines."""
    return "\n".join(printable(line.expandtabs(4)) for line in text.split("\n"))


def coloured(text: str, meaning: str | None = None) -> str:
    """Text in the colour of its meaning; click takes the colour away where there is no terminal."""
    colour = _COLOURS.get(text if meaning is None else meaning)
    return click.style(text, fg=colour) if colour else text


def say(text: str = "") -> None:
    """A line on standard output."""
    click.echo(text)


def hint(text: str) -> None:
    """A line for a person, on standard error: it disturbs nobody who reads the output."""
    click.echo(text, err=True)


def say_json(value: Any) -> None:
    """One line of JSON, or an indented text for a terminal."""
    click.echo(json.dumps(value, default=str, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Columns under their names; those in `right` are numbers."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells)) if cells else len(name) for i, name in enumerate(head)]

    def line(row: Sequence[str]) -> str:
        padded = [text.rjust(width) if name in right else text.ljust(width)
                  for name, text, width in zip(head, row, widths, strict=True)]
        return "  ".join(padded).rstrip()

    say(click.style(line(head), bold=True))
    for row in cells:
        say(_colour_words(line(row)))


def ago(now_ms: int, then_ms: int | None) -> str:
    """How long ago an instant was, in one unit."""
    if then_ms is None:
        return ""
    seconds = max(0, now_ms - then_ms) / 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def instant(ms: int | None) -> str:
    """An instant as ISO 8601 in UTC, to the second."""
    if ms is None:
        return ""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):  # an instant that no calendar has
        return f"{ms} ms"


def moment(ms: int) -> str:
    """An instant as ISO 8601 in UTC, to the millisecond."""
    second = instant(ms)
    return f"{second[:-1]}.{ms % 1000:03}Z" if second.endswith("Z") else second


def count(number: int, thing: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = printable("" if value is None else value)
    return text if len(text) <= CELL_MAX else text[: CELL_MAX - 1] + "…"


def _colour_words(text: str) -> str:
    for word in ("paused", "draining"):
        if text.endswith(word):
            return text.removesuffix(word) + coloured(word)
    return text

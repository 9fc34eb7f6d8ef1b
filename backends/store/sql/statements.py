"""SQL lives in .sql files beside this module; each statement stands under a `-- name: <name>` line."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARK: Final = "-- name: "
_PACKAGE: Final = "callboard.backends.store.sql"


def load(*names: str) -> Mapping[str, str]:
    """The statements of these files by name."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    texts = [files(_PACKAGE).joinpath(name).read_text(encoding="utf-8") for name in names]
    for line in "\n".join(texts).splitlines():
        if line.startswith(_MARK):
            lines = found.setdefault(line[len(_MARK) :].strip(), [])
        elif line.strip() and not line.startswith("--"):
            lines.append(line)
    return {name: "\n".join(body).rstrip(";") for name, body in found.items()}

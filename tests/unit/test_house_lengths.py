"""No function over 50 lines, no file over 400: docstrings and comments count."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest
from kit import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FUNCTION_LINES_MAX = 50
FILE_LINES_MAX = 400
NOT_OURS = ("build", "dist")


def too_long(source: str) -> list[str]:
    """What in the source is over a bound."""
    found = []
    lines = source.count("\n") + (not source.endswith("\n"))
    if lines > FILE_LINES_MAX:
        found.append(f"{lines} lines (at most {FILE_LINES_MAX})")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                found.append(f"{node.lineno}: {node.name} has {length} lines (at most {FUNCTION_LINES_MAX})")
    return found


def our_files() -> Iterator[Path]:
    """All Python files of the repository."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        if parts[0] not in NOT_OURS and not any(part.startswith(".") for part in parts):
            yield path


def test_all_files_and_functions_are_short() -> None:
    files = list(our_files())
    assert len(files) > 20  # it looks where the code is
    found = [f"{path.relative_to(ROOT)}:{what}" for path in files for what in too_long(path.read_text())]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("lines", "found"),
    [(50, []), (51, ["1: f has 51 lines (at most 50)"])],
)
def test_a_long_function_is_found(lines: int, found: list[str]) -> None:
    assert too_long("async def f():\n" + "    x = 1\n" * (lines - 1)) == found


@pytest.mark.parametrize(("lines", "found"), [(400, []), (401, ["401 lines (at most 400)"])])
def test_a_long_file_is_found(lines: int, found: list[str]) -> None:
    assert too_long("x = 1\n" * lines) == found

"""core/, actors/ and backends/ import nothing of bootstrap/, which is `callboard` itself."""

from __future__ import annotations

import ast

import pytest
from kit import ROOT

PARTS = {"core", "actors", "backends"}


def strangers(source: str) -> list[str]:
    """Imports from callboard that come from none of PARTS."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                modules = [n.name for n in names]
            case ast.ImportFrom(module="callboard", names=names):
                modules = [f"callboard.{n.name}" for n in names]
            case ast.ImportFrom(module=str(module), level=0):
                modules = [module]
            case _:
                continue
        for module in modules:
            package, _, inner = module.partition(".")
            if package == "callboard" and inner.partition(".")[0] not in PARTS:
                found.append(f"{node.lineno}: imports {module}")
    return found


@pytest.mark.parametrize("part", sorted(PARTS))
def test_no_part_imports_bootstrap(part: str) -> None:
    files = sorted((ROOT / part).rglob("*.py"))
    assert files
    found = [f"{path.relative_to(ROOT)}:{what}" for path in files for what in strangers(path.read_text())]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import callboard", ["1: imports callboard"]),
        ("from callboard import Job, core", ["1: imports callboard.Job"]),
        ("def f():\n    from callboard.settings import Settings", ["2: imports callboard.settings"]),
        ("import callboard.cli.main", ["1: imports callboard.cli.main"]),
        ("from callboard.core.records import Token\nimport callboard.backends.clock, os\nfrom . import x", []),
    ],
)
def test_an_import_of_bootstrap_is_found(source: str, found: list[str]) -> None:
    assert strangers(source) == found

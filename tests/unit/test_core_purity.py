"""core/ takes values and returns values: it imports nothing that does I/O, waits, reads a clock or draws lots."""

from __future__ import annotations

import ast

import pytest
from kit import ROOT

# What core may import. Add a module only if it touches nothing outside its arguments.
PURE = {
    "__future__",
    "abc",
    "bisect",
    "callboard",  # which parts of it: import-linter's contract
    "collections",
    "contextvars",  # the running job's context, for `self.context`
    "copy",
    "cronsim",  # next times of a cron line, from a given time
    "dataclasses",
    "datetime",  # its values; its clock is found below
    "difflib",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "inspect",
    "itertools",
    "json",
    "math",
    "msgpack",
    "msgspec",
    "operator",
    "re",
    "statistics",
    "string",
    "struct",
    "textwrap",
    "traceback",  # to text, of a given exception
    "types",
    "typing",
    "unicodedata",
    "zoneinfo",  # reads the time zone's rules, which change with releases, not with time
}
IMPURE_BUILTINS = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}
CLOCKS = {"now", "utcnow", "today"}
CLOCK_OWNERS = {"datetime", "date"}


def impurities(source: str) -> list[str]:
    """What in the source reaches outside of its arguments."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [f"{node.lineno}: imports {n.name}" for n in names if n.name.partition(".")[0] not in PURE]
            case ast.ImportFrom(module=module) if (module or "").partition(".")[0] not in PURE:
                found.append(f"{node.lineno}: imports {module or '.'}")
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_BUILTINS:
                found.append(f"{node.lineno}: calls {name}")
            case ast.Attribute(attr=name, value=ast.Name(id=owner) | ast.Attribute(attr=owner)):
                if name in CLOCKS and owner in CLOCK_OWNERS:
                    found.append(f"{node.lineno}: reads a clock, {owner}.{name}")
    return found


def test_core_is_pure() -> None:
    files = sorted((ROOT / "core").rglob("*.py"))
    assert len(files) > 10  # it looks where the code is
    found = [f"{path.relative_to(ROOT)}:{what}" for path in files for what in impurities(path.read_text())]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time", ["1: imports time"]),
        ("import os.path", ["1: imports os.path"]),
        ("def f():\n    from random import random", ["2: imports random"]),
        ("import re, socket, threading", ["1: imports socket", "1: imports threading"]),
        ("from . import records", ["1: imports ."]),
        ("open('jobs.db')", ["1: calls open"]),
        ("then = datetime.now(UTC)", ["1: reads a clock, datetime.now"]),
        ("read = datetime.datetime.utcnow", ["1: reads a clock, datetime.utcnow"]),
        ("from datetime import timedelta\nx = clock.now()", []),
    ],
)
def test_an_impurity_is_found(source: str, found: list[str]) -> None:
    assert impurities(source) == found

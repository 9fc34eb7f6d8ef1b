"""The catalogue of events and the code say the same."""

from __future__ import annotations

import ast

import pytest
from kit import ROOT

from callboard.core.events import EVENTS, level_of

FOLDERS = ("actors", "bootstrap", "backends")
PREFIXES = tuple(sorted({name.partition(".")[0] + "." for name in EVENTS}))


def strings_in_code():
    found = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return found


def emitted():
    """First string that is given to a call of something named emit, or ChildNote's event."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "emit":
                    for argument in node.args[:2]:
                        if isinstance(argument, ast.Constant) and "." in str(argument.value):
                            yield path, argument.value


def test_every_event_that_is_emitted_stands_in_the_catalogue():
    unknown = {(path.name, event) for path, event in emitted() if event not in EVENTS}
    assert not unknown


def test_every_event_of_the_catalogue_is_emitted_somewhere():
    assert set(EVENTS) <= strings_in_code()


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_an_event_has_a_level_and_a_meaning(event):
    assert level_of(event) in ("debug", "info", "warning", "error", "critical")
    assert len(EVENTS[event].meaning) > 10


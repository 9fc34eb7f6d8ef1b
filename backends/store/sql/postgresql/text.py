"""Statements that are ours, for a driver that wants to see them as literals."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing import LiteralString


def ours(statement: str) -> LiteralString:
    """A statement from our files, or of checked names: nothing in it came from outside."""
    return cast("LiteralString", statement)  # type: ignore[redundant-cast]  # mypy takes both for one, pyright does not

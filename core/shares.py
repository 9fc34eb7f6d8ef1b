"""Each node's share of a number of slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def shares(total: int, nodes: Iterable[str]) -> dict[str, int]:
    """Divide `total` slots among nodes as evenly as it goes; the first by name get the remainder, one each."""
    names = sorted(set(nodes))
    each, more = divmod(total, len(names)) if names else (0, 0)
    return {name: each + (number < more) for number, name in enumerate(names)}

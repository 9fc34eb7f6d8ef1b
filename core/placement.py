"""Which child gets which waiting job.

Jobs go in order. Each goes to a free slot, else behind the child with the least expected work ahead, if that is at most
about 10 ms; so a batch never starves behind a long job. A careful job goes to a free slot, and nothing waits behind it
in that child. A job that lost a node or a neighbour before goes to an empty child and has it for itself.
Where the first job of the line finds no place the others wait too: what holds it back (no child has room) holds them
back as well, and a job that waits for an empty child would otherwise wait for ever.
"""

from __future__ import annotations

import heapq
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from callboard.core.prefetch import AHEAD_MAX_S, HELD_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

UNKNOWN: Final = float("inf")
"""Expected seconds of a job whose name never ran here."""

_FREE: Final = -1.0


class Need(IntEnum):
    """What a job needs of its child."""

    ROOM = 0  # it may wait behind others
    SLOT = 1  # it starts at once, and nothing waits behind it
    CHILD = 2  # it has its child for itself


class ChildLoad(NamedTuple):
    """A child that takes jobs.

    Attributes:
        slots: jobs that it runs side by side.
        held: jobs that it has, running and waiting.
        ahead_s: expected seconds of work that it has, for each slot.
    """

    slots: int
    held: int
    ahead_s: float


def place(
    line: Iterable[tuple[float, Need]], children: Sequence[ChildLoad], ahead_max_s: float = AHEAD_MAX_S,
) -> list[int]:
    """Positions of the children that get the first jobs of the line, in the line's order; those behind wait.

    Args:
        line: for each job the seconds that it is expected to take (UNKNOWN where its name never ran here), and what it
            needs of its child.
        children: those that take jobs now; a child that a job has for itself is not among them.
        ahead_max_s: expected work that may be ahead of a job in a child without a free slot.
    """
    heap = [(_key(load.slots, load.held, load.ahead_s), load.held, position)
            for position, load in enumerate(children) if load.slots > 0]
    ahead = [load.ahead_s for load in children]
    heapq.heapify(heap)
    placed: list[int] = []
    for expected_s, need in line:
        while heap and heap[0][1] >= HELD_MAX:
            heapq.heappop(heap)
        if not heap:
            break
        key, held, position = heap[0]
        if need == Need.CHILD:
            empty = next((entry for entry in heap if entry[1] == 0), None)
            if empty is None:
                break
            heap.remove(empty)
            heapq.heapify(heap)
            placed.append(empty[2])
            continue
        if key > (_FREE if need else ahead_max_s):
            break
        slots = children[position].slots
        ahead[position] += UNKNOWN if need else expected_s / slots
        heapq.heapreplace(heap, (_key(slots, held + 1, ahead[position]), held + 1, position))
        placed.append(position)
    return placed


def _key(slots: int, held: int, ahead_s: float) -> float:
    """What children are ordered by: those with a free slot first."""
    return _FREE if held < slots else ahead_s

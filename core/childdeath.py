"""What became of the jobs of a child that died, by the state that each had reached in the shared memory."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from callboard.core.runs import EndKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet


class SlotState(IntEnum):
    """How far a job in a child has come: one byte of shared memory. Written by the child; COLLECTED by the node."""

    QUEUED = 0
    STARTED = 1
    COMPLETED = 2  # it simply completed: nothing more is to be said of it
    REPORTED = 3  # its end was sent before this was written
    COLLECTED = 4


class Fates(NamedTuple):
    """What became of them.

    Attributes:
        completed: indices that had completed.
        ended: indices that ran, and how that ended.
        waiting: indices that never started, in order: to be given to another child.
    """

    completed: tuple[int, ...]
    ended: tuple[tuple[int, EndKind], ...]
    waiting: tuple[int, ...]


def fates(
    states: Mapping[int, int],
    *,
    overran: AbstractSet[int] = frozenset(),
    cancelled: AbstractSet[int] = frozenset(),
    interrupted: bool = False,
) -> Fates:
    """Decide what became of the jobs whose ends have not been heard of.

    Args:
        states: index to SlotState, as read after the child's death; in order.
        overran: those for whose overrun the child was killed.
        cancelled: those for whose cancelling it was killed.
        interrupted: it was killed at the deadline of a stop.
    """
    completed = tuple(index for index, state in states.items() if state == SlotState.COMPLETED)
    # A byte that is no state at all counts as started too: whatever user code wrote there, each job ends.
    running = [index for index, state in states.items() if state not in (SlotState.QUEUED, SlotState.COMPLETED)]
    own = EndKind.CHILD_DIED if len(running) == 1 else EndKind.NEIGHBOUR_DIED
    if interrupted:
        own = EndKind.INTERRUPTED
    elif overran or cancelled:
        own = EndKind.NEIGHBOUR_DIED  # killed for another's sake, and however few of them were left
    ended = tuple(
        (index, EndKind.CANCELLED if index in cancelled else EndKind.TIMED_OUT if index in overran else own)
        for index in running
    )
    waiting = tuple(index for index, state in states.items() if state == SlotState.QUEUED)
    return Fates(completed, ended, waiting)

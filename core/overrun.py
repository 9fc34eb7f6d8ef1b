"""When a running job has had its time: first TimeLimitExceeded is raised in it, then it is stopped hard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Run:
    """A job that runs in a child now.

    Attributes:
        index: the child's number of it.
        started_s: instant of CLOCK_BOOTTIME.
        timeout_s: its time limit.
    """

    index: int
    started_s: float
    timeout_s: float


class Overruns(NamedTuple):
    """What is due.

    Attributes:
        soft: indices to raise TimeLimitExceeded in.
        hard: indices whose grace has passed too.
        next_s: the instant to look again; None: nothing runs.
    """

    soft: tuple[int, ...]
    hard: tuple[int, ...]
    next_s: float | None


def overruns(runs: Iterable[Run], warned: Mapping[int, float], now_s: float, grace_s: float) -> Overruns:
    """Decide for the runs of one child.

    Args:
        runs: what runs.
        warned: index to the instant at which the soft limit was given to it.
        now_s: the instant now.
        grace_s: how long a run may go on after the soft limit; 0: it is stopped hard at once.
    """
    soft: list[int] = []
    hard: list[int] = []
    next_s: float | None = None
    for run in runs:
        warned_s = warned.get(run.index)
        due_s = run.started_s + run.timeout_s if warned_s is None else warned_s + grace_s
        if due_s <= now_s:
            if warned_s is None and grace_s > 0:
                soft.append(run.index)
                due_s = now_s + grace_s
            else:
                hard.append(run.index)
                continue
        next_s = due_s if next_s is None else min(next_s, due_s)
    return Overruns(tuple(soft), tuple(hard), next_s)

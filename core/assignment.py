"""The leader's decision: how many ready jobs of which queue go to which session's pool.

Pools that serve the same queues with the same weights form a group. For each group it is decided how many jobs it
gets (evenly by level, which is held / slots), which queues they come from (by weight) and which pools they go to
(evenly again); all by counts, so that the cost is that of the pools and queues, and next to nothing a job.

Rules, shown by tests/unit/test_core_assignment.py:
- never more than a pool's capacity less what it holds, never more of a queue than is ready, never more than
  `max_batch` in all; sessions that drain or isolate get nothing;
- while a free slot serves a queue with ready jobs, something is assigned, unless `max_batch` is used up or the
  session is being emptied for an isolated job (core/isolation.py);
- idle slots of a group's pools are filled before any of them prefetches; between groups the steps of `_STEPS` hold;
- a group's queues get their weights' shares over time, whatever the size of a round; a queue that has nothing ready
  gives its share away and does not save it up.
Priority within a queue is the store's: it takes the first jobs by rank.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Final

from callboard.core.isolation import Turns, isolate
from callboard.core.records import Assignment, Plan, QueueShare
from callboard.core.waterfill import fill

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from callboard.core.records import PoolView, SessionId, Survey

Shares = tuple[QueueShare, ...]

_STEPS: Final = (0.25, 0.5, 0.75, 1.0, 2.0, 4.0, float("inf"))
"""Where groups compete, all are filled up to one of these levels before any goes on to the next."""


@dataclass(frozen=True, slots=True)
class Credits:
    """What the decision remembers between rounds; a new leader starts with an empty one.

    Attributes:
        round: rounds so far: rotates who is first where all else is equal.
        ahead: by a group's queues: how far each is ahead of its share, in jobs by weight, 0 or more.
        turns: isolation's own memory.
    """

    round: int = 0
    ahead: Mapping[Shares, tuple[float, ...]] = field(default_factory=dict[Shares, tuple[float, ...]])
    turns: Turns = field(default_factory=Turns)


class _Group:
    """Pools that serve the same queues with the same weights, and what they get in this round."""

    __slots__ = ("free", "given", "levels", "pools", "queues", "rates", "sessions", "total")

    def __init__(self, shares: Shares, ahead: tuple[float, ...] | None) -> None:
        weights = {share.queue: max(1, share.weight) for share in shares}
        self.queues = list(weights)
        self.rates = list(weights.values())
        self.levels = list(ahead) if ahead is not None else [0.0] * len(weights)
        self.given = [0] * len(weights)
        self.sessions: list[SessionId] = []  # beside `pools`: a list of pairs would double the cost of the scan
        self.pools: list[PoolView] = []
        self.free = 0
        self.total = 0

    def demand(self, level: float, budget: int) -> int:
        """Jobs still missing to raise every pool to this level, at most what is free and what the budget allows."""
        wanted = -self.total
        if level == float("inf"):
            return min(budget, wanted + self.free)
        for pool in self.pools:
            report = pool.report
            missing = min(report.capacity, ceil(level * report.slots)) - pool.held
            if missing > 0:
                wanted += missing
                if wanted >= budget:
                    return budget
        return wanted

    def draw(self, amount: int, ready: dict[str, int]) -> int:
        """Take up to `amount` jobs from the queues by weight; how many there were."""
        limits = [ready.get(queue, 0) for queue in self.queues]
        counts = fill(amount, self.rates, self.levels, limits)
        for index, count in enumerate(counts):
            if count:
                self.given[index] += count
                self.levels[index] += count / self.rates[index]
                ready[self.queues[index]] -= count
        drawn = sum(counts)
        self.total += drawn
        return drawn

    def ahead(self, ready: Mapping[str, int]) -> tuple[float, ...]:
        """How far each queue is ahead of the one that waits longest: who has nothing ready saves nothing up."""
        floor = min((level for level, queue in zip(self.levels, self.queues, strict=True) if ready.get(queue, 0) > 0),
                    default=float("inf"))
        return tuple(max(0.0, level - floor) for level in self.levels)

    def deal(self, turn: int) -> Iterable[Assignment]:
        """Hand what was drawn to the pools: evenly, and each pool's jobs mixed from the queues."""
        start = turn % len(self.pools)
        pools = self.pools[start:] + self.pools[:start]
        sessions = self.sessions[start:] + self.sessions[:start]
        slots = [max(1, pool.report.slots) for pool in pools]
        levels = [pool.held / rate for pool, rate in zip(pools, slots, strict=True)]
        counts = fill(self.total, slots, levels, [pool.report.capacity - pool.held for pool in pools])
        drawn = [(index, count) for index, count in enumerate(self.given) if count]
        mixed: list[int] = []
        if len(drawn) > 1:
            spread = sorted(((job + 0.5) / count, index) for index, count in drawn for job in range(count))
            mixed = [index for _, index in spread]
        done = 0
        for session, pool, count in zip(sessions, pools, counts, strict=True):
            if not count:
                continue
            if not mixed:
                yield Assignment(session, pool.report.name, self.queues[drawn[0][0]], count)
                continue
            for index, part in Counter(mixed[done : done + count]).items():
                yield Assignment(session, pool.report.name, self.queues[index], part)
            done += count


def plan(survey: Survey, credits: Credits, *, max_batch: int) -> tuple[Plan, Credits]:  # noqa: A002 - WRR's own word
    """Decide one round.

    Args:
        survey: sessions, what they hold, and what is ready.
        credits: what the round before returned; `Credits()` in a new term.
        max_batch: jobs to assign at most in this round, 1 or more.

    Returns:
        The plan for the store, and the credits for the next round. The same values give the same plan.
    """
    isolation = isolate(survey, credits.turns)
    ready = {queue: count for queue, count in survey.ready.items() if count > 0}
    groups = _groups(survey, isolation.closed, credits.ahead)
    active = [group for group in groups.values() if group.pools and any(queue in ready for queue in group.queues)]
    start = credits.round % len(active) if active else 0
    order = active[start:] + active[:start]
    _share_out(order, ready, max(0, max_batch - len(isolation.assignments)))
    assignments = tuple(part for group in order if group.total for part in group.deal(credits.round))
    ahead = {shares: group.ahead(ready) for shares, group in groups.items()}
    return Plan(assignments, isolation.assignments), Credits(credits.round + 1, ahead, isolation.turns)


def _groups(
    survey: Survey, closed: frozenset[SessionId], ahead: Mapping[Shares, tuple[float, ...]]
) -> dict[Shares, _Group]:
    """All pools by what they serve; only those that may get something count as free."""
    groups: dict[Shares, _Group] = {}
    known: dict[int, _Group] = {}  # by identity of the tuple, which is cheaper to look up than a long tuple's hash
    for view in survey.sessions:
        is_open = view.session not in closed
        for pool in view.pools:
            report = pool.report
            group = known.get(id(report.queues))
            if group is None:
                group = groups.get(report.queues)
                if group is None:
                    group = groups[report.queues] = _Group(report.queues, ahead.get(report.queues))
                known[id(report.queues)] = group
            free = report.capacity - pool.held
            if is_open and free > 0:
                group.sessions.append(view.session)
                group.pools.append(pool)
                group.free += free
    return groups


def _share_out(order: list[_Group], ready: dict[str, int], budget: int) -> None:
    """Give each group its number of jobs; `ready` is left with what remains of each queue."""
    steps = _STEPS if _compete(order, ready, budget) else _STEPS[-1:]
    for level in steps:
        for group in order:
            amount = group.demand(level, budget)
            if amount > 0:
                budget -= group.draw(amount, ready)
            if not budget:
                return


def _compete(order: list[_Group], ready: Mapping[str, int], budget: int) -> bool:
    """Whether one group's jobs may be missing to another: they share a queue, or the budget is short for all."""
    if len(order) < 2:  # noqa: PLR2004 - it takes two
        return False
    served = Counter(queue for group in order for queue in group.queues if queue in ready)
    return sum(group.free for group in order) > budget or max(served.values()) > 1

"""Sharing out a number of jobs so that the fullest never gets ahead of the emptiest: by counts, not job by job."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def fill(amount: int, rates: Sequence[int], levels: Sequence[float], limits: Sequence[int]) -> list[int]:
    """Share `amount` among vessels so that their levels end as even as whole numbers allow.

    One unit raises a vessel's level by 1 / rate, so a pool is a vessel with slots as its rate and held / slots as its
    level, and a queue is one with its weight as its rate and what it had so far / weight as its level.

    Args:
        amount: units to share, 0 or more.
        rates: size of each vessel, 1 or more.
        levels: how full each is now.
        limits: units that each can still take, 0 or more.

    Returns:
        Units for each vessel: in all `amount`, or the sum of the limits where that is less. A vessel that got one had,
        before its last unit, no higher level than a vessel with room left has after it (within one unit of either).
        Ties go to the first.
    """
    if amount >= sum(limits):
        return list(limits)
    water = _water_level(amount, rates, levels, limits)
    shares: list[int] = []
    left = amount
    for rate, level, limit in zip(rates, levels, limits, strict=True):
        share = min(limit, left, int((water - level) * rate)) if water > level else 0
        shares.append(share)
        left -= share
    if left:
        _top_up(left, shares, rates, levels, limits)
    return shares


def _water_level(amount: int, rates: Sequence[int], levels: Sequence[float], limits: Sequence[int]) -> float:
    """The level at which `amount` would stand if units could be split. The limits' sum is more than the amount."""
    changes = [(level, rate) for level, rate in zip(levels, rates, strict=True)]
    changes += [(level + limit / rate, -rate) for level, rate, limit in zip(levels, rates, limits, strict=True)]
    changes.sort()
    poured, width, water = 0.0, 0, changes[0][0]
    for level, change in changes:
        rise = width * (level - water)
        if poured + rise >= amount:
            break
        poured += rise
        water = level
        width += change
    return water + (amount - poured) / width if width else water


def _top_up(left: int, shares: list[int], rates: Sequence[int], levels: Sequence[float], limits: Sequence[int]) -> None:
    """Give the units that the split left over, one by one, to whoever stands lowest."""
    heap = [
        (level + share / rate, index)
        for index, (rate, level, limit, share) in enumerate(zip(rates, levels, limits, shares, strict=True))
        if share < limit
    ]
    heapq.heapify(heap)
    for _ in range(left):
        _, index = heap[0]
        shares[index] += 1
        if shares[index] < limits[index]:
            heapq.heapreplace(heap, (levels[index] + shares[index] / rates[index], index))
        else:
            heapq.heappop(heap)

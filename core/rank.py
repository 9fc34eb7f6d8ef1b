"""The order of ready jobs within a queue: the lowest rank goes first, among equals the one pushed first."""

from __future__ import annotations

from typing import Final

AGING_STRICT_S: Final = 100 * 365 * 86_400.0
"""Aging that no job lives to see: strict priority."""


def rank(priority: int, due_ms: int, aging_s: float = AGING_STRICT_S) -> int:
    """The rank of a job; it never changes while the job waits, so an index keeps the order.

    Args:
        priority: -100 to 100; higher goes first.
        due_ms: when it was or will be due.
        aging_s: seconds of waiting that make up for one step of priority; 0 is first come, first served.
    """
    return due_ms - priority * round(aging_s * 1000)

"""Restart intensity: how often a part may be restarted before its Supervisor gives up and the node exits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Intensity:
    """At most `max_restarts` within any `window_s` seconds; one more is too many."""

    max_restarts: int = 5
    window_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """When the last restarts of one part were, on the boot clock; never more than max_restarts of them."""

    at_s: tuple[float, ...] = ()


def restart(restarts: Restarts, intensity: Intensity, now_s: float) -> tuple[Restarts, bool]:
    """A part died at now_s: may it be restarted?

    Returns:
        The history to keep, and True to restart it or False to give up. A restart that is refused is not counted.
    """
    recent = tuple(at_s for at_s in restarts.at_s if at_s > now_s - intensity.window_s)
    if len(recent) >= intensity.max_restarts:
        return Restarts(recent), False
    return Restarts((*recent, now_s)), True

"""How long to wait before the next attempt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from callboard.core.options import DELAY_MAX_S

if TYPE_CHECKING:
    from callboard.core.records import Backoff


def backoff(policy: Backoff, attempt: int, draw: float) -> float:
    """Seconds to wait after an attempt that ended without success.

    `Backoff(60)` is always 60 s; `Backoff(1, factor=2)` is `2 ** (attempt - 1)` seconds.

    Args:
        policy: base, factor, cap and jitter.
        attempt: the one that ended, 1 for the first.
        draw: a random number in [0, 1): with jitter j the delay is drawn from (1 - j) to 1 times its length.

    Returns:
        0 to policy.cap_s, and never more than ten years.
    """
    cap_s = min(policy.cap_s, DELAY_MAX_S)
    if policy.base_s <= 0 or cap_s <= 0:
        return 0.0
    # In logarithms, for factor ** attempt overflows at a few hundred attempts.
    steps, factor = max(attempt - 1, 0), max(policy.factor, 1.0)
    capped = math.log(policy.base_s) + steps * math.log(factor) >= math.log(cap_s)
    delay_s = cap_s if capped else min(policy.base_s * factor**steps, cap_s)
    return delay_s * (1.0 - policy.jitter * draw)

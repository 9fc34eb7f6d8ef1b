"""How long a store keeps what is over."""

from __future__ import annotations

from typing import NamedTuple


class Retention(NamedTuple):
    """Bounds of a store's memory; `sweep` prunes what exceeds one of them, oldest first.

    Attributes:
        finished_max: completed and cancelled rows, in number.
        finished_age_s: the same by age, in seconds since they ended.
        failed_max: rows on the failed list, in number.
        failed_age_s: the same by age, in seconds since they failed.
        ids_age_s: how long the id of a pruned, purged or forgotten job is remembered, in seconds since it ended;
            longer than anyone retries a push.
    """

    finished_max: int = 10_000
    finished_age_s: float = 86_400.0
    failed_max: int = 10_000
    failed_age_s: float = 30 * 86_400.0
    ids_age_s: float = 7 * 86_400.0

"""What a database's errors mean for an act."""

from __future__ import annotations

from callboard.core.errors import StoreUnavailable


class CommitUncertain(StoreUnavailable):
    """Raised when a commit failed in a way that leaves open whether it was done."""


class Clash(StoreUnavailable):
    """Raised when another transaction was in the way (a deadlock, say): nothing was done, trying again helps."""



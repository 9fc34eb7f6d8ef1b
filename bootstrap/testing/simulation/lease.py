"""A cluster backend with one lease: grants terms by its own clock, and can forget what it granted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.records import Term

from .world import Server

if TYPE_CHECKING:
    from .world import World


class Lease(Server):
    """What campaign, renew and resign do when they arrive."""

    def __init__(self, world: World) -> None:
        super().__init__("lease")
        self.world = world
        self.term: Term | None = None
        self.ends_at = 0.0
        self.number = 0
        self.excused: set[int] = set()  # terms that were resigned or forgotten: their leaders may still trust them

    def campaign(self, owner: str, ttl_s: float) -> Term | None:
        if self.in_force() is not None:
            return None
        self.number += 1
        self.term = Term(self.number, owner, ttl_s, f"h{self.number}")
        self.ends_at = self.world.now + ttl_s
        return self.term

    def renew(self, term: Term, ttl_s: float) -> bool:
        if self.in_force() != term:
            return False
        self.ends_at = self.world.now + ttl_s
        return True

    def resign(self, term: Term) -> None:
        self.excused.add(term.number)
        if self.in_force() == term:
            self.term = None

    def in_force(self) -> Term | None:
        return self.term if self.world.now < self.ends_at else None

    def forget(self) -> None:
        """A failover that lost the lease: another may win while the first still trusts its term."""
        if self.term is not None:
            self.excused.add(self.term.number)
        self.term = None

    def keeps(self, term: Term) -> bool:
        """The term is in force, or nobody promised that it is."""
        return term.number in self.excused or self.in_force() == term

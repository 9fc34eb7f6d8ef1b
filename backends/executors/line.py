"""The jobs of a pool that wait outside of its children, and those that a child keeps a slot for.

A doubted job may kill its node as soon as it starts. Its own mark tells then that it had started; but a careful job
beside it, marked and not started yet, would be charged for nothing. So a pool tries doubted jobs one by one: the next
careful job is marked when the one before has ended, or has run for a while.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

from callboard.core.placement import UNKNOWN, Need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from callboard.core.records import TakenJob, Token

SUSPECT_S: Final = 0.2
"""A doubted job that has run for so long is no suspect any more: what kills at once has done it by then."""

Waiting: TypeAlias = "tuple[TakenJob, float, float]"
"""A job for a child, with what it is expected to take and its time limit, in seconds. Made once a job."""


class Kept(dict["Token", Waiting]):
    """Careful jobs that one child has a slot kept free for, until they are admitted.

    Attributes:
        running: careful jobs that it has been given.
        suspect: the doubted job among these and those, while it has not run for a while.
    """

    def __init__(self) -> None:
        """Nothing is kept."""
        super().__init__()
        self.running = 0
        self.suspect: Token | None = None

    def keep(self, waiting: Waiting) -> None:
        """Keep a slot free for it."""
        job = waiting[0]
        self[job.token] = waiting
        if job.doubts:
            self.suspect = job.token

    def admit(self, token: Token) -> Waiting:
        """It is given to the child now. Raises KeyError when nothing is kept for it."""
        self.running += 1
        return self.pop(token)

    def ended(self, job: TakenJob) -> None:
        """A job of the child has ended, or was taken back."""
        if job.careful:
            self.running -= 1
            self.trust(job.token)

    def trust(self, token: Token) -> None:
        """It is no suspect, or no more."""
        if self.suspect == token:
            self.suspect = None


class Line:
    """What waits: the doubted ones apart, as they take turns."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._plain: deque[TakenJob] = deque()
        self._doubted: deque[TakenJob] = deque()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._plain) + len(self._doubted)

    def add(self, job: TakenJob) -> None:
        """At the end."""
        (self._doubted if job.doubts else self._plain).append(job)

    def add_first(self, jobs: Sequence[TakenJob]) -> None:
        """At the head, in their order."""
        for job in reversed(jobs):
            (self._doubted if job.doubts else self._plain).appendleft(job)

    def ready(self, *, suspect: bool) -> bool:
        """Whether one may go; while there is a suspect, no doubted one may."""
        return bool(self._plain or (self._doubted and not suspect))

    def look(
        self, expected: Callable[[str], float | None], seen: list[tuple[TakenJob, float, Need]], *, suspect: bool,
    ) -> Iterator[tuple[float, Need]]:
        """What may go, in order, for `core.placement.place`, which looks no further than it has to; `seen` gets it."""
        if self._doubted and not suspect:
            job = self._doubted[0]
            seen.append((job, expected(job.name) or UNKNOWN, need := Need.CHILD if job.losses else Need.SLOT))
            yield seen[0][1], need
        for job in self._plain:
            need = Need.CHILD if job.losses else Need.SLOT if job.at_most_once else Need.ROOM
            expected_s = expected(job.name) or UNKNOWN
            seen.append((job, expected_s, need))
            yield expected_s, need

    def went(self, job: TakenJob) -> None:
        """The first of its kind has been placed."""
        (self._doubted if job.doubts else self._plain).popleft()

    def remove(self, token: Token) -> bool:
        """Take a job out; whether it was there."""
        for jobs in (self._plain, self._doubted):
            for job in jobs:
                if job.token == token:
                    jobs.remove(job)
                    return True
        return False

    def clear(self) -> list[TakenJob]:
        """Take all out."""
        jobs = [*self._doubted, *self._plain]
        self._plain.clear()
        self._doubted.clear()
        return jobs

"""Which session runs a job that must be alone on its node, because two nodes died under it.

The rule: a session that serves the job's queue is emptied (it gets nothing new), then it gets this one job, and
nothing else until that has ended. At most half of the sessions, and at most half of those that serve the queue, are
taken so at a time (but always one), so that the other work goes on. A session that has had its isolated job first
gets one round of other work, if any is ready for it, before it is emptied again: where there is one session only,
one filling of it and one isolated job alternate, and neither starves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from callboard.core.records import IsolatedAssignment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.core.records import IsolatedJob, SessionId, SessionView, Survey


@dataclass(frozen=True, slots=True)
class Turns:
    """What isolation remembers between rounds; a new leader starts with an empty one.

    Attributes:
        emptying: sessions that get nothing new because an isolated job waits for them to be empty.
        served: sessions that were given an isolated job and have had no round of other work since.
    """

    emptying: frozenset[SessionId] = frozenset()
    served: frozenset[SessionId] = frozenset()


class Isolation(NamedTuple):
    """What is decided about isolated jobs; the `closed` sessions get no other work in this round."""

    assignments: tuple[IsolatedAssignment, ...]
    closed: frozenset[SessionId]
    turns: Turns


class _Place(NamedTuple):
    """A session that serves a queue, and by which pool."""

    view: SessionView
    pool: str


def isolate(survey: Survey, turns: Turns) -> Isolation:
    """Decide where the survey's isolated jobs go, and which sessions are kept free for them."""
    sessions = [view for view in survey.sessions if not view.draining]
    draining = {view.session for view in survey.sessions if view.draining}
    resting = {view.session for view in sessions if view.session in turns.served and _has_work(view, survey.ready)}
    taken = {view.session for view in sessions if view.isolating}
    assignments: list[IsolatedAssignment] = []
    emptying: set[SessionId] = set()
    places_of: dict[str, list[_Place]] = {}
    for job in survey.isolated:
        if len(taken) >= max(1, len(sessions) // 2):
            break
        if job.queue not in places_of:
            places_of[job.queue] = _places(sessions, job)
        place = _choose(places_of[job.queue], taken, resting, turns.emptying)
        if place is None:
            continue
        session = place.view.session
        taken.add(session)
        if place.view.held == 0:
            assignments.append(IsolatedAssignment(session, place.pool, job))
        else:
            emptying.add(session)
    # A served session rests for the one round in which it is open again; then it may be chosen anew.
    served = {part.session for part in assignments}
    served |= {view.session for view in sessions if view.isolating and view.session in turns.served}
    return Isolation(tuple(assignments), frozenset(draining | taken), Turns(frozenset(emptying), frozenset(served)))


def _choose(
    places: list[_Place], taken: set[SessionId], resting: set[SessionId], emptying: frozenset[SessionId]
) -> _Place | None:
    """The place for one job: one that is being emptied already, else the one that holds least; None: not now."""
    if sum(1 for place in places if place.view.session in taken) >= max(1, len(places) // 2):
        return None
    free = [place for place in places if place.view.session not in taken and place.view.session not in resting]
    return min(
        free,
        key=lambda place: (place.view.session not in emptying, place.view.held, place.view.session),
        default=None,
    )


def _places(sessions: list[SessionView], job: IsolatedJob) -> list[_Place]:
    """The sessions with a pool that serves the job's queue and has slots."""
    return [
        _Place(view, pool.report.name)
        for view in sessions
        for pool in view.pools
        if pool.report.capacity > 0 and any(share.queue == job.queue for share in pool.report.queues)
    ]


def _has_work(view: SessionView, ready: Mapping[str, int]) -> bool:
    """Other work is ready that this session could do."""
    return any(
        ready.get(share.queue, 0) > 0
        for pool in view.pools
        if pool.report.capacity > 0
        for share in pool.report.queues
    )

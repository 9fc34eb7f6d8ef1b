"""Which sessions get nothing new though they are not over: the leader doubts that their nodes live.

Two signs count, both by what the leader has seen in its own term. A counter that has stood still for half of the
session's ttl; and a node that is no member of the cluster and whose counter has not moved since that was noticed. The
store knows better than membership who lives, so a node that beats but can't register works on after its next beat, and
a view that can't be had, or that does not show even the leader, says nothing. A suspicion only steers assignment: it
ends no session, takes nothing away, and is over with the next beat.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from callboard.core.records import SessionId, SessionView, Survey
    from callboard.core.sessions import Watch

SUSPECT_SHARE: Final = 0.5
"""Of a session's ttl: how long its counter may stand still before its node gets nothing new. A quarter is usual."""
MEMBER_SHARE: Final = 0.5
"""Of a session's ttl: how long a node that says nothing stays a member of the cluster."""


def absences(
    before: Mapping[SessionId, int], sessions: Iterable[SessionView], members: Collection[str] | None, leader: str
) -> Mapping[SessionId, int]:
    """The sessions whose nodes are no members, each with its counter when that was noticed first.

    Args:
        before: what the last look returned; empty at the start of a term.
        sessions: as read before the members were asked for, so that none is newer than the view.
        members: boot ids; None: the backend did not answer.
        leader: the leader's boot id; it must be a member itself, or the view says nothing.
    """
    if members is None or leader not in members:
        return {}
    return {
        view.session: before.get(view.session, view.counter)
        for view in sessions if view.info.boot_id not in members
    }


def suspects(
    sessions: Iterable[SessionView], watch: Watch, absent: Mapping[SessionId, int]
) -> frozenset[SessionId]:
    """The sessions that get nothing new for now."""
    return frozenset(view.session for view in sessions if _still(view, watch) or _gone(view, absent))


def without(survey: Survey, suspected: Collection[SessionId]) -> Survey:
    """The survey as the decision may see it."""
    if not suspected:
        return survey
    return replace(survey, sessions=tuple(view for view in survey.sessions if view.session not in suspected))


def _still(view: SessionView, watch: Watch) -> bool:
    seen = watch.seen.get(view.session)
    return seen is not None and seen.counter == view.counter and seen.still_s >= SUSPECT_SHARE * view.ttl_s


def _gone(view: SessionView, absent: Mapping[SessionId, int]) -> bool:
    return absent.get(view.session) == view.counter

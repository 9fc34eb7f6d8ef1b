"""The leader's doubts about nodes: asks who is a member, and keeps suspected sessions out of what is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callboard.actors.base import CLUSTER, DISPATCHER, Parts
from callboard.core import suspicion
from callboard.core.messages import AskMembers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.core.messages import MembersSeen
    from callboard.core.records import SessionId, SessionView, Survey
    from callboard.core.sessions import Watch

WAIT_S: Final = 0.1
"""How long a new leader's first round waits for the members; a backend that is slower than this is not waited for."""


class Suspicion:
    """Of one Dispatcher, by its own thread only."""

    def __init__(self, parts: Parts) -> None:
        """Doubt nobody."""
        self._parts = parts
        self._number = 0
        self._asked_s: float | None = None
        self._sessions: tuple[SessionView, ...] = ()
        self._absent: Mapping[SessionId, int] = {}
        self._suspected: frozenset[SessionId] = frozenset()

    def begin(self) -> None:
        """A new term: what was seen before counts no more."""
        self._asked_s = None
        self._absent, self._suspected = {}, frozenset()

    def ask(self, sessions: tuple[SessionView, ...], now_s: float) -> bool:
        """Ask who is a member, after the sessions were read; whether an answer may come."""
        if self._asked_s is not None and now_s - self._asked_s < self._parts.config.session_ttl_s:
            return True  # the backend is slow: one question waits there, not more
        self._number += 1
        self._asked_s, self._sessions = now_s, sessions
        if not self._parts.directory.tell(CLUSTER, AskMembers(self._number)):
            self._asked_s = None
        return self._asked_s is not None

    def heard(self, message: MembersSeen) -> bool:
        """An answer came; whether it was the one that is waited for."""
        if self._asked_s is None or message.number != self._number:
            return False
        self._asked_s = None
        self._absent = suspicion.absences(self._absent, self._sessions, message.boot_ids, self._parts.info.boot_id)
        return True

    def trusted(self, survey: Survey, watch: Watch) -> Survey:
        """The survey without suspected sessions; tells of those that became so or are so no longer."""
        suspected = suspicion.suspects(survey.sessions, watch, self._absent)
        if suspected != self._suspected:
            for view in survey.sessions:
                if (view.session in suspected) != (view.session in self._suspected):
                    self._emit(view, suspected=view.session in suspected)
            self._suspected = suspected
        return suspicion.without(survey, suspected)

    def _emit(self, view: SessionView, *, suspected: bool) -> None:
        event = "dispatcher.session_suspected" if suspected else "dispatcher.session_trusted"
        self._parts.emit(DISPATCHER, event, session=view.session, of_node=view.info.node)

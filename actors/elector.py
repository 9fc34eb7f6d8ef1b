"""The Elector actor: performs what `core/election.py` decides."""

from __future__ import annotations

import random
from typing import assert_never

from callboard.actors.base import CLUSTER, DISPATCHER, SCHEDULER, SUPERVISOR, Actor, Parts, handles
from callboard.core import election
from callboard.core.messages import (
    Begin,
    Campaign,
    CampaignAnswer,
    ClusterChanged,
    ElectionTick,
    Hello,
    Hold,
    Lead,
    Message,
    Progress,
    Renew,
    RenewAnswer,
    Resign,
    ResignAnswer,
    Resigned,
    StepDown,
    TermLost,
    Trust,
)

FOLLOWERS_OF_TERMS = (DISPATCHER, SCHEDULER)
"""Who acts in a term."""


class Elector(Actor):
    """Turns messages into the core's events, and its actions into messages."""

    def __init__(self, name: str, parts: Parts) -> None:
        """Begin as a follower."""
        super().__init__(name, parts)
        self._state = election.start(parts.info.boot_id, parts.config.lease_ttl_s)
        self._progress = 0
        self._backend_error = ""

    @handles(Begin)
    def begin(self, _message: Begin) -> None:
        """Campaign at once, unless this node never leads."""
        self._step(election.Tick())

    @handles(ElectionTick)
    def tick(self, _message: ElectionTick) -> None:
        """Time has passed."""
        self._step(election.Tick())

    @handles(ClusterChanged)
    def changed(self, _message: ClusterChanged) -> None:
        """The backend's watch rang."""
        self._step(election.LeadershipMayHaveChanged())

    @handles(Progress)
    def progress(self, _message: Progress) -> None:
        """The Dispatcher moves: a renewal may rest on it."""
        self._progress += 1
        self._step(election.DispatcherProgress(self._progress))

    @handles(CampaignAnswer)
    def campaigned(self, message: CampaignAnswer) -> None:
        """The backend answered a campaign."""
        self._note(message.error)
        if message.term is not None:
            self._step(election.CampaignWon(message.attempt, message.term))
        elif message.error:
            self._step(election.CampaignFailed(message.attempt, message.error))
        else:
            self._step(election.CampaignLost(message.attempt))

    @handles(RenewAnswer)
    def renewed(self, message: RenewAnswer) -> None:
        """The backend answered a renewal."""
        self._note(message.error)
        if message.kept:
            self._step(election.RenewOk(message.attempt))
        elif message.error:
            self._step(election.RenewFailed(message.attempt, message.error))
        else:
            self._step(election.RenewRefused(message.attempt))

    def _note(self, error: str) -> None:
        """One event for an outage, however often it is tried."""
        if error and error != self._backend_error:
            self.emit("elector.backend_failed", error=error)
        self._backend_error = error

    @handles(ResignAnswer)
    def resign_ended(self, message: ResignAnswer) -> None:
        """A resignation was carried out, or failed."""
        self._step(election.ResignEnded(message.attempt))

    @handles(TermLost)
    def term_lost(self, message: TermLost) -> None:
        """The store obeys another leader."""
        self._step(election.StoreRefusedTerm(message.term.number, message.reason))

    @handles(Hold)
    def hold(self, _message: Hold) -> None:
        """The node is stopping."""
        if self.parts.config.lead:
            self._step(election.StopRequested())
        else:
            self.tell(SUPERVISOR, Resigned())

    @handles(Hello)
    def hello(self, message: Hello) -> None:
        """An actor that began wants to know the term in force."""
        if self._state.term is not None:
            self.tell(message.actor, Lead(self._state.term, self._state.trusted_until_s))

    def _step(self, event: election.Event) -> None:
        if not self.parts.config.lead:  # whatever the watch or the Dispatcher says
            return
        self._state, actions = election.step(self._state, event, self.now(), random.random())  # noqa: S311 - spread only
        for action in actions:
            self._perform(action)

    def _perform(self, action: election.Action) -> None:
        match action:
            case election.Campaign(attempt, _, ttl_s):
                self.tell(CLUSTER, Campaign(attempt, ttl_s))
            case election.Renew(attempt, term):
                self.tell(CLUSTER, Renew(attempt, term, term.ttl_s))  # what was granted
            case election.Resign(attempt, term):
                self.tell(CLUSTER, Resign(attempt, term))
            case election.Lead(term, until_s):
                self.emit("elector.elected", term=term.number, ttl_s=term.ttl_s)
                self._tell_followers(Lead(term, until_s))
            case election.ExtendTrust(term, until_s):
                self._tell_followers(Trust(term, until_s))
            case election.StepDown(term, reason):
                self.emit("elector.stepped_down", term=term.number, reason=reason)
                self._tell_followers(StepDown(reason))
            case election.WakeAt(at_s):
                self.later(max(0.0, at_s - self.now()), ElectionTick())
            case election.Stopped():
                self.tell(SUPERVISOR, Resigned())
            case _:
                assert_never(action)

    def _tell_followers(self, message: Message) -> None:
        for name in FOLLOWERS_OF_TERMS:
            self.tell(name, message)

    def release(self) -> None:
        """A dead Elector leads nothing: whoever acts in its term stops, and the term is given back."""
        if self._state.term is not None:
            self._tell_followers(StepDown("the elector ended"))
            self.tell(CLUSTER, Resign(self._state.attempt + 1, self._state.term))

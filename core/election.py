"""Who may lead, decided without I/O: events in, and what others must do out.

Leadership is never a boolean. A term is trusted until `attempt start + granted ttl - margin` on the machine's boot
clock, where the attempt starts when this core asks for it, so no answer, however late, can stretch it. Whoever acts
as leader compares the clock with the trust of the last `Lead` or `ExtendTrust` before each act; doubt (an error, a
timeout, a late answer) adds no trust, and when the trust runs out the node steps down.

One attempt (a campaign, a renewal, a resignation) is outstanding at a time, and its reply names it. A win that comes
too late, or for an attempt that was given up, is resigned. The Elector actor carries the actions out in their order.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from callboard.core.election_values import (
    RETRY_MAX_S,
    TTL_MAX_S,
    TTL_MIN_S,
    Action,
    Campaign,
    CampaignFailed,
    CampaignLost,
    CampaignWon,
    DispatcherProgress,
    Election,
    Event,
    ExtendTrust,
    Lead,
    LeadershipMayHaveChanged,
    Outstanding,
    Renew,
    RenewFailed,
    RenewOk,
    RenewRefused,
    Resign,
    ResignEnded,
    Role,
    StepDown,
    Stopped,
    StopRequested,
    StoreRefusedTerm,
    Tick,
    WakeAt,
)
from callboard.core.errors import InvalidArgument

if TYPE_CHECKING:
    from callboard.core.records import Term

__all__ = [
    "Action", "Campaign", "CampaignFailed", "CampaignLost", "CampaignWon", "DispatcherProgress", "Election", "Event",
    "ExtendTrust", "Lead", "LeadershipMayHaveChanged", "Outstanding", "Renew", "RenewFailed", "RenewOk", "RenewRefused",
    "Resign", "ResignEnded", "Role", "StepDown", "StopRequested", "Stopped", "StoreRefusedTerm", "Tick", "WakeAt",
    "margin_s", "start", "step", "trusted_until",
]


def start(owner: str, ttl_s: float) -> Election:
    """A follower that campaigns at its first Tick.

    Args:
        owner: boot id of the node.
        ttl_s: how long the backend is asked to keep a term, 0.05 to 3,600 s.

    Raises:
        InvalidArgument: Raised when ttl_s is out of range.
    """
    if not TTL_MIN_S <= ttl_s <= TTL_MAX_S:
        raise InvalidArgument(f"the election's ttl must be {TTL_MIN_S} to {TTL_MAX_S:,.0f} seconds, not {ttl_s!r}")
    return Election(owner, ttl_s)


def margin_s(ttl_s: float) -> float:
    """Seconds before the ttl's end at which trust ends: 10 %, at least 0.5 s; below a ttl of 2 s 20 %."""
    return ttl_s * 0.2 if ttl_s < 2.0 else max(0.5, ttl_s * 0.1)  # noqa: PLR2004 - named in the docstring


def trusted_until(started_s: float, ttl_s: float) -> float:
    """When the trust ends that an attempt begun at started_s earns, however late its answer came."""
    return started_s + ttl_s - margin_s(ttl_s)


def step(state: Election, event: Event, now_s: float, draw: float = 0.5) -> tuple[Election, tuple[Action, ...]]:
    """One decision.

    Args:
        state: from `start` or the last step.
        event: what happened.
        now_s: the boot clock, read after the event was received.
        draw: a random number in [0, 1), new for each call: spreads the campaigns of many nodes.

    Returns:
        The next state, and the actions to carry out in this order.
    """
    run = _Step(state, now_s, draw)
    run.expire()
    run.handle(event)
    run.act_if_due()
    run.set_alarm()
    return run.state, tuple(run.actions)


class _Step:
    """One call of `step`: a state that is replaced as it goes, and the actions so far."""

    __slots__ = ("actions", "draw", "now_s", "state")

    def __init__(self, state: Election, now_s: float, draw: float) -> None:
        self.state = state
        self.now_s = now_s
        self.draw = draw
        self.actions: list[Action] = []

    # What time alone decides

    def expire(self) -> None:
        """Trust that ran out, and an attempt that nobody will answer any more."""
        state = self.state
        if state.role is Role.LEADER and self.now_s >= state.trusted_until_s:
            stalled = state.outstanding is None and state.progress <= state.progress_used
            self.step_down("the dispatcher stands still" if stalled else "trust ran out", resign=True, stalled=stalled)
        elif state.outstanding is not None and self.now_s >= state.outstanding.started_s + state.ttl_s:
            if state.role is Role.CANDIDATE:
                self.follow()
            elif state.role is Role.RESIGNING:
                self.resigned()

    def act_if_due(self) -> None:
        """Campaign or renew, when it is time and nothing is outstanding."""
        state = self.state
        if state.outstanding is not None:
            return
        if state.role is Role.FOLLOWER and self.now_s >= state.retry_at_s and not state.stalled:
            attempt = self.begin(Role.CANDIDATE)
            self.state = replace(self.state, campaigned_s=self.now_s, hinted=False)
            self.actions.append(Campaign(attempt, state.owner, state.ttl_s))
        # A Dispatcher that stands still leads nobody, whatever the Elector still manages to renew.
        elif state.term is not None and self.now_s >= state.renew_at_s and state.progress > state.progress_used:
            attempt = self.begin(Role.LEADER)
            renew_at_s = self.now_s + state.term.ttl_s / 3
            self.state = replace(self.state, progress_used=state.progress, renew_at_s=renew_at_s)
            self.actions.append(Renew(attempt, state.term))

    def set_alarm(self) -> None:
        at_s = self._next_instant()
        if at_s != self.state.wake_at_s:
            self.state = replace(self.state, wake_at_s=at_s)
            if at_s is not None:
                self.actions.append(WakeAt(at_s))

    def _next_instant(self) -> float | None:
        state = self.state
        if state.role is Role.LEADER:
            waits = state.outstanding is not None or state.progress <= state.progress_used
            return state.trusted_until_s if waits else min(state.renew_at_s, state.trusted_until_s)
        if state.outstanding is not None:
            return state.outstanding.started_s + state.ttl_s
        if state.role is Role.FOLLOWER and not state.stalled:
            return state.retry_at_s
        return None

    # Events

    def handle(self, event: Event) -> None:
        """Replies name their attempt; what does not is news."""
        match event:
            case CampaignWon(attempt, term):
                self.won(attempt, term)
            case CampaignLost(attempt) | CampaignFailed(attempt, _):
                self.lost(attempt)
            case RenewOk(attempt):
                self.renewed(attempt)
            case RenewRefused(attempt):
                self.renewal_refused(attempt)
            case RenewFailed(attempt, _):
                self.renewal_failed(attempt)
            case ResignEnded(attempt):
                self.resign_ended(attempt)
            case _:
                self.hear(event)

    def hear(self, event: Event) -> None:
        """News that is no reply."""
        match event:
            case LeadershipMayHaveChanged():
                self.hint()
            case DispatcherProgress(counter):
                self.progressed(counter)
            case StoreRefusedTerm(number, reason):
                self.store_refused(number, reason)
            case StopRequested():
                self.stop()
            case _:  # Tick: time alone decides
                pass

    def won(self, attempt: int, term: Term) -> None:
        state = self.state
        if not self.answers(attempt, Role.CANDIDATE):
            self._won_unasked(term)
            return
        until_s = trusted_until(self._started_s(), term.ttl_s)
        fit = math.isfinite(until_s) and term.ttl_s > 0 and term.owner == state.owner
        if state.stopping or not fit or self.now_s >= until_s:
            self.resign(term)
            return
        self.state = replace(
            state, role=Role.LEADER, outstanding=None, term=term, trusted_until_s=until_s,
            renew_at_s=self._started_s() + term.ttl_s / 3, progress_used=state.progress,
        )
        self.actions.append(Lead(term, until_s))

    def _won_unasked(self, term: Term) -> None:
        """A win of an attempt that was given up: it must not stay held by nobody."""
        state = self.state
        if state.term is not None and (term.number, term.handle) == (state.term.number, state.term.handle):
            return  # the reply of the term that is led, delivered twice
        if state.role is Role.LEADER and state.term is not None and term.number > state.term.number:
            self.step_down("the backend granted a later term", resign=False)
        self.actions.append(Resign(self._next_attempt(), term))

    def lost(self, attempt: int) -> None:
        if self.answers(attempt, Role.CANDIDATE):
            self.follow()

    def resign_ended(self, attempt: int) -> None:
        if self.answers(attempt, Role.RESIGNING):
            self.resigned()

    def progressed(self, counter: int) -> None:
        progress = max(counter, self.state.progress)
        stalled = self.state.stalled and progress <= self.state.progress_used
        self.state = replace(self.state, progress=progress, stalled=stalled)

    def renewed(self, attempt: int) -> None:
        state = self.state
        if self.answers(attempt, Role.LEADER) and state.term is not None:
            until_s = max(state.trusted_until_s, trusted_until(self._started_s(), state.term.ttl_s))
            self.state = replace(state, outstanding=None, trusted_until_s=until_s)
            self.actions.append(ExtendTrust(state.term, until_s))

    def renewal_refused(self, attempt: int) -> None:
        if self.answers(attempt, Role.LEADER):
            self.step_down("the backend refused the renewal", resign=False)

    def renewal_failed(self, attempt: int) -> None:
        state = self.state
        if self.answers(attempt, Role.LEADER) and state.term is not None:
            # The retry rests on the same progress as the attempt that failed.
            self.state = replace(
                state, outstanding=None, progress_used=min(state.progress_used, state.progress - 1),
                renew_at_s=self.now_s + state.term.ttl_s / 10,
            )

    def hint(self) -> None:
        state = self.state
        if state.role is Role.CANDIDATE:
            self.state = replace(state, hinted=True)
        elif state.role is Role.FOLLOWER:
            self.state = replace(state, retry_at_s=min(state.retry_at_s, self._soon_s()))

    def store_refused(self, number: int, reason: str) -> None:
        state = self.state
        if state.role is Role.LEADER and state.term is not None and state.term.number == number:
            # A hint would bring the same refusal in a loop: wait for about a ttl.
            later_s = self.now_s + state.ttl_s * (0.5 + self.draw)
            self.state = replace(state, not_before_s=later_s)
            self.step_down(f"the store refused the term: {reason}"[:500], resign=True)

    def stop(self) -> None:
        state = replace(self.state, stopping=True)
        self.state = state
        if state.role is Role.LEADER:
            self.step_down("the node is stopping", resign=True)
        elif state.role is Role.FOLLOWER:
            self.follow()

    # Changes of role

    def step_down(self, reason: str, *, resign: bool, stalled: bool = False) -> None:
        term = self.state.term
        if term is None:
            return
        self.actions.append(StepDown(term, reason))
        self.state = replace(self.state, outstanding=None, term=None, trusted_until_s=-math.inf, stalled=stalled)
        if resign:
            self.resign(term)
        else:
            self.follow()

    def resign(self, term: Term) -> None:
        attempt = self.begin(Role.RESIGNING)
        self.actions.append(Resign(attempt, term))

    def resigned(self) -> None:
        """Let others have the first go, for whatever made this node resign."""
        self.state = replace(self.state, not_before_s=max(self.state.not_before_s, self.now_s + self._retry_s()))
        self.follow()

    def follow(self) -> None:
        state = self.state
        if state.stopping:
            self.state = replace(state, role=Role.STOPPED, outstanding=None)
            self.actions.append(Stopped())
            return
        wait_s = self.now_s + self._retry_s()
        retry_at_s = max(self._soon_s() if state.hinted else wait_s, state.not_before_s)
        self.state = replace(state, role=Role.FOLLOWER, outstanding=None, retry_at_s=retry_at_s, hinted=False)

    # Helpers

    def answers(self, attempt: int, role: Role) -> bool:
        """Whether a reply belongs to the outstanding attempt of this role."""
        state = self.state
        return state.role is role and state.outstanding is not None and state.outstanding.attempt == attempt

    def begin(self, role: Role) -> int:
        attempt = self._next_attempt()
        self.state = replace(self.state, role=role, outstanding=Outstanding(attempt, self.now_s))
        return attempt

    def _next_attempt(self) -> int:
        self.state = replace(self.state, attempt=self.state.attempt + 1)
        return self.state.attempt

    def _started_s(self) -> float:
        outstanding = self.state.outstanding
        return self.now_s if outstanding is None else outstanding.started_s

    def _retry_s(self) -> float:
        return min(RETRY_MAX_S, self.state.ttl_s / 3) * (0.5 + self.draw / 2)

    def _soon_s(self) -> float:
        """After a hint: at once, but spread a little, and not twice within a moment."""
        state = self.state
        spread_s = min(0.05, state.ttl_s / 20) * self.draw
        return max(self.now_s + spread_s, state.campaigned_s + min(0.1, state.ttl_s / 10), state.not_before_s)

"""What goes into the election's core and comes out of it: roles, events, actions, state. `core/election.py` decides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from callboard.core.records import Term

TTL_MIN_S: Final = 0.05
TTL_MAX_S: Final = 3_600.0
RETRY_MAX_S: Final = 1.0
"""A follower asks again at least this often, whatever the backend's watch misses."""


class Role(Enum):
    """Where this node is between two elections."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"
    RESIGNING = "resigning"
    STOPPED = "stopped"  # for good; a late win is still resigned


# Events ---------------------------------------------------------------------------------------------------------------


class Tick(NamedTuple):
    """Time has passed; due at the last WakeAt, harmless at any other time."""


class CampaignWon(NamedTuple):
    """The backend granted a term."""

    attempt: int
    term: Term


class CampaignLost(NamedTuple):
    """Another node leads."""

    attempt: int


class CampaignFailed(NamedTuple):
    """The backend did not answer, or with an error."""

    attempt: int
    reason: str


class RenewOk(NamedTuple):
    """The backend keeps the term for another ttl."""

    attempt: int


class RenewRefused(NamedTuple):
    """The backend says that the term is over."""

    attempt: int


class RenewFailed(NamedTuple):
    """The backend did not answer, or with an error; the term may or may not have been renewed."""

    attempt: int
    reason: str


class ResignEnded(NamedTuple):
    """The resignation was carried out, or failed: the term then ends by its ttl."""

    attempt: int


class LeadershipMayHaveChanged(NamedTuple):
    """The backend's watch called back: a hint."""


class DispatcherProgress(NamedTuple):
    """How often this node's Dispatcher went round its loop; only grows within one process."""

    counter: int


class StoreRefusedTerm(NamedTuple):
    """The store refused begin_term, or an act of the term: it obeys another leader, or another backend."""

    number: int
    reason: str


class StopRequested(NamedTuple):
    """The node is stopping."""


Event = (
    Tick | CampaignWon | CampaignLost | CampaignFailed | RenewOk | RenewRefused | RenewFailed | ResignEnded
    | LeadershipMayHaveChanged | DispatcherProgress | StoreRefusedTerm | StopRequested
)


# Actions --------------------------------------------------------------------------------------------------------------


class Campaign(NamedTuple):
    """Call `backend.campaign(owner, ttl_s)`; answer CampaignWon, CampaignLost or CampaignFailed."""

    attempt: int
    owner: str
    ttl_s: float


class Renew(NamedTuple):
    """Call `backend.renew(term, term.ttl_s)`; answer RenewOk, RenewRefused or RenewFailed."""

    attempt: int
    term: Term


class Resign(NamedTuple):
    """Call `backend.resign(term)`; answer ResignEnded."""

    attempt: int
    term: Term


class Lead(NamedTuple):
    """Act as leader in this term while the boot clock is below trusted_until_s."""

    term: Term
    trusted_until_s: float


class ExtendTrust(NamedTuple):
    """The term in force is now trusted until then."""

    term: Term
    trusted_until_s: float


class StepDown(NamedTuple):
    """Stop acting as leader at once."""

    term: Term
    reason: str


class WakeAt(NamedTuple):
    """Send Tick at this instant of the boot clock, in place of the last one asked for."""

    at_s: float


class Stopped(NamedTuple):
    """Nothing is led or outstanding any more: the node may go on stopping."""


Action = Campaign | Renew | Resign | Lead | ExtendTrust | StepDown | WakeAt | Stopped


# State ----------------------------------------------------------------------------------------------------------------


class Outstanding(NamedTuple):
    """The one attempt that waits for its reply."""

    attempt: int
    started_s: float


@dataclass(frozen=True, slots=True)
class Election:
    """All that the core knows; made by `start`, moved on by `step`.

    Attributes:
        attempt: number of the last attempt.
        outstanding: the attempt that waits for its reply; its kind follows from the role.
        trusted_until_s: the term's trust; only meaningful with a term.
        renew_at_s: when the next renewal is due.
        retry_at_s: when the next campaign is due.
        not_before_s: no hint brings a campaign before this.
        campaigned_s: when the last campaign began.
        progress: the Dispatcher's counter, as last heard.
        progress_used: the counter that the last renewal rested on; one more renewal needs a higher one.
        stalled: leadership was lost because the Dispatcher stood still: no campaign until it moves.
        hinted: leadership may have changed since the outstanding campaign began.
        wake_at_s: the last WakeAt, so that it is not repeated.
    """

    owner: str
    ttl_s: float
    role: Role = Role.FOLLOWER
    attempt: int = 0
    outstanding: Outstanding | None = None
    term: Term | None = None
    trusted_until_s: float = -math.inf
    renew_at_s: float = math.inf
    retry_at_s: float = -math.inf
    not_before_s: float = -math.inf
    campaigned_s: float = -math.inf
    progress: int = 0
    progress_used: int = 0
    stalled: bool = False
    hinted: bool = False
    stopping: bool = False
    wake_at_s: float | None = None

"""Messages of election: tags 20 to 39."""

from __future__ import annotations

from typing import ClassVar

from callboard.core.messages.base import Message, message
from callboard.core.records import Term


@message(20)
class Campaign(Message):
    """Elector to Cluster: try to become leader; answered with CampaignAnswer of the same attempt."""

    control: ClassVar[bool] = True
    attempt: int
    ttl_s: float


@message(21)
class CampaignAnswer(Message):
    """Cluster to Elector: the term, or None when another leads, or an error."""

    control: ClassVar[bool] = True
    attempt: int
    term: Term | None = None
    error: str = ""


@message(22)
class Renew(Message):
    """Elector to Cluster: keep exactly this term; answered with RenewAnswer."""

    control: ClassVar[bool] = True
    attempt: int
    term: Term
    ttl_s: float


@message(23)
class RenewAnswer(Message):
    """Cluster to Elector."""

    control: ClassVar[bool] = True
    attempt: int
    kept: bool = False
    error: str = ""


@message(24)
class Resign(Message):
    """Elector to Cluster: end exactly this term."""

    control: ClassVar[bool] = True
    attempt: int
    term: Term


@message(25)
class ResignAnswer(Message):
    """Cluster to Elector: the term is over, or could not be ended (it will expire)."""

    control: ClassVar[bool] = True
    attempt: int
    error: str = ""


@message(26)
class ClusterChanged(Message):
    """A hint from the backend: leadership or membership may have changed."""

    control: ClassVar[bool] = True
    coalesced: ClassVar[bool] = True


@message(27)
class Lead(Message):
    """Elector to Dispatcher and Scheduler: a term, trusted until an instant of CLOCK_BOOTTIME."""

    control: ClassVar[bool] = True
    term: Term
    trusted_until_s: float


@message(28)
class Trust(Message):
    """Elector to Dispatcher and Scheduler: the term was renewed."""

    control: ClassVar[bool] = True
    term: Term
    trusted_until_s: float


@message(29)
class StepDown(Message):
    """Elector to Dispatcher and Scheduler: act as leader no longer."""

    control: ClassVar[bool] = True
    reason: str


@message(30)
class Progress(Message):
    """Dispatcher to Elector: I am alive and have handled work since the last one."""

    control: ClassVar[bool] = True
    coalesced: ClassVar[bool] = True


@message(31)
class TermLost(Message):
    """Dispatcher to Elector: the store refused this term's acts; it leads no longer."""

    control: ClassVar[bool] = True
    term: Term
    reason: str


@message(33)
class ElectionTick(Message):
    """Timer to Elector."""

    control: ClassVar[bool] = True
    coalesced: ClassVar[bool] = True

"""Messages of work: tags 60 to 79."""

from __future__ import annotations

from typing import ClassVar

from callboard.core.messages.base import Message, message
from callboard.core.records import FinishReceipt, SessionId, TakenJob, Token


@message(60)
class Rung(Message):
    """A bell of the store rang: jobs may be ready (to Dispatcher), or rows assigned (to Workers)."""

    coalesced: ClassVar[bool] = True


@message(61)
class Round(Message):
    """Dispatcher to itself: look again at once; more may be ready."""

    coalesced: ClassVar[bool] = True


@message(62)
class PollDue(Message):
    """Timer to Dispatcher or Worker: the slow poll that backs up every bell."""

    coalesced: ClassVar[bool] = True


@message(63)
class SweepDue(Message):
    """Timer to Dispatcher: watch sessions, prune, audit."""

    coalesced: ClassVar[bool] = True


@message(64)
class Taken(Message):
    """Dispatcher to a Worker: assigned and taken in one call, run these."""

    session: SessionId
    jobs: tuple[TakenJob, ...]


@message(65)
class Freed(Message):
    """Worker to Dispatcher: capacity came free on this node."""

    coalesced: ClassVar[bool] = True


@message(66)
class EndsReady(Message):
    """Executor's thread to its Worker: ends of runs wait to be fetched."""

    coalesced: ClassVar[bool] = True


@message(67)
class Finished(Message):
    """Worker's store thread to the Worker: a batch of outcomes was sent.

    Attributes:
        receipt: None when it failed; the batch is sent again.
    """

    receipt: FinishReceipt | None
    error: str = ""


@message(68)
class TakeAnswered(Message):
    """Worker's store thread to the Worker: rows that the node may run now."""

    session: SessionId
    jobs: tuple[TakenJob, ...] = ()
    healing: bool = False
    error: str = ""


@message(69)
class HealDue(Message):
    """Timer to Worker: compare what the store says this node runs with what it runs."""

    coalesced: ClassVar[bool] = True


@message(70)
class FlushDue(Message):
    """Timer to Worker: send outcomes again that the store could not take."""

    coalesced: ClassVar[bool] = True


@message(71)
class ExecutorStopped(Message):
    """Worker's own thread to the Worker: no child is left, every end was reported."""


@message(72)
class ReportDue(Message):
    """Timer to Worker and Dispatcher: write the summary event of what was done since the last one."""

    coalesced: ClassVar[bool] = True


@message(73)
class Adjust(Message):
    """The node's owner to a Worker: other slots, another time limit for jobs that name none; for this life only."""

    slots: int | None = None
    timeout_s: float | None = None


@message(74)
class MarkDue(Message):
    """Timer to Worker: have the store note which runs have begun."""

    coalesced: ClassVar[bool] = True


@message(75)
class Marked(Message):
    """Worker's store thread to the Worker: start marks were sent.

    Attributes:
        marked: runs whose mark the store has.
        refused: runs that go on although their token is no longer the job's.
        error: why they could not be sent; they are sent again.
    """

    marked: tuple[Token, ...] = ()
    refused: tuple[Token, ...] = ()
    error: str = ""


@message(77)
class DueSoon(Message):
    """The store's bell to Dispatcher: a job was written that is soon due."""

    coalesced: ClassVar[bool] = True


@message(76)
class ProgressDue(Message):
    """Timer and executor's thread to Worker: jobs said how far they are."""

    coalesced: ClassVar[bool] = True


@message(78)
class HandBackDue(Message):
    """Timer to Worker: hand back the jobs that it has kept from its own node for a while."""

    coalesced: ClassVar[bool] = True

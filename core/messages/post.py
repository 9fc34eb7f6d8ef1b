"""What nodes and clients say by broadcast, and the Cluster actor's part in it: tags 100 to 109."""

from __future__ import annotations

from typing import ClassVar

from callboard.core.messages.base import Message, message
from callboard.core.messages.clients import EventLine, FollowEvents


@message(100)
class Nudge(Message):
    """To every node: an operator ordered something; look at the store now. A hint: nothing is lost with it."""


@message(101)
class AskEvents(Message):
    """Ask a node for a page of its events; answered with EventPage.

    Attributes:
        wanted: which; with `follow` the node keeps single jobs' events for a few seconds from now, as for a follower.
        after: only those behind this number, which EventPage tells; -1: the last `wanted.last` that were kept.
    """

    wanted: FollowEvents
    after: int = -1


@message(102)
class EventPage(Message):
    """Events of a node, oldest first.

    Attributes:
        next: where the next page begins.
        more: it is there already.
    """

    lines: tuple[EventLine, ...]
    next: int
    more: bool = False


@message(103)
class SendNudge(Message):
    """Dispatcher to Cluster: an order was written; have the other nodes look."""

    coalesced: ClassVar[bool] = True


@message(104)
class PostDue(Message):
    """Timer to Cluster: subscribe again, write refusals that wait."""

    coalesced: ClassVar[bool] = True

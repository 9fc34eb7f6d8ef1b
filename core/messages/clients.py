"""What clients and nodes say to each other through a node's socket: tags 80 to 119."""

from __future__ import annotations

from typing import Final

from callboard.core.messages.base import Message, message
from callboard.core.records import NewJob, PoolReport


@message(80)
class PushJobs(Message):
    """Push these jobs; answered with Pushed."""

    jobs: tuple[NewJob, ...]


@message(81)
class Pushed(Message):
    """The answer to PushJobs."""

    ids: tuple[str, ...]


@message(82)
class Scale(Message):
    """Set a queue's slots: on one node, or on every node (None). Durable. Answered with Done."""

    queue: str
    slots: int
    node: str | None = None


@message(83)
class SetPaused(Message):
    """Pause or resume a queue. Durable. Answered with Done."""

    queue: str
    paused: bool


@message(84)
class CancelJob(Message):
    """Cancel a job that waits or runs; answered with Done, whose count is a CancelResult."""

    job_id: str


@message(85)
class PurgeQueue(Message):
    """Forget what waits in a queue; answered with Done: how many."""

    queue: str


@message(86)
class DrainNode(Message):
    """Give a node nothing new (or again). Durable by node name. Answered with Done."""

    node: str
    draining: bool = True


@message(87)
class AskStatus(Message):
    """Ask a node for its own view; answered with NodeStatus."""


@message(88)
class NodeStatus(Message):
    """A node's own view of itself.

    Attributes:
        leading: it holds a trusted term now.
        actors: names of its actors and how often each was restarted.
        running: (job id, name, queue, child's pid, for how many seconds) of what runs now, at most 1,000.
    """

    node: str
    boot_id: str
    pid: int
    leading: bool
    epoch: int
    session: int
    actors: dict[str, int]
    pools: tuple[PoolReport, ...]
    running: tuple[tuple[str, str, str, int, float], ...]
    version: str = ""


@message(89)
class Done(Message):
    """A command was carried out; `count` where one makes sense, `text` for a person."""

    count: int = 0
    text: str = ""


@message(90)
class Refused(Message):
    """A command was not carried out: the error's class name and message."""

    error: str
    text: str


@message(91)
class FollowEvents(Message):
    """Ask a node's socket for its events: those kept that pass the filter, then, if `follow`, what comes.

    Attributes:
        actor, job, event: only events with this field; empty means any.
        level: this level and above.
        last: at most so many kept ones first.
    """

    actor: str = ""
    job: str = ""
    event: str = ""
    level: str = "debug"
    last: int = 100
    follow: bool = False


@message(92)
class EventLine(Message):
    """One event as a JSON line.

    Attributes:
        lost: events before it that this follower was too slow for.
    """

    line: str
    lost: int = 0


@message(93)
class EventsEnd(Message):
    """No more events follow."""


CLIENT_MESSAGES: Final = (PushJobs, Scale, SetPaused, CancelJob, PurgeQueue, DrainNode, AskStatus)
"""What a Dispatcher accepts from outside its node."""

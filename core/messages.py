"""The messages that actors, nodes and clients exchange: frozen dataclasses with an integer tag, all of them encodable.

On one node the object itself is handed over; across a socket or a broadcast it goes as msgpack `[tag, {field: value}]`.
A message class says how a mailbox treats it: `control` messages overtake the others, `coalesced` ones are kept once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

import msgspec

from callboard.core.codec import FRAME_MAX_BYTES, decode, encode
from callboard.core.errors import CodecError
from callboard.core.records import (
    CancelRequest,
    Desired,
    FinishReceipt,
    NewJob,
    NodeInfo,
    PoolReport,
    SessionId,
    TakenJob,
    Term,
)

M = TypeVar("M")

_by_tag: dict[int, type[Message]] = {}
_tag_of: dict[type[Message], int] = {}


class Message:
    """Base of all messages."""

    __slots__ = ()
    control: ClassVar[bool] = False
    coalesced: ClassVar[bool] = False


@dataclass_transform(frozen_default=True)
def message(tag: int) -> Any:
    """Class decorator: a frozen dataclass, known by its tag. Tags are part of the protocol and never change."""

    def register(cls: type[Message]) -> type[Message]:
        made = dataclass(frozen=True)(cls)
        if tag in _by_tag:
            raise ValueError(f"tag {tag} is taken by {_by_tag[tag].__name__}")
        _by_tag[tag] = made
        _tag_of[made] = tag
        return made

    return register


def encode_message(value: Message, *, max_bytes: int = FRAME_MAX_BYTES) -> bytes:
    """A message as msgpack.

    Raises:
        PayloadTooLarge: Raised when it exceeds max_bytes.
    """
    fields = msgspec.to_builtins(value, builtin_types=(bytes,))
    return encode([_tag_of[type(value)], fields], max_bytes=max_bytes, what=type(value).__name__)


def decode_message(data: bytes | memoryview, *, max_bytes: int = FRAME_MAX_BYTES) -> Message:
    """A message from bytes that may be hostile.

    Unknown fields are let pass, as a newer node may send them; types and limits are checked.

    Raises:
        CodecError: Raised when the bytes, the tag or a field is not one of ours.
    """
    value = decode(data, max_bytes=max_bytes)
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], int):  # noqa: PLR2004 - [tag, fields]
        raise CodecError("a message is [tag, fields]")
    kind = _by_tag.get(value[0])
    if kind is None:
        raise CodecError(f"unknown message tag {value[0]}")
    try:
        return msgspec.convert(value[1], kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise CodecError(f"{kind.__name__}: {error}"[:300], cause=error) from error


def known_messages() -> dict[int, type[Message]]:
    """Tags and classes, for docs and tests."""
    return dict(_by_tag)


# Supervision (1 to 19) ------------------------------------------------------------------------------------------------


@message(1)
class Begin(Message):
    """The first message of an actor: everything that may fail at start is done here, under supervision.

    Attributes:
        restarted: this actor replaces one that died.
    """

    control: ClassVar[bool] = True
    restarted: bool = False


@message(2)
class ActorFailed(Message):
    """To Supervisor: the named actor died of an exception."""

    control: ClassVar[bool] = True
    actor: str
    error: str


@message(3)
class RestartActor(Message):
    """To Supervisor, by timer: start the named actor again."""

    control: ClassVar[bool] = True
    actor: str


@message(4)
class StopNode(Message):
    """To Supervisor: a graceful stop, at most grace_s seconds for what runs."""

    control: ClassVar[bool] = True
    grace_s: float
    reason: str = "asked"


@message(5)
class Hold(Message):
    """To Elector, Scheduler, Dispatcher, Workers: the node is stopping; start nothing more.

    Workers hand back what never started, let the rest end until the deadline, and answer with Drained.
    """

    control: ClassVar[bool] = True
    deadline_boot_s: float


@message(6)
class Drained(Message):
    """To Supervisor: this actor holds nothing any more."""

    control: ClassVar[bool] = True
    actor: str


@message(7)
class Resigned(Message):
    """To Supervisor: the Elector leads no longer and will not again."""

    control: ClassVar[bool] = True


@message(10)
class StopDue(Message):
    """Timer to Supervisor: a step of the graceful stop took too long."""

    control: ClassVar[bool] = True


@message(9)
class Hello(Message):
    """An actor that began asks Elector or Heartbeat to tell it again what is in force."""

    control: ClassVar[bool] = True
    actor: str


@message(8)
class Crash(Message):
    """Raise inside the actor: only tests send it, to show that supervision holds."""

    control: ClassVar[bool] = True
    text: str = "planted"


# Election (20 to 39) --------------------------------------------------------------------------------------------------


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


# Sessions and membership (40 to 59) -----------------------------------------------------------------------------------


@message(40)
class SessionOpened(Message):
    """Heartbeat to Dispatcher and Workers: the node lives in the store as this session."""

    control: ClassVar[bool] = True
    session: SessionId


@message(41)
class SessionOver(Message):
    """Heartbeat to Dispatcher and Workers: the session was ended; kill what runs, answer with Abandoned."""

    control: ClassVar[bool] = True
    session: SessionId


@message(42)
class Abandoned(Message):
    """Worker to Heartbeat: no child of the old session is left."""

    control: ClassVar[bool] = True
    pool: str


@message(43)
class LeaseExtended(Message):
    """Heartbeat to Workers: jobs may start until this instant of CLOCK_BOOTTIME."""

    control: ClassVar[bool] = True
    deadline_boot_s: float


@message(44)
class BeatDue(Message):
    """Timer to Heartbeat."""

    control: ClassVar[bool] = True
    coalesced: ClassVar[bool] = True


@message(45)
class PoolChanged(Message):
    """Worker to Heartbeat: slots or capacity changed notably."""

    report: PoolReport


@message(46)
class DesiredChanged(Message):
    """Heartbeat to Workers: what operators ordered for this node's queues; all of it."""

    desired: tuple[Desired, ...]


@message(47)
class CancelJobs(Message):
    """Heartbeat to Workers: operators want these running jobs stopped."""

    cancels: tuple[CancelRequest, ...]


@message(48)
class CloseSession(Message):
    """Supervisor to Heartbeat: the children are dead, leave the cluster and close the session; answer Drained."""

    control: ClassVar[bool] = True


@message(49)
class BeatAnswered(Message):
    """Heartbeat's own thread to Heartbeat: a beat came back.

    Attributes:
        started_boot_s: when the beat was sent; leases count from here.
        ended: the session is over.
        error: why it failed, else empty.
    """

    control: ClassVar[bool] = True
    started_boot_s: float
    desired: tuple[Desired, ...] = ()
    draining: bool = False
    cancels: tuple[CancelRequest, ...] = ()
    waiting: int = 0
    ended: bool = False
    error: str = ""


@message(53)
class OpenAnswered(Message):
    """Heartbeat's own thread to Heartbeat: the store was asked for a session.

    Attributes:
        session: None when it was not given.
        taken: because a node of the same name lives.
    """

    control: ClassVar[bool] = True
    started_boot_s: float
    session: SessionId | None = None
    taken: bool = False
    error: str = ""


@message(50)
class JoinCluster(Message):
    """Heartbeat to Cluster: register the node, or stay registered."""

    info: NodeInfo
    ttl_s: float


@message(51)
class LeaveCluster(Message):
    """Heartbeat to Cluster."""

    boot_id: str


# Work (60 to 79) ------------------------------------------------------------------------------------------------------


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


# Clients (80 to 119): what `callboard.Client` may tell or ask a Dispatcher --------------------------------------------


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

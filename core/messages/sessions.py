"""Messages of sessions and membership: tags 40 to 59."""

from __future__ import annotations

from typing import ClassVar

from callboard.core.messages.base import Message, message
from callboard.core.records import CancelRequest, Desired, NodeInfo, PoolReport, SessionId


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
        broken: it can't succeed again: the store is another, corrupt or too new.
    """

    control: ClassVar[bool] = True
    started_boot_s: float
    desired: tuple[Desired, ...] = ()
    draining: bool = False
    cancels: tuple[CancelRequest, ...] = ()
    waiting: int = 0
    ended: bool = False
    error: str = ""
    broken: bool = False


@message(53)
class OpenAnswered(Message):
    """Heartbeat's own thread to Heartbeat: the store was asked for a session.

    Attributes:
        session: None when it was not given.
        taken: because a session of the same node's name has not ended.
        broken: as in BeatAnswered.
        namesake: that session, as the store showed it right after.
        counter: that session's.
    """

    control: ClassVar[bool] = True
    started_boot_s: float
    session: SessionId | None = None
    taken: bool = False
    error: str = ""
    broken: bool = False
    namesake: SessionId | None = None
    counter: int = 0


@message(50)
class JoinCluster(Message):
    """Heartbeat to Cluster: register the node, or stay registered."""

    info: NodeInfo
    ttl_s: float


@message(54)
class AskMembers(Message):
    """Dispatcher to Cluster, in a term: who is a member? MembersSeen comes back, with this number."""

    number: int


@message(55)
class MembersSeen(Message):
    """Cluster to Dispatcher: the boot ids of the members.

    Attributes:
        boot_ids: None when the backend did not answer.
    """

    control: ClassVar[bool] = True
    number: int
    boot_ids: tuple[str, ...] | None


@message(51)
class LeaveCluster(Message):
    """Heartbeat to Cluster."""

    boot_id: str

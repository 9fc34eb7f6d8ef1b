"""The Heartbeat actor: keeps the node a member and its session alive, and tells the Workers how long to start jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.actors.base import CLUSTER, DISPATCHER, SUPERVISOR, WORKER, Actor, Parts, handles
from callboard.core.election import margin_s
from callboard.core.errors import Conflict, QueueError, SessionEnded, StoreError
from callboard.core.messages import (
    Abandoned,
    BeatAnswered,
    BeatDue,
    Begin,
    CancelJobs,
    CloseSession,
    DesiredChanged,
    Drained,
    Hello,
    JoinCluster,
    LeaseExtended,
    LeaveCluster,
    OpenAnswered,
    PoolChanged,
    Rung,
    SessionOpened,
    SessionOver,
)
from callboard.core.records import Desired, PoolReport, SessionId
from callboard.core.sessions import Namesake, wait_for
from callboard.core.suspicion import MEMBER_SHARE

if TYPE_CHECKING:
    from callboard.actors.lane import Lane
    from callboard.core.ports import Bell


class Heartbeat(Actor):
    """Beats from a thread of its own; a beat that fails is tried again, a session that ended is replaced."""

    def __init__(self, name: str, parts: Parts) -> None:
        """No session yet."""
        super().__init__(name, parts)
        self._lane: Lane | None = None
        self._bell: Bell | None = None
        self._session: SessionId | None = None
        self._deadline_s = 0.0
        self._reports = {pool.name: PoolReport(pool.name, pool.queues, pool.slots, 0) for pool in parts.config.pools}
        self._desired: tuple[Desired, ...] = ()
        self._waiting_for: set[str] = set()
        self._namesake: Namesake | None = None
        self._broken_since_s: float | None = None
        self._failing = False
        self._closing = False

    @handles(Begin)
    def begin(self, _message: Begin) -> None:
        """Open the session and join the cluster."""
        self._lane = self.lane("heartbeat")
        self._bell = self.parts.store.listen("nodes", self.teller(self.name, BeatDue()))
        self._open()

    # The session

    def _open(self) -> None:
        reports, info, ttl_s = tuple(self._reports.values()), self.parts.info, self.parts.config.session_ttl_s

        def call() -> None:
            started_s = self.now()
            try:
                session = self.parts.store.open_session(info, ttl_s, reports)
            except Conflict as error:
                self.tell_self(self._taken(started_s, str(error)))
            except QueueError as error:
                self.tell_self(OpenAnswered(started_s, error=str(error), broken=isinstance(error, StoreError)))
            else:
                self.tell_self(OpenAnswered(started_s, session))

        self._run(call)

    def _taken(self, started_s: float, error: str) -> OpenAnswered:
        """What the store says of the session that has this node's name."""
        name = self.parts.info.node
        try:
            other = next((view for view in self.parts.store.sessions() if view.info.node == name), None)
        except QueueError as again:
            return OpenAnswered(started_s, error=str(again), broken=isinstance(again, StoreError))
        if other is None:  # it has just ended
            return OpenAnswered(started_s, taken=True, error=error)
        return OpenAnswered(started_s, taken=True, error=error, namesake=other.session, counter=other.counter)

    @handles(BeatDue)
    def beat(self, _message: BeatDue) -> None:
        """Move the counter; open a session where there is none."""
        if self._waiting_for or self._closing:
            return
        if self._session is None:
            self._open()
            return
        session, reports = self._session, tuple(self._reports.values())

        def call() -> None:
            started_s = self.now()
            try:
                reply = self.parts.store.beat(session, reports)
            except SessionEnded:
                self.tell_self(BeatAnswered(started_s, ended=True))
            except QueueError as error:
                self.tell_self(BeatAnswered(started_s, error=str(error), broken=isinstance(error, StoreError)))
            else:
                self.tell_self(
                    BeatAnswered(started_s, reply.desired, reply.draining, reply.cancels, reply.waiting))

        self._run(call)

    @handles(BeatAnswered)
    def answered(self, message: BeatAnswered) -> None:
        """A beat came back."""
        if self._closing:
            return
        self.later(self.parts.config.session_ttl_s / 4, BeatDue())
        if message.ended:
            self._over()
        elif message.error:
            self._failed(message)
        else:
            self._beaten(message)

    @handles(OpenAnswered)
    def opened(self, message: OpenAnswered) -> None:
        """The store gave a session, or did not."""
        if self._closing or self._session is not None:
            return
        self.later(self.parts.config.session_ttl_s / 4, BeatDue())
        if message.taken:
            self._name_taken(message)
        elif message.session is None:
            self._failed(message)
        else:
            self._session = message.session
            self._begin_session(message)

    def _begin_session(self, message: OpenAnswered) -> None:
        if self._session is None:
            return
        self._namesake = self._broken_since_s = None
        self.emit("heartbeat.session_opened", session=self._session)
        self._extend(message.started_boot_s)
        self.tell(DISPATCHER, SessionOpened(self._session))
        self.parts.directory.tell_all(WORKER, SessionOpened(self._session))
        self._join()
        self.later(0.0, BeatDue())

    def _beaten(self, message: BeatAnswered) -> None:
        self._broken_since_s = None
        if self._failing:
            self._failing = False
            self.emit("heartbeat.store_back")
        self._extend(message.started_boot_s)
        self._join()
        if message.desired != self._desired:
            self._desired = message.desired
            self.parts.directory.tell_all(WORKER, DesiredChanged(message.desired))
        if message.cancels:
            self.parts.directory.tell_all(WORKER, CancelJobs(message.cancels))
        if message.waiting:
            self.parts.directory.tell_all(WORKER, Rung())

    def _join(self) -> None:
        self.tell(CLUSTER, JoinCluster(self.parts.info, MEMBER_SHARE * self.parts.config.session_ttl_s))

    def _extend(self, started_s: float) -> None:
        ttl_s = self.parts.config.session_ttl_s
        self._deadline_s = max(self._deadline_s, started_s + ttl_s - margin_s(ttl_s))
        self.parts.directory.tell_all(WORKER, LeaseExtended(self._deadline_s))

    def _failed(self, message: BeatAnswered | OpenAnswered) -> None:
        """An outage is waited for. A store that is another, corrupt or too new ends the node, unless it comes back."""
        if not self._failing:
            self._failing = True
            self.emit("heartbeat.store_away", error=message.error)
        if not message.broken:
            self._broken_since_s = None
        elif self._broken_since_s is None:
            self._broken_since_s = message.started_boot_s
        elif message.started_boot_s - self._broken_since_s > self.parts.config.session_ttl_s:
            self.parts.exit_node(1, message.error)

    def _over(self) -> None:
        """The leader ended this session: nothing of it may go on, then a new one begins."""
        session = self._session
        if session is None:
            return
        self.emit("heartbeat.session_ended", session=session)
        self._session = None
        self._deadline_s = 0.0
        self._waiting_for = {name for name in self.parts.directory.names(WORKER)
                             if self.tell(name, SessionOver(session))}
        self.tell(DISPATCHER, SessionOver(session))
        if not self._waiting_for:
            self._open()

    @handles(Abandoned)
    def abandoned(self, message: Abandoned) -> None:
        """No child of the old session is left in this pool."""
        self._waiting_for.discard(f"{WORKER}{message.pool}")
        if not self._waiting_for and self._session is None and not self._closing:
            self._open()

    def _name_taken(self, message: OpenAnswered) -> None:
        """Wait for a dead namesake's session to end; a living one means that this node was started wrongly."""
        if self._namesake is None:
            self.emit("heartbeat.name_taken", error=message.error)
        patience_s = 2 * self.parts.config.session_ttl_s + 2 * self.parts.config.lease_ttl_s
        if message.namesake is not None:
            self._namesake, lives = wait_for(self._namesake, message.namesake, message.counter,
                                             message.started_boot_s, patience_s)
            if lives:
                self.parts.exit_node(1, message.error)
        self.later(0.5, BeatDue())

    # What others tell

    @handles(Hello)
    def hello(self, message: Hello) -> None:
        """An actor that began wants to know the session in force."""
        worker = message.actor.startswith(WORKER)
        if worker:
            self.tell(message.actor, DesiredChanged(self._desired))
        if self._session is not None:
            if worker:
                self.tell(message.actor, LeaseExtended(self._deadline_s))
            self.tell(message.actor, SessionOpened(self._session))
        elif worker:  # one that died between SessionOver and Abandoned holds nothing either
            self.abandoned(Abandoned(message.actor.removeprefix(WORKER)))

    @handles(PoolChanged)
    def pool_changed(self, message: PoolChanged) -> None:
        """Tell the leader about a pool's slots and capacity."""
        self._reports[message.report.name] = message.report
        session, reports = self._session, tuple(self._reports.values())
        if session is None:
            return

        def call() -> None:
            try:
                self.parts.store.report(session, reports)
            except QueueError as error:  # the next beat says it again, and finds an ended session
                self.emit("heartbeat.report_failed", error=str(error))

        self._run(call)

    @handles(CloseSession)
    def close_session(self, _message: CloseSession) -> None:
        """The children are dead: end the session, leave the cluster."""
        self._closing = True
        self.tell(CLUSTER, LeaveCluster(self.parts.info.boot_id))
        session = self._session

        def call() -> None:
            if session is not None:
                try:
                    released = self.parts.store.close_session(session)
                    self.emit("heartbeat.session_closed", session=session, handed_back=released.handed_back,
                              lost=released.lost)
                except QueueError as error:  # the leader will end it when its counter stands still
                    self.emit("heartbeat.close_failed", error=str(error))
            self.tell(SUPERVISOR, Drained(self.name))

        self._run(call)

    def _run(self, call: object) -> None:
        if self._lane is not None:
            self._lane.run(call)  # type: ignore[arg-type]  # a local function without arguments

    def release(self) -> None:
        """Close the thread and the bell; the session lives on until its ttl, and is taken up again."""
        if self._bell is not None:
            self._bell.close()
        if self._lane is not None:
            self._lane.close()

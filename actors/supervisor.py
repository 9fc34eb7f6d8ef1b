"""The Supervisor actor: starts the others, restarts one that died, stops the node in order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from callboard.actors.base import (
    CLUSTER,
    DISPATCHER,
    ELECTOR,
    HEARTBEAT,
    SCHEDULER,
    WORKER,
    Actor,
    Parts,
    handles,
    start_actor,
)
from callboard.actors.cluster import Cluster
from callboard.actors.dispatcher import Dispatcher
from callboard.actors.elector import Elector
from callboard.actors.heartbeat import Heartbeat
from callboard.actors.scheduler import Scheduler
from callboard.actors.worker import Worker
from callboard.core.messages import (
    ActorFailed,
    Begin,
    CloseSession,
    Drained,
    Hello,
    Hold,
    Resigned,
    RestartActor,
    StopDue,
    StopNode,
)
from callboard.core.restart import Intensity, Restarts, restart

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from callboard.core.config import PoolConfig

STOP_MARGIN_S = 5.0
"""What a graceful stop may take beyond its grace: killing children, the last acks, closing the session."""
HURRY_MARGIN_S = 2.0
"""The same, once it was asked for a second time: a store that is away holds nobody up who is in a hurry."""
GAVE_UP_EXIT_CODE = 1
"""The process's exit code when an actor died too often."""


class Supervisor(Actor):
    """One for one: an actor that died is started again, until it dies too often; then the node ends."""

    def __init__(self, name: str, parts: Parts) -> None:
        """Nobody is started yet."""
        super().__init__(name, parts)
        config = parts.config
        self._intensity = Intensity(config.restart_max, config.restart_within_s)
        self._restarts: dict[str, Restarts] = {}
        self._makers: dict[str, Callable[[bool], Any]] = {
            CLUSTER: lambda again: start_actor(Cluster, CLUSTER, parts, restarted=again),
            ELECTOR: lambda again: start_actor(Elector, ELECTOR, parts, restarted=again),
            HEARTBEAT: lambda again: start_actor(Heartbeat, HEARTBEAT, parts, restarted=again),
            DISPATCHER: lambda again: start_actor(Dispatcher, DISPATCHER, parts, restarted=again),
            SCHEDULER: lambda again: start_actor(Scheduler, SCHEDULER, parts, restarted=again),
        }
        for pool in config.pools:
            worker = WORKER + pool.name
            self._makers[worker] = partial(_start_worker, worker, parts, pool)
        self._stopping = False
        self._margin_s = STOP_MARGIN_S
        self._waiting_for: set[str] = set()
        self._then: Callable[[], None] = self._close_session

    @handles(Begin)
    def begin(self, _message: Begin) -> None:
        """Start everyone."""
        for name, make in self._makers.items():
            self.parts.restarts[name] = 0
            make(False)  # noqa: FBT003 - the makers' one argument
        self.emit("supervisor.started", actors=sorted(self._makers))

    def on_failure(self, exception_type: type[BaseException] | None, exception_value: BaseException | None,
                   traceback: TracebackType | None) -> None:
        """Nobody restarts the Supervisor: the node ends."""
        del exception_type, traceback
        self._released.set()
        self.parts.timers.cancel_all(self.name)
        self._end(GAVE_UP_EXIT_CODE, f"the supervisor died: {type(exception_value).__name__}: {exception_value}")

    @handles(Hello)
    def hello(self, _message: Hello) -> None:
        """The node asks whether everyone was started: the answer comes behind Begin."""

    @handles(ActorFailed)
    def actor_failed(self, message: ActorFailed) -> None:
        """Restart the actor that died, or give the node up."""
        name = message.actor
        if name not in self._makers:
            return
        self.emit("supervisor.actor_died", died=name, error=message.error)
        if self._stopping:  # what it held is closed; a stop does not wait for it
            self._arrived(name)
            return
        self._restarts[name], again = restart(self._restarts.get(name, Restarts()), self._intensity, self.now())
        if not again:
            self.emit("supervisor.gave_up", died=name, restarts=self._intensity.max_restarts,
                      within_s=self._intensity.window_s)
            self._end(GAVE_UP_EXIT_CODE, f"{name} died more than {self._intensity.max_restarts} times "
                                         f"within {self._intensity.window_s:g} s: {message.error}")
            return
        self._restart(name)

    @handles(RestartActor)
    def restart_actor(self, message: RestartActor) -> None:
        """Start an actor anew."""
        self._restart(message.actor)

    def _restart(self, name: str) -> None:
        self.parts.restarts[name] += 1
        self._makers[name](True)  # noqa: FBT003 - the makers' one argument
        self.emit("supervisor.restarted", restarted=name, times=self.parts.restarts[name])

    # Stopping: resign and hold, then wait for the Workers, then close the session, then end

    @handles(StopNode)
    def stop_node(self, message: StopNode) -> None:
        """Stop gracefully; asked again, at once: what runs is killed."""
        deadline_s = self.now() + message.grace_s
        if self._stopping:
            if message.grace_s == 0.0:
                self.emit("supervisor.stop_hurried")
                self.parts.directory.tell_all(WORKER, Hold(deadline_s))
                self._margin_s = HURRY_MARGIN_S
                self.later(self._margin_s, StopDue())
            return
        self._stopping = True
        self.emit("supervisor.stopping", reason=message.reason, grace_s=message.grace_s)
        self._waiting_for = {ELECTOR, *self.parts.directory.names(WORKER)}
        for name in (ELECTOR, SCHEDULER, DISPATCHER, *self.parts.directory.names(WORKER)):
            if not self.tell(name, Hold(deadline_s)):
                self._waiting_for.discard(name)
        self.later(message.grace_s + self._margin_s, StopDue())
        self._arrived("")

    @handles(Resigned)
    def resigned(self, _message: Resigned) -> None:
        """The Elector leads no longer."""
        self._arrived(ELECTOR)

    @handles(Drained)
    def drained(self, message: Drained) -> None:
        """A Worker holds nothing, or the session is closed."""
        self._arrived(message.actor)

    @handles(StopDue)
    def stop_due(self, _message: StopDue) -> None:
        """Somebody did not answer in time: go on without."""
        self.emit("supervisor.stop_late", missing=sorted(self._waiting_for))
        self._waiting_for.clear()
        self._arrived("")

    def _arrived(self, name: str) -> None:
        if not self._stopping:
            return
        self._waiting_for.discard(name)
        if not self._waiting_for:
            self._then()

    def _close_session(self) -> None:
        self._then = self._stopped
        self._waiting_for = {HEARTBEAT}
        self.later(self._margin_s, StopDue())
        if not self.tell(HEARTBEAT, CloseSession()):
            self._arrived(HEARTBEAT)

    def _stopped(self) -> None:
        self._then = _nothing
        self.emit("supervisor.stopped")
        self._end(0, "stopped")

    def _end(self, code: int, reason: str) -> None:
        """End every other actor; the node's owner ends the rest."""
        self._stopping = True
        self._then = _nothing
        self.parts.exit_node(code, reason)


def _start_worker(name: str, parts: Parts, pool: PoolConfig, again: bool) -> None:  # noqa: FBT001 - as the other makers
    start_actor(Worker, name, parts, pool, restarted=again)


def _nothing() -> None:
    """After the end."""



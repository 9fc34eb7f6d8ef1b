"""What all our actors share: a mailbox of ours, handlers by message class, events, and a death that is reported."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import pykka

from callboard.actors.lane import Lane
from callboard.actors.mailbox import Mailbox
from callboard.core.envelope import ClusterKeys
from callboard.core.errors import QueueError
from callboard.core.gate import Replays
from callboard.core.messages import ActorFailed, Begin, Crash, Message, decode_message, encode_message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from callboard.actors.ends import Left, PoolState
    from callboard.actors.timers import Timers
    from callboard.core.config import NodeConfig
    from callboard.core.ports import Clock, ClusterBackend, ExecutorHost, JobStore
    from callboard.core.records import NodeInfo

A = TypeVar("A", bound="Actor")

SUPERVISOR = "supervisor"
CLUSTER = "cluster"
ELECTOR = "elector"
HEARTBEAT = "heartbeat"
DISPATCHER = "dispatcher"
SCHEDULER = "scheduler"
WORKER = "worker:"
"""Prefix of the Workers' names; the pool's name follows."""


class PlantedError(Exception):
    """Raised by a Crash message: only tests send it."""


class ActorCrashError(QueueError):
    """Raised in place of a BaseException inside an actor: pykka would stop every actor of the process for it."""


class Directory:
    """Names to living actors. Telling a name whose actor is dead or restarting does nothing: state is read again."""

    def __init__(self, *, roundtrip: bool = False) -> None:
        """Begin empty; with `roundtrip` every message is encoded and decoded on its way (tests)."""
        self._refs: dict[str, pykka.ActorRef[Any]] = {}
        self._released: dict[str, threading.Event] = {}
        self._roundtrip = roundtrip

    def begin(self, name: str) -> threading.Event:
        """An actor of that name begins; the event is to be set when it has ended and closed what it held."""
        released = threading.Event()
        self._released = {**self._released, name: released}
        return released

    def wait_released(self, name: str, timeout_s: float) -> bool:
        """Wait until the actor has ended and closed what it held: pykka's `actor_stopped` is set before that."""
        released = self._released.get(name)
        return released is None or released.wait(timeout_s)

    def add(self, name: str, ref: pykka.ActorRef[Any]) -> None:
        """Make a name known, or point it to the actor that replaces a dead one."""
        self._refs = {**self._refs, name: ref}  # copied, so that readers in other threads need no lock

    def ref(self, name: str) -> pykka.ActorRef[Any] | None:
        """The actor of that name, or None."""
        return self._refs.get(name)

    def names(self, prefix: str = "") -> tuple[str, ...]:
        """Known names."""
        return tuple(name for name in self._refs if name.startswith(prefix))

    def tell(self, name: str, message: Message) -> bool:
        """Hand a message over; whether a living actor took it.

        Raises:
            QueueFull: Raised when its mailbox is full of work.
        """
        ref = self._refs.get(name)
        if ref is None:
            return False
        try:
            ref.tell(decode_message(encode_message(message)) if self._roundtrip else message)
        except pykka.ActorDeadError:
            return False
        return True

    def tell_all(self, prefix: str, message: Message) -> None:
        """Hand a message to every actor whose name begins so."""
        for name in self.names(prefix):
            self.tell(name, message)


def _no_answer(_message: Message) -> Message | None:
    return None


@dataclass(frozen=True)
class Parts:
    """What an actor is given: the node's values and its ports to the outside.

    Attributes:
        emit: writes an event: `emit(actor, event, **fields)`; the fields node and epoch are added below it.
        wants_jobs: someone follows single jobs' ends (callbacks, events at debug).
        exit_node: ends the process's node with an exit code.
        keys: what broadcasts are signed and verified with.
        replays: which broadcasts came: outlives the actor that hears them.
        answer: the answer to what the node knows without an actor (its jobs, its events); None to anything else.
        epoch: one cell: the epoch this node leads in, for events.
        pools: each Worker's view of its pool, for status.
        restarts: each actor's restarts so far.
        left: what a Worker that died in good order left to its successor: what else that finds running and unknown has
            never started.
    """

    config: NodeConfig
    info: NodeInfo
    store: JobStore
    cluster: ClusterBackend
    host: ExecutorHost
    clock: Clock
    timers: Timers
    directory: Directory
    emit: Callable[..., None]
    wants_jobs: Callable[[], bool]
    exit_node: Callable[[int, str], None]
    keys: ClusterKeys = field(default_factory=ClusterKeys)
    replays: Replays = field(default_factory=Replays)
    answer: Callable[[Message], Message | None] = _no_answer
    epoch: list[int] = field(default_factory=lambda: [0])
    pools: dict[str, PoolState] = field(default_factory=dict[str, "PoolState"])
    restarts: dict[str, int] = field(default_factory=dict[str, int])
    left: dict[str, Left] = field(default_factory=dict[str, "Left"])


def handles(*kinds: type[Message]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a method as the handler of these message classes."""

    def mark(method: Callable[..., Any]) -> Callable[..., Any]:
        method._handles = kinds  # type: ignore[attr-defined]  # noqa: SLF001 - our own mark, read in __init_subclass__
        return method

    return mark


class Actor(pykka.ThreadingActor):
    """Base of our actors."""

    _handlers: ClassVar[Mapping[type[Message], str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Collect the handlers by message class."""
        super().__init_subclass__(**kwargs)
        cls._handlers = {
            kind: name
            for base in reversed(cls.__mro__)
            for name, value in base.__dict__.items()
            for kind in getattr(value, "_handles", ())
        }

    def __init__(self, name: str, parts: Parts) -> None:
        """Keep the name and the parts; nothing here may fail."""
        super().__init__()
        self.name = name
        self.parts = parts
        self._released = parts.directory.begin(name)
        self._bound = {kind: getattr(self, method) for kind, method in self._handlers.items()}

    use_daemon_thread = True  # a node that gives up must be able to end, whatever an actor waits for

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox()

    def lane(self, name: str) -> Lane:
        """A thread of this actor's own for blocking I/O; if it dies, the actor dies with it and is restarted whole."""
        return Lane(name, lambda error: self.tell_self(ActorFailed(self.name, f"{type(error).__name__}: {error}")))

    @handles(ActorFailed)
    def lane_died(self, message: ActorFailed) -> None:
        """A thread of this actor died."""
        raise QueueError(f"a thread of {self.name} died: {message.error}")

    def tell_self(self, message: Message) -> None:
        """From a thread of this actor: answer it, if it still lives."""
        with suppress(pykka.ActorDeadError):
            self.actor_ref.tell(message)

    def on_receive(self, message: Any) -> Any:
        """Call the handler of the message's class."""
        if type(message) is Crash:
            raise PlantedError(message.text)
        kind = cast("type[Message]", type(message))  # others find no handler below
        handler = self._bound.get(kind)
        if handler is None:
            self.emit("actor.unexpected_message", message=kind.__name__)
            return None
        try:
            return handler(message)
        except Exception:
            raise
        except BaseException as error:
            raise ActorCrashError(f"{type(error).__name__}: {error}", cause=error) from error

    def on_failure(self, exception_type: type[BaseException] | None, exception_value: BaseException | None,
                   traceback: TracebackType | None) -> None:
        """Close what the actor held and report the death to the Supervisor."""
        del exception_type, traceback
        text = f"{type(exception_value).__name__}: {exception_value}"[:500]
        try:
            self.release()
        finally:
            self._released.set()
            self.parts.timers.cancel_all(self.name)
            self.parts.directory.tell(SUPERVISOR, ActorFailed(self.name, text))

    def on_stop(self) -> None:
        """Close what the actor held."""
        self.parts.timers.cancel_all(self.name)
        try:
            self.release()
        finally:
            self._released.set()

    def release(self) -> None:
        """Close what the actor holds: threads, bells, children. Called once, at its stop or death."""

    def emit(self, event: str, **fields: Any) -> None:
        """Write an event."""
        self.parts.emit(self.name, event, **fields)

    def tell(self, name: str, message: Message) -> bool:
        """Hand a message to another actor by name."""
        return self.parts.directory.tell(name, message)

    def teller(self, name: str, message: Message) -> Callable[[], None]:
        """A function for bells and watches: tells `name` the message, from whatever thread calls it."""
        directory = self.parts.directory

        def call() -> None:
            directory.tell(name, message)

        return call

    def later(self, delay_s: float, message: Message) -> None:
        """Tell oneself a message after delay_s; an earlier one of the same class that still waits is replaced."""
        self.parts.timers.after(delay_s, self.name, message)

    def now(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        return self.parts.clock.boot_s()


def start_actor(kind: type[A], name: str, parts: Parts, *args: Any, restarted: bool = False) -> pykka.ActorRef[A]:
    """Start an actor, make its name known and tell it to begin."""
    ref = kind.start(name, parts, *args)
    parts.directory.add(name, ref)
    ref.tell(Begin(restarted=restarted))
    return ref


def name_thread(name: str) -> None:
    """Name the calling thread, for py-spy and logs."""
    threading.current_thread().name = name

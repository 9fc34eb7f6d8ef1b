"""Messages of starting, dying and stopping: tags 1 to 19."""

from __future__ import annotations

from typing import ClassVar

from callboard.core.messages.base import Message, message


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

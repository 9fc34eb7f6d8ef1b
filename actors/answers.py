"""Asking an actor from a thread that must not wait: the answer calls back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka
from pykka._envelope import Envelope  # pykka's own ask() makes the same; it has no name for it outside

from callboard.core.errors import QueueError
from callboard.core.messages import Message, Refused

if TYPE_CHECKING:
    from collections.abc import Callable


class Answer(pykka.ThreadingFuture[Any]):
    """A reply that is handed on as soon as it is there, from the actor's thread."""

    def __init__(self, callback: Callable[[Any], None]) -> None:
        """`callback` takes the answer, or the exception that came instead; it must not block."""
        super().__init__()
        self._callback = callback

    def set(self, value: Any = None) -> None:
        """The actor's answer."""
        super().set(value)
        self._callback(value)

    def set_exception(self, exc_info: Any = None) -> None:
        """The handler raised, or the actor died first."""
        super().set_exception(exc_info)
        try:
            self.get(timeout=0)
        except Exception as error:  # noqa: BLE001 - whatever the handler raised is the answer
            self._callback(error)


def ask_later(ref: pykka.ActorRef[Any] | None, message: Message, callback: Callable[[Any], None]) -> None:
    """Ask an actor; `callback` gets the answer or an exception, once. It may never come: set a time limit of your own.

    Raises:
        QueueFull: Raised when the actor's mailbox is full; nothing was asked.
        pykka.ActorDeadError: Raised when there is no such living actor.
    """
    if ref is None or not ref.is_alive():
        raise pykka.ActorDeadError("the actor is being restarted")
    ref.actor_inbox.put(Envelope(message, reply_to=Answer(callback)))


def message_of(answer: object) -> Message:
    """What an actor answered, or why it did not."""
    if isinstance(answer, Message):
        return answer
    if isinstance(answer, pykka.ActorDeadError):
        return Refused("Unavailable", "the node is starting, stopping, or restarting its dispatcher; try again")
    if isinstance(answer, QueueError):
        return Refused(type(answer).__name__, answer.message)
    return Refused("QueueError", f"a bug of ours: {type(answer).__name__}: {answer}"[:500])

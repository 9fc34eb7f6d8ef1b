"""A bounded mailbox with a control lane; nobody ever blocks on putting into it.

pykka's own inbox is unbounded and first in, first out. Here control messages (stop, election, sessions) overtake work,
messages that say `coalesced` wait once however often they are sent, and work beyond the bound is refused to its sender.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from callboard.core.errors import QueueFull
from callboard.core.messages import Message

if TYPE_CHECKING:
    from pykka._envelope import Envelope

MAILBOX_MAX = 10_000
"""Work messages that wait at most; control messages are few and always taken."""


class Mailbox:
    """Two lanes behind one condition; the ActorInbox that pykka asks for."""

    def __init__(self, limit: int = MAILBOX_MAX) -> None:
        """Begin empty, with a bound for work messages."""
        self._limit = limit
        self._ready = threading.Condition(threading.Lock())
        self._control: deque[Envelope[Any]] = deque()
        self._work: deque[Envelope[Any]] = deque()
        self._waiting: set[Message] = set()

    def put(self, envelope: Envelope[Any], /) -> None:
        """Queue an envelope.

        Raises:
            QueueFull: Raised when it is work and the bound is reached; nothing was queued.
        """
        message = envelope.message
        ours = isinstance(message, Message)
        with self._ready:
            if ours and message.coalesced and envelope.reply_to is None:
                if message in self._waiting:
                    return
                self._waiting.add(message)
            if not ours or message.control:  # pykka's own stop message is control, too
                self._control.append(envelope)
            elif len(self._work) < self._limit:
                self._work.append(envelope)
            else:
                raise QueueFull(f"the mailbox is full ({self._limit:,} messages wait); try again later")
            self._ready.notify()

    def get(self) -> Envelope[Any]:
        """The next envelope, control first; waits for one."""
        with self._ready:
            while not self._control and not self._work:
                self._ready.wait()
            envelope = self._control.popleft() if self._control else self._work.popleft()
            message = envelope.message
            if isinstance(message, Message) and message.coalesced:
                self._waiting.discard(message)
            return envelope

    def empty(self) -> bool:
        """Nothing waits."""
        with self._ready:
            return not self._control and not self._work

    def __len__(self) -> int:
        """How many wait."""
        with self._ready:
            return len(self._control) + len(self._work)

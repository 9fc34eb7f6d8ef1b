"""A bounded mailbox with a control lane; nobody ever blocks on putting into it.

pykka's own inbox is unbounded and first in, first out. Here control messages (stop, election, sessions) overtake all;
messages that say `coalesced` (bells, ticks, wake-ups) wait once however often they are sent, in a lane that takes turns
with work, so that neither holds the other up. Work beyond the bound is refused to its sender.
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
"""Work messages that wait at most. Control messages are few, coalesced ones as many as their kinds: always taken."""


class Mailbox:
    """Three lanes behind one condition; the ActorInbox that pykka asks for."""

    def __init__(self, limit: int = MAILBOX_MAX) -> None:
        """Begin empty, with a bound for work messages."""
        self._limit = limit
        self._ready = threading.Condition(threading.Lock())
        self._control: deque[Envelope[Any]] = deque()
        self._hints: deque[Envelope[Any]] = deque()
        self._work: deque[Envelope[Any]] = deque()
        self._waiting: set[Message] = set()
        self._hints_turn = True

    def put(self, envelope: Envelope[Any], /) -> None:
        """Queue an envelope.

        Raises:
            QueueFull: Raised when it is work and the bound is reached; nothing was queued.
        """
        message = envelope.message
        ours = isinstance(message, Message)
        with self._ready:
            hint = ours and message.coalesced and envelope.reply_to is None
            if hint:
                if message in self._waiting:
                    return
                self._waiting.add(message)
            if not ours or message.control:  # pykka's own stop message is control, too
                self._control.append(envelope)
            elif hint:
                self._hints.append(envelope)
            elif len(self._work) < self._limit:
                self._work.append(envelope)
            else:
                raise QueueFull(f"the mailbox is full ({self._limit:,} messages wait); try again later")
            self._ready.notify()

    def get(self) -> Envelope[Any]:
        """The next envelope, control first; waits for one."""
        with self._ready:
            while not (self._control or self._hints or self._work):
                self._ready.wait()
            envelope = self._next_lane().popleft()
            message = envelope.message
            if isinstance(message, Message) and message.coalesced:
                self._waiting.discard(message)
            return envelope

    def _next_lane(self) -> deque[Envelope[Any]]:
        if self._control:
            return self._control
        if self._hints and (self._hints_turn or not self._work):
            self._hints_turn = False
            return self._hints
        self._hints_turn = True
        return self._work

    def empty(self) -> bool:
        """Nothing waits."""
        with self._ready:
            return not (self._control or self._hints or self._work)

    def __len__(self) -> int:
        """How many wait."""
        with self._ready:
            return len(self._control) + len(self._hints) + len(self._work)

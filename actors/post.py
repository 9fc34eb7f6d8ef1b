"""The Cluster actor's broadcasts: what comes is judged before it is believed, and answered within a deadline."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pykka

from callboard.actors.answers import ask_later, message_of
from callboard.actors.base import CLUSTER, DISPATCHER, HEARTBEAT
from callboard.core.commandcheck import told_of
from callboard.core.envelope import CLIENT, PROGRAM_MARK, Kind, Sealed, Sender, parts_of, unseal
from callboard.core.errors import CodecError, PayloadTooLarge, QueueError, QueueFull, Unserialisable
from callboard.core.gate import Gate
from callboard.core.messages import (
    CLIENT_MESSAGES,
    AskEvents,
    AskStatus,
    BeatDue,
    Message,
    Nudge,
    PostDue,
    Refused,
    decode_message,
    encode_message,
)
from callboard.core.refusals import EVERY_S, Refusals
from callboard.core.socketmessages import AskJobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.actors.base import Parts
    from callboard.actors.lane import Lane
    from callboard.core.envelope import Envelope
    from callboard.core.ports import Bell

WAITING_MAX: Final = 256
"""Broadcasts for this node that wait to be judged: 16 MiB at most. What comes then is refused."""
ASKED_MAX: Final = 64
"""Requests that are with an actor."""
MEMBERS_EVERY_S: Final = 1.0
"""How often the backend is asked who is a member, at most, because an unknown sender spoke."""
SUBSCRIBE_AGAIN_S: Final = 1.0
REQUESTS: Final = (*CLIENT_MESSAGES, AskJobs, AskEvents)
"""What may be asked by broadcast, of one node by its boot id."""
FOR_ALL: Final = (Nudge, AskStatus, AskJobs)
"""What may be said to every node: it changes nothing, so a node that was restarted may hear it again."""


class Post:
    """All of it happens on a thread of its own, but for the first look: that is the backend's thread."""

    def __init__(self, parts: Parts, lane: Lane, emit: Callable[..., None]) -> None:
        """Nothing is open yet."""
        self._parts = parts
        self._lane = lane
        self._emit = emit
        self._me = parts.info.boot_id
        self._gate = Gate(parts.cluster.cluster_id, parts.keys, parts.replays)
        self._sender = Sender(parts.cluster.cluster_id, self._me, parts.keys)
        self._bell: Bell | None = None
        self._failing = self._closed = False
        self._lock = threading.Lock()
        self._waiting = 0
        self._refusals = Refusals(lambda reason, times: emit("cluster.message_refused", reason=reason, times=times))
        self._asked: dict[tuple[str, str], float] = {}
        self._members: frozenset[str] = frozenset()
        self._members_s = -MEMBERS_EVERY_S

    # From the actor

    def due(self) -> None:
        """Subscribe, where that has not been done; write the refusals that wait."""
        with self._lock:
            self._refusals.flush(self._now())
            if self._refusals.due_s is not None:
                self._again(EVERY_S)
        self._lane.run(self._subscribe)

    def nudge(self) -> None:
        """Have the other nodes look at the store."""
        self._lane.run(lambda: self._send(Kind.TELL, encode_message(Nudge())))

    def close(self) -> None:
        """Hear no more."""
        self._closed = True
        if self._bell is not None:
            self._bell.close()

    # On the lane, and what the backend's thread calls

    def _now(self) -> float:
        return self._parts.clock.boot_s()

    def _again(self, delay_s: float) -> None:
        self._parts.timers.after(delay_s, CLUSTER, PostDue())

    def _subscribe(self) -> None:
        if self._bell is not None or self._closed:
            return
        try:
            bell = self._parts.cluster.subscribe(self._heard)
        except QueueError as error:
            if not self._failing:
                self._emit("cluster.subscribe_failed", error=str(error))
            self._failing = True
            self._again(SUBSCRIBE_AGAIN_S)
            return
        self._bell, self._failing = bell, False
        self._emit("cluster.listening")
        self._close_late()

    def _close_late(self) -> None:
        """The actor may have ended while the backend was asked."""
        if self._closed and self._bell is not None:
            self._bell.close()

    def _heard(self, data: bytes) -> None:
        """A broadcast, from the backend's thread: keep it if it is for this node and there is room. Never waits."""
        if data.startswith(PROGRAM_MARK):
            return
        try:
            sealed = unseal(data)
        except CodecError:
            self._refuse("not readable")
            return
        if sealed.envelope.target not in ("", self._me) or sealed.envelope.sender == self._me:
            return
        with self._lock:
            full = self._waiting >= WAITING_MAX
            if not full:
                self._waiting += 1
        if full:
            self._refuse("too many at once")
        else:
            self._lane.run(partial(self._take, sealed))

    def _refuse(self, reason: str) -> None:
        with self._lock:
            self._refusals.add(reason, self._now())
            if self._refusals.due_s is not None:
                self._again(EVERY_S)

    def _take(self, sealed: Sealed) -> None:
        with self._lock:
            self._waiting -= 1
        if self._closed:
            return
        envelope = sealed.envelope
        reason = self._gate.refusal(sealed, self._known, self._parts.clock.wall_s())
        if reason:
            self._refuse(reason)
            return
        try:
            message = decode_message(envelope.body)
        except CodecError:
            self._refuse("no message of ours")
            return
        self._serve(envelope, message)

    def _known(self, sender: str) -> bool:
        """A client, or a member. Asks the backend when that is not known, at most once a second."""
        if sender.startswith(CLIENT):
            return True
        age_s = self._now() - self._members_s
        if age_s < MEMBERS_EVERY_S or (sender in self._members and age_s < self._parts.config.session_ttl_s):
            return sender in self._members
        self._members_s = self._now()
        try:
            self._members = frozenset(info.boot_id for info in self._parts.cluster.nodes())
        except QueueError as error:  # as before; whoever registers or campaigns tells of the outage
            self._refuse(f"members unknown: {type(error).__name__}")
        return sender in self._members

    def _serve(self, envelope: Envelope, message: Message) -> None:
        for_all = not envelope.target
        if envelope.parts != 1 or (for_all and not isinstance(message, FOR_ALL)):
            self._refuse("not for all nodes")
        elif envelope.kind == Kind.TELL and isinstance(message, Nudge):
            self._parts.directory.tell(HEARTBEAT, BeatDue())
        elif envelope.kind == Kind.REQUEST and isinstance(message, REQUESTS):
            self._request(envelope, message)
        else:
            self._refuse("not allowed")

    # Requests

    def _request(self, envelope: Envelope, message: Message) -> None:
        now_s = self._now()
        for key in [key for key, until_s in self._asked.items() if now_s >= until_s]:
            del self._asked[key]  # its asker waits no longer
        if len(self._asked) >= ASKED_MAX:
            self._reply(envelope, Refused("QueueFull", f"{ASKED_MAX} requests are being answered; try again later"))
            return
        if (about := told_of(message)) is not None and isinstance(message, CLIENT_MESSAGES):
            self._emit("cluster.command", sender=envelope.sender, **about)
        answer = self._parts.answer(message)
        if answer is not None:
            self._reply(envelope, answer)
            return
        key = (envelope.sender, envelope.correlation)
        self._asked[key] = now_s + envelope.timeout_s

        def answered(found: object) -> None:
            self._lane.run(lambda: self._answered(envelope, found))

        try:
            ask_later(self._parts.directory.ref(DISPATCHER), message, answered)
        except (QueueFull, pykka.ActorDeadError) as error:
            self._answered(envelope, error)

    def _answered(self, envelope: Envelope, found: object) -> None:
        """An actor answered; nobody waits for what comes after the deadline."""
        if self._now() < self._asked.pop((envelope.sender, envelope.correlation), 0.0):
            self._reply(envelope, message_of(found))

    def _reply(self, envelope: Envelope, message: Message) -> None:
        try:
            parts = parts_of(encode_message(message))
        except (PayloadTooLarge, Unserialisable) as error:
            parts = (encode_message(Refused(type(error).__name__, error.message)),)
        for number, part in enumerate(parts):
            self._send(Kind.REPLY, part, target=envelope.sender, correlation=envelope.correlation, part=number,
                       parts=len(parts))

    def _send(self, kind: Kind, body: bytes, **about: Any) -> None:
        try:
            self._parts.cluster.broadcast(self._sender.seal(kind, body, self._parts.clock.wall_s(), **about))
        except QueueError as error:
            self._emit("cluster.send_failed", kind=kind.name.lower(), error=str(error))

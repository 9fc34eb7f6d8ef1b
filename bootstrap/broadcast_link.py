"""A client's way to nodes whose sockets it can't reach: questions and answers by the cluster backend's broadcast."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.clock import SystemClock
from callboard.core.envelope import CLIENT, TIMEOUT_MAX_S, Kind, Sender, unseal
from callboard.core.errors import CodecError, QueueError, Unavailable
from callboard.core.gate import Gate
from callboard.core.messages import (
    AskEvents,
    EventPage,
    FollowEvents,
    Message,
    Nudge,
    Refused,
    decode_message,
    encode_message,
)
from callboard.link import ASK_S, error_of
from callboard.stores import mask_url, open_cluster, scheme_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from callboard.core.envelope import ClusterKeys, Envelope
    from callboard.core.messages import EventLine
    from callboard.core.ports import ClusterBackend

EVENTS_EVERY_S: Final = 1.0
"""How often a node is asked for new events: two broadcasts a second for each node that is followed from afar."""
TRIES: Final = 3


class _Asked:
    """A request that waits for answers."""

    def __init__(self, targets: frozenset[str]) -> None:
        self.targets = targets
        self.parts: dict[str, dict[int, bytes]] = {}
        self.answers: dict[str, Message] = {}

    def add(self, envelope: Envelope) -> None:
        """One part of an answer; the message once all are there. Bounded: a node has 17 parts at most."""
        parts = self.parts.setdefault(envelope.sender, {})
        parts[envelope.part] = envelope.body
        if len(parts) < envelope.parts:
            return
        try:
            self.answers[envelope.sender] = decode_message(b"".join(parts[number] for number in sorted(parts)))
        except CodecError as error:
            self.answers[envelope.sender] = Refused("CodecError", error.message)


class BroadcastLink:
    """One client's. Opened when it is first needed; safe between threads."""

    def __init__(self, url: str, keys: ClusterKeys) -> None:
        """`url` is the cluster backend's address."""
        self._url = url
        self._keys = keys
        self._me = f"{CLIENT}{secrets.token_hex(8)}"
        self._clock = SystemClock()
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._asked: dict[str, _Asked] = {}
        self._backend: ClusterBackend | None = None
        self._sender: Sender | None = None
        self._gate: Gate | None = None

    def ask(self, boot_id: str, message: Message, timeout_s: float = ASK_S) -> Message:
        """Ask one node, and wait for its answer.

        Raises:
            Unavailable: Raised when the backend can't be reached, or no answer came in time.
            QueueError: Raised when the node refused it; of the class that it names.
            PayloadTooLarge: Raised when the request exceeds what a broadcast carries (62 KiB); nothing was sent.
        """
        answer = self._ask((boot_id,), boot_id, message, timeout_s).get(boot_id)
        if answer is None:
            raise Unavailable(f"no answer came through {mask_url(self._url)} within {timeout_s:g} s: the node may be "
                              "gone, or use another cluster backend (--cluster) or key (CALLBOARD_CLUSTER_KEY)")
        if isinstance(answer, Refused):
            raise error_of(answer)
        return answer

    def ask_each(self, boot_ids: Sequence[str], message: Message, timeout_s: float) -> dict[str, Message]:
        """Ask several nodes at once, by one broadcast; what those said that answered in time. Raises Unavailable."""
        return self._ask(boot_ids, "", message, timeout_s)

    def nudge(self) -> None:
        """Have all nodes look at the store. Raises Unavailable."""
        self._send(Kind.TELL, encode_message(Nudge()))

    def close(self) -> None:
        """Close the backend, unless it lives in this process and is others' too. Harmless when repeated."""
        with self._sending:
            backend, self._backend = self._backend, None
        if backend is not None and scheme_of(self._url, "cluster") != "memory":
            backend.close()

    def _ask(self, boot_ids: Sequence[str], target: str, message: Message, timeout_s: float) -> dict[str, Message]:
        body = encode_message(message)
        correlation = secrets.token_hex(8)
        asked = _Asked(frozenset(boot_ids))
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            self._asked[correlation] = asked
        try:
            self._send(Kind.REQUEST, body, target=target, correlation=correlation,
                       timeout_s=min(timeout_s, TIMEOUT_MAX_S))
            with self._changed:
                self._changed.wait_for(lambda: len(asked.answers) == len(asked.targets),
                                       max(0.0, deadline_s - time.monotonic()))
                return dict(asked.answers)
        finally:
            with self._changed:
                del self._asked[correlation]

    def _send(self, kind: Kind, body: bytes, **about: Any) -> None:
        with self._sending:
            backend, sender = self._open()
            backend.broadcast(sender.seal(kind, body, self._clock.wall_s(), **about))

    def _open(self) -> tuple[ClusterBackend, Sender]:
        """Under the lock of those that send."""
        if self._backend is None or self._sender is None:
            backend = open_cluster(self._url, self._clock)
            self._gate = Gate(backend.cluster_id, self._keys)
            self._sender = Sender(backend.cluster_id, self._me, self._keys)
            try:
                backend.subscribe(self._heard)
            except QueueError:
                backend.close()
                raise
            self._backend = backend
        return self._backend, self._sender

    def _heard(self, data: bytes) -> None:
        """From the backend's thread; what is refused here is nobody's loss, and the request's time runs out."""
        try:
            sealed = unseal(data)
        except CodecError:
            return
        envelope = sealed.envelope
        if envelope.target != self._me or envelope.kind != Kind.REPLY:
            return
        with self._changed:
            asked = self._asked.get(envelope.correlation)
            if asked is None or self._gate is None:
                return
            if not self._gate.refusal(sealed, asked.targets.__contains__, self._clock.wall_s()):
                asked.add(envelope)
                self._changed.notify_all()


class BroadcastEvents:
    """A node's events by the page; used as a `Link` is for them."""

    def __init__(self, link: BroadcastLink, boot_id: str) -> None:
        """Nothing is asked yet."""
        self._link = link
        self._boot_id = boot_id
        self._closed = threading.Event()

    def follow(self, wanted: FollowEvents) -> Iterator[EventLine]:
        """Events as they come, until it is closed. Raises Unavailable, QueueError."""
        after = -1
        while not self._closed.is_set():
            page = self._page(AskEvents(wanted, after))
            yield from page.lines
            after = page.next
            if not page.more and (not wanted.follow or self._closed.wait(EVENTS_EVERY_S)):
                return

    def close(self) -> None:
        """Ask no more. Harmless when repeated."""
        self._closed.set()

    def _page(self, asked: AskEvents) -> EventPage:
        for tries_left in reversed(range(TRIES if asked.wanted.follow else 1)):
            try:
                answer = self._link.ask(self._boot_id, asked, ASK_S / TRIES)
            except Unavailable:
                if not tries_left or self._closed.is_set():
                    raise
                continue
            if not isinstance(answer, EventPage):
                raise CodecError(f"{type(answer).__name__} came for a page of events")
            return answer
        raise AssertionError  # unreachable: the last try returns or raises

"""A client's connection to a node's socket."""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from callboard.backends.runtime_dir import is_private
from callboard.control_socket import FOLDER, SUFFIX, peer_uid
from callboard.core import errors
from callboard.core.errors import CodecError, QueueError, Unavailable
from callboard.core.frames import HEADER_BYTES, body_length, frame
from callboard.core.messages import EventLine, EventsEnd, FollowEvents, Message, Refused, decode_message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

CONNECT_S: Final = 2
"""How long a connection may take: the node only has to take it."""
TRIES: Final = 3
ASK_S: Final = 10.0
"""How long an answer is waited for, unless the caller says otherwise."""


class ConnectionLost(Unavailable):
    """Raised when the node closed the connection before it answered: it is ending, or had too many connections."""


class Link:
    """One connection; a context manager. To be used by one thread at a time."""

    def __init__(self, path: str) -> None:
        """Connect, and see that a process of this user is at the other end.

        Raises:
            Unavailable: Raised when no node listens there, or the path is not where nodes' sockets are.
        """
        self.path = path
        check_path(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # A full backlog is waited for by the kernel alone: with Python's own timeout connect() fails at once.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", CONNECT_S, 0))
        try:
            self._socket.connect(path)
            uid = peer_uid(self._socket)
        except OSError as error:
            self._socket.close()
            raise Unavailable(f"no node answers at {path}: {error.strerror or error}", cause=error) from error
        if uid != os.geteuid():
            self._socket.close()
            raise Unavailable(f"the process that listens at {path} is of another user ({uid})")

    def ask(self, message: Message, timeout_s: float = ASK_S) -> Message:
        """Send a request and wait for its answer; one at a time.

        Raises:
            Unavailable: Raised when the answer did not come in time, or the node went away.
            QueueError: Raised when the node refused it; of the class that the node names.
            CodecError: Raised when what came is no message of ours.
            PayloadTooLarge: Raised when the request exceeds 1 MiB; nothing was sent.
        """
        data = frame(message)
        deadline_s = time.monotonic() + timeout_s
        self._send(data, deadline_s)
        answer = self._receive(deadline_s)
        if isinstance(answer, Refused):
            raise error_of(answer)
        return answer

    def tell(self, message: Message) -> None:
        """Send a request whose answer nobody reads. Raises Unavailable, PayloadTooLarge."""
        self._send(frame(message), time.monotonic() + CONNECT_S)

    def follow(self, wanted: FollowEvents) -> Iterator[EventLine]:
        """Events as they come, until the node ends or the link is closed from another thread. Raises as ask."""
        self._send(frame(wanted), time.monotonic() + ASK_S)
        while True:
            answer = self._receive(None if wanted.follow else time.monotonic() + ASK_S)
            match answer:
                case EventLine():
                    yield answer
                case EventsEnd():
                    return
                case Refused():
                    raise error_of(answer)
                case _:
                    raise CodecError(f"{type(answer).__name__} came in a stream of events")

    def close(self) -> None:
        """Close it; a thread that waits in it gets Unavailable. Harmless when repeated."""
        with suppress(OSError):  # not connected any more
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> Self:
        """The link itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def _send(self, data: bytes, deadline_s: float) -> None:
        try:
            self._socket.settimeout(_left_s(deadline_s))
            self._socket.sendall(data)
        except OSError as error:
            reason = str(error)
            with suppress(QueueError):  # the node may have refused before it read everything, and said why
                answer = self._receive(time.monotonic() + CONNECT_S)
                reason = answer.text if isinstance(answer, Refused) else reason
            raise ConnectionLost(f"the node at {self.path} went away: {reason}", cause=error) from error

    def _receive(self, deadline_s: float | None) -> Message:
        length = body_length(self._exactly(HEADER_BYTES, deadline_s))
        return decode_message(self._exactly(length, deadline_s))

    def _exactly(self, count: int, deadline_s: float | None) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                self._socket.settimeout(None if deadline_s is None else _left_s(deadline_s))
                more = self._socket.recv(min(count - len(data), 1 << 16))
            except TimeoutError as error:
                raise Unavailable(f"the node at {self.path} did not answer in time", cause=error) from error
            except (OSError, ValueError) as error:  # ValueError: closed by another thread
                raise ConnectionLost(f"the node at {self.path} went away: {error}", cause=error) from error
            if not more:
                raise ConnectionLost(f"the node at {self.path} closed the connection")
            data += more
        return bytes(data)


def ask(path: str, message: Message, timeout_s: float = ASK_S) -> Message:
    """Ask over a connection of its own; tried again where that was lost, as every request may safely be sent twice.

    Raises as `Link` and `Link.ask` do.
    """
    for tries_left in reversed(range(TRIES)):
        try:
            with Link(path) as link:
                return link.ask(message, timeout_s)
        except ConnectionLost:
            if not tries_left:
                raise
    raise AssertionError  # unreachable: the last try returns or raises


def is_ours(path: str) -> bool:
    """Whether a path, which comes from the store, is one where a node of this user on this machine may listen."""
    try:
        check_path(path)
    except Unavailable:
        return False
    return True


def check_path(path: str) -> None:
    """See that a path, which comes from the store, is one where nodes' sockets are, and nobody else can have put it.

    Raises:
        Unavailable: Raised when it is not.
    """
    folder = Path(path).parent
    if not (path.isprintable() and path.startswith("/") and path.endswith(SUFFIX) and folder.name == FOLDER
            and folder.parent.name.startswith("callboard") and is_private(folder)):
        raise Unavailable(f"{path!r} is not the socket of a node of this user on this machine")


def error_of(refused: Refused) -> QueueError:
    """The error that a node names, by a class of ours; an unknown one becomes QueueError."""
    kind = _errors().get(refused.error, QueueError)
    return kind(refused.text)


def _errors() -> dict[str, type[QueueError]]:
    """Errors that are made from a message alone; PushOutcomeUnknown and those of handlers are not."""
    plain = {name: kind for name, kind in vars(errors).items()
             if isinstance(kind, type) and issubclass(kind, QueueError) and kind.__init__ is QueueError.__init__}
    return plain | {"PushOutcomeUnknown": errors.StoreUnavailable}


def _left_s(deadline_s: float) -> float:
    return max(0.001, deadline_s - time.monotonic())

"""A node's Unix socket: commands, questions and events for clients of the same user on the same machine.

One thread serves all connections. What a client sends is bounded before it is kept, decoded only when whole, and
answered by the Dispatcher without this thread waiting for it; a client that is slow costs a place among 64, no more.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pykka

from callboard.actors.answers import ask_later, message_of
from callboard.actors.base import DISPATCHER
from callboard.control_connection import Connection, Stream
from callboard.control_socket import ControlSocket, open_control_socket, peer_uid
from callboard.core.commandcheck import told_of
from callboard.core.errors import CodecError, QueueFull
from callboard.core.messages import (
    CLIENT_MESSAGES,
    FollowEvents,
    Message,
    Refused,
    decode_message,
)
from callboard.core.refusals import Refusals
from callboard.core.socketmessages import AskJobs
from callboard.node_answers import known_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.actors.base import Directory
    from callboard.core.ports import Clock
    from callboard.core.runs import JobSpec
    from callboard.logs import EventLog

CONNECTIONS_MAX: Final = 64
INPUT_MAX_BYTES: Final = 8 << 20
"""Limit of all unfinished frames together."""
ACCEPTS_MAX: Final = 64
"""Connections taken in one go, so that a flood of them leaves time for those that are there."""
CLOSE_S: Final = 1.0
"""How long the end of the node waits for followers to read its last events."""
PAUSE_S: Final = 1.0
"""How long no connection is taken when the process has no descriptor left."""


class ControlServer:
    """Serves one node's socket, from `open` to `close`."""

    def __init__(self, log: EventLog, clock: Clock, directory: Directory,
                 specs: Callable[[], Sequence[JobSpec]]) -> None:
        """Nothing is open yet; `log` is what clients may follow, `specs` the jobs that the node's app defines."""
        self._log = log
        self._clock = clock
        self._directory = directory
        self._specs = specs
        self._uid = os.geteuid()
        self._socket: ControlSocket | None = None
        self._selector = selectors.DefaultSelector()
        self._connections: dict[int, Connection] = {}
        self._numbers = 0
        self._refusals = Refusals(lambda reason, times: self._emit("control.refused", reason=reason, times=times))
        self._answers: deque[tuple[int, object]] = deque()
        self._more: deque[int] = deque()
        self._waker, self._woken = socket.socketpair()
        self._waker.settimeout(0)
        self._woken.settimeout(0)
        self._accept_again_s: float | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="callboard-control", daemon=True)

    def open(self, store: str, node: str) -> str:
        """Listen, and serve from a thread; the socket's path, for NodeInfo. Raises as open_control_socket."""
        self._socket = open_control_socket(store, node)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self._socket.listener, selectors.EVENT_READ)
        self._thread.start()
        return str(self._socket.path)

    def close(self) -> None:
        """Give followers the last events, end the thread, remove the socket's file. Harmless when repeated."""
        self._closing = True
        self._wake()
        if self._thread.is_alive():
            self._thread.join()
        if self._socket is not None:
            self._socket.close()
        for end in (self._waker, self._woken):
            end.close()

    def _emit(self, event: str, **fields: Any) -> None:
        self._log.emit("control", event, **fields)

    def _wake(self) -> None:
        """From any thread."""
        with suppress(OSError):  # full: it is awake; closed: it has ended
            self._waker.send(b"!")

    # The thread

    def _run(self) -> None:
        try:
            while not self._closing:
                self._turn(self._wait_s())
            self._farewell()
        except Exception as error:  # noqa: BLE001 - a bug of ours: the node goes on without its socket, and says so
            self._emit("control.failed", error=f"the socket is no longer served: {type(error).__name__}: {error}"[:500])
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._selector.close()

    def _farewell(self) -> None:
        """Give followers a moment to read the last events."""
        end_s = self._clock.boot_s() + CLOSE_S
        for connection in list(self._connections.values()):
            if connection.stream is None:
                self._drop(connection)
            else:
                connection.stream.end()
                self._write(connection)
        if self._socket is not None and self._accept_again_s is None:
            self._selector.unregister(self._socket.listener)
        while any(c.writing for c in self._connections.values()) and (left_s := end_s - self._clock.boot_s()) > 0:
            self._turn(left_s)

    def _wait_s(self) -> float | None:
        times = [c.deadline_s for c in self._connections.values() if c.stream is None or c.out]
        times += [at_s for at_s in (self._accept_again_s, self._refusals.due_s) if at_s is not None]
        return max(0.0, min(times) - self._clock.boot_s()) if times else None

    def _turn(self, wait_s: float | None) -> None:
        for key, mask in self._selector.select(wait_s):
            if key.data is not None:
                self._guarded(key.data, lambda c, mask=mask: self._ready(c, mask))  # type: ignore[misc]  # mypy can't infer a lambda with a default
            elif key.fileobj is self._woken:
                self._hear()
            else:
                self._accept()
        self._expire(self._clock.boot_s())

    def _guarded(self, connection: Connection, act: Callable[[Connection], None]) -> None:
        """Do something for one connection; a bug of ours there ends that connection, not the others."""
        if self._connections.get(connection.number) is not connection:
            return
        try:
            act(connection)
        except Exception as error:  # noqa: BLE001 - reported; the other clients and the node go on
            self._emit("control.failed", error=f"{type(error).__name__}: {error}"[:500])
            self._drop(connection)

    def _hear(self) -> None:
        """Answers have come, or lines for followers."""
        with suppress(OSError):
            while self._woken.recv(4096):
                pass
        while self._answers:
            number, answer = self._answers.popleft()
            connection = self._connections.get(number)
            if connection is not None and connection.pending:
                self._guarded(connection, lambda c, answer=answer: self._answer(c, message_of(answer)))  # type: ignore[misc]  # as in _turn
        for _ in range(len(self._more)):
            connection = self._connections.get(self._more.popleft())
            if connection is not None:
                self._guarded(connection, self._next)
        for connection in list(self._connections.values()):
            if connection.stream is not None:
                self._guarded(connection, self._write)

    def _expire(self, now_s: float) -> None:
        self._refusals.flush(now_s)
        if self._accept_again_s is not None and now_s >= self._accept_again_s and self._socket is not None:
            self._accept_again_s = None
            self._selector.register(self._socket.listener, selectors.EVENT_READ)
        for connection in list(self._connections.values()):
            if not connection.overdue(now_s):
                continue
            if connection.pending:
                connection.closing = True
                self._answer(connection, Refused("Unavailable", "the node did not answer in time; a command may still "
                                                                "be carried out"))
            else:
                if len(connection.buffer) or connection.out:
                    self._refuse("too slow")
                self._drop(connection)

    # Connections

    def _accept(self) -> None:
        for _ in range(ACCEPTS_MAX):
            if self._socket is None:
                return
            try:
                client, _ = self._socket.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # no descriptors left: the socket stays ready, so look away for a while
                self._refuse(f"accept: {error.strerror}")
                self._selector.unregister(self._socket.listener)
                self._accept_again_s = self._clock.boot_s() + PAUSE_S
                return
            self._admit(client)

    def _admit(self, client: socket.socket) -> None:
        client.settimeout(0)
        if (uid := peer_uid(client)) != self._uid:
            self._refuse(f"user {uid}")
            client.close()
        elif len(self._connections) >= CONNECTIONS_MAX and not self._make_room():
            self._refuse(f"{CONNECTIONS_MAX} connections are open")
            client.close()
        else:
            self._numbers += 1
            connection = Connection(client, self._numbers, self._clock.boot_s())
            self._connections[self._numbers] = connection
            self._selector.register(client, selectors.EVENT_READ, connection)

    def _make_room(self) -> bool:
        """End the connection that has gone longest without a request; those that are being served stay."""
        while True:
            waiting = [connection for connection in self._connections.values() if connection.reading]
            if not waiting:
                return False
            oldest = min(waiting, key=lambda connection: connection.rested_s)
            rested_s = oldest.rested_s
            self._guarded(oldest, lambda c: self._ready(c, selectors.EVENT_READ))  # its request may just have come
            if len(self._connections) < CONNECTIONS_MAX:
                return True
            if oldest.reading and oldest.rested_s == rested_s:
                self._refuse("too slow, and others wait for the place")
                self._drop(oldest)
                return True

    def _refuse(self, reason: str) -> None:
        self._refusals.add(reason, self._clock.boot_s())

    def _drop(self, connection: Connection) -> None:
        self._connections.pop(connection.number, None)
        with suppress(KeyError, ValueError):  # not registered while it waits for an answer
            self._selector.unregister(connection.sock)
        connection.close()

    def _ready(self, connection: Connection, mask: int) -> None:
        now_s = self._clock.boot_s()
        if mask & selectors.EVENT_WRITE:
            self._write(connection)
        elif not connection.read(now_s):
            self._drop(connection)
        elif connection.stream is not None and len(connection.buffer):
            self._refuse("spoke while it was following events")
            self._drop(connection)
        else:
            self._next(connection)

    def _write(self, connection: Connection) -> None:
        if not connection.write(self._clock.boot_s()):
            self._drop(connection)
        else:
            self._next(connection)

    def _answer(self, connection: Connection, message: Message) -> None:
        if not connection.answer(message, self._clock.boot_s()):
            self._drop(connection)
        else:
            self._next(connection)

    def _next(self, connection: Connection) -> None:
        """Serve the next request if it is whole; the one behind it has its turn after the other clients'."""
        if connection.reading:
            try:
                body = connection.buffer.take()
                if body is not None:
                    self._serve(connection, decode_message(body))
            except CodecError as error:
                self._refuse("bad frame")
                connection.closing = True
                self._done(connection, connection.answer(Refused("CodecError", error.message), self._clock.boot_s()))
            else:
                if body is not None and connection.reading and len(connection.buffer):
                    self._more.append(connection.number)
                    self._wake()
        self._limit_input()
        self._watch(connection)

    def _limit_input(self) -> None:
        if sum(len(c.buffer) for c in self._connections.values()) > INPUT_MAX_BYTES:
            self._refuse("too many unfinished frames")
            self._drop(max(self._connections.values(), key=lambda c: len(c.buffer)))

    def _watch(self, connection: Connection) -> None:
        """Have the selector look at what this connection is about to do."""
        if self._connections.get(connection.number) is not connection:
            return
        events = selectors.EVENT_READ if connection.reading or connection.stream is not None else 0
        events |= selectors.EVENT_WRITE if connection.writing else 0
        known = self._selector.get_map().get(connection.sock)
        if known is None and events:
            self._selector.register(connection.sock, events, connection)
        elif known is not None and not events:
            self._selector.unregister(connection.sock)
        elif known is not None and known.events != events:
            self._selector.modify(connection.sock, events, connection)

    # Requests

    def _serve(self, connection: Connection, message: Message) -> None:
        now_s = self._clock.boot_s()
        if isinstance(message, AskJobs):
            self._done(connection, connection.answer(known_jobs(self._specs(), message), now_s))
        elif isinstance(message, FollowEvents):
            connection.stream = Stream(self._log, message, self._wake)
            self._done(connection, connection.write(now_s))
        elif isinstance(message, CLIENT_MESSAGES):
            self._ask(connection, message, now_s)
        else:
            raise CodecError(f"{type(message).__name__} is no request")

    def _done(self, connection: Connection, alive: bool) -> None:  # noqa: FBT001 - what write and answer return
        if not alive:
            self._drop(connection)

    def _ask(self, connection: Connection, message: Message, now_s: float) -> None:
        if (about := told_of(message)) is not None:
            self._emit("control.command", **about)
        number = connection.number

        def answered(answer: object) -> None:
            self._answers.append((number, answer))
            self._wake()

        connection.ask(now_s)
        try:
            ask_later(self._directory.ref(DISPATCHER), message, answered)
        except (QueueFull, pykka.ActorDeadError) as error:
            self._done(connection, connection.answer(message_of(error), now_s))

"""One connection to a node's socket: bounded buffers, and how long it may take for what."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from callboard.core.errors import PayloadTooLarge, Unserialisable
from callboard.core.frames import FrameBuffer, frame
from callboard.core.messages import EventLine, EventsEnd, FollowEvents, Message, Refused
from callboard.logs import passes, to_json

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from callboard.logs import EventLog

READ_BYTES: Final = 64 << 10
"""What is read at once."""
FRAME_READ_S: Final = 5.0
"""How long a frame may take from its first byte, and a new connection until its first byte."""
IDLE_S: Final = 60.0
"""How long a connection may rest between two requests."""
ANSWER_S: Final = 30.0
"""How long an actor's answer is waited for."""
WRITE_S: Final = 10.0
"""How long a client may take to read anything of what waits for it."""
LINES_MAX: Final = 2_000
"""Events that wait for one follower; what comes then is counted and dropped."""
LINE_CHARS_MAX: Final = 64 << 10
"""Limit of an event's JSON; of a longer one only the main fields are sent."""
OUT_LOW_BYTES: Final = 64 << 10
"""Events are encoded when less than this waits to be sent."""
_MAIN_FIELDS: Final = ("time", "level", "event", "actor", "node", "job")


class Follower:
    """Takes events from whatever thread emits them; the control thread fetches them."""

    def __init__(self, wanted: FollowEvents, wake: Callable[[], None]) -> None:
        """Take what passes the filter; `wake` tells the control thread."""
        self._wanted = wanted
        self._wake = wake
        self._lock = threading.Lock()
        self._lines: deque[dict[str, Any]] = deque()
        self._lost = 0

    def __call__(self, line: dict[str, Any]) -> None:
        """One event. Never blocks."""
        if not passes(line, self._wanted):
            return
        with self._lock:
            first = not self._lines
            if len(self._lines) >= LINES_MAX:
                self._lost += 1
                return
            self._lines.append(line)
        if first:
            self._wake()

    def take(self) -> tuple[dict[str, Any], int] | None:
        """The next event, and how many were lost before it."""
        with self._lock:
            if not self._lines:
                return None
            lost, self._lost = self._lost, 0
            return self._lines.popleft(), lost


class Stream:
    """Events on their way to one client: the kept ones, then, if it follows, what comes."""

    def __init__(self, log: EventLog, wanted: FollowEvents, wake: Callable[[], None]) -> None:
        """Begin to follow before the kept ones are read, so that none falls between."""
        self._follower = Follower(wanted, wake)
        self._unfollow = log.follow(self._follower) if wanted.follow else _nothing
        self._kept = deque(log.kept(wanted))
        self._seen = {id(line): line for line in self._kept}  # the lines too, so that no id is used again
        self._follow = wanted.follow
        self._ended = False

    def frames(self, room: int) -> bytes:
        """About `room` bytes of what waits, as frames; the end of the stream with the last of it."""
        out = bytearray()
        while len(out) < room and not self._ended:
            if self._kept:
                out += frame(event_line(self._kept.popleft(), 0))
            elif (came := self._follower.take()) is not None:
                if id(came[0]) not in self._seen:
                    out += frame(event_line(*came))
            elif self._follow:
                self._seen.clear()  # whatever was both kept and followed has gone out by now
                break
            else:
                self._ended = True
                out += frame(EventsEnd())
        return bytes(out)

    def end(self) -> None:
        """Follow no more; what waits still goes out, then the end."""
        self._unfollow()
        self._follow = False

    @property
    def ended(self) -> bool:
        """The end was handed out."""
        return self._ended


class Connection:
    """A client. All methods are the control thread's."""

    def __init__(self, sock: socket.socket, number: int, now_s: float) -> None:
        """A new client has five seconds for its first frame."""
        self.sock = sock
        self.number = number
        self.buffer = FrameBuffer()
        self.out = bytearray()
        self.pending = False
        self.stream: Stream | None = None
        self.more = False
        self.closing = False
        self.rested_s = now_s
        self.deadline_s = now_s + FRAME_READ_S

    @property
    def reading(self) -> bool:
        """It may send a request; else what it sends waits in the kernel."""
        return not (self.pending or self.stream or self.closing or self.out)

    def read(self, now_s: float) -> bool:
        """Take what has come; False when the client is gone."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if data and not len(self.buffer):
            self.deadline_s = now_s + FRAME_READ_S
        self.buffer.add(data)
        return bool(data)

    def ask(self, now_s: float) -> None:
        """A request is with an actor."""
        self.pending = True
        self.deadline_s = now_s + ANSWER_S

    def answer(self, message: Message, now_s: float) -> bool:
        """Send an answer, or a refusal where it is too long; returns as write does."""
        try:
            data = frame(message)
        except (PayloadTooLarge, Unserialisable) as error:
            data = frame(Refused(type(error).__name__, error.message))
        self.pending = False
        self._put(data, now_s)
        return self.write(now_s)

    def write(self, now_s: float) -> bool:
        """Send what the client takes; False when it is gone, or has got everything and is to be closed."""
        if self.stream is not None and len(self.out) < OUT_LOW_BYTES:
            fresh = self.stream.frames(OUT_LOW_BYTES)
            self.more = bool(fresh)
            self._put(fresh, now_s)
            if self.stream.ended:
                self.stream, self.more = None, False
        try:
            sent = self.sock.send(self.out) if self.out else 0
        except BlockingIOError:
            return True
        except OSError:
            return False
        if sent:
            del self.out[:sent]
            self.deadline_s = now_s + WRITE_S
        if self.out or self.pending:
            return True
        self.rested_s = now_s
        self.deadline_s = now_s + (FRAME_READ_S if len(self.buffer) else IDLE_S)
        return not self.closing

    def _put(self, data: bytes, now_s: float) -> None:
        if data and not self.out:
            self.deadline_s = now_s + WRITE_S
        self.out += data

    @property
    def writing(self) -> bool:
        """Something waits to be sent."""
        return bool(self.out) or self.more

    def overdue(self, now_s: float) -> bool:
        """It took too long. One that follows and has read everything may wait for ever."""
        return now_s >= self.deadline_s and not (self.stream is not None and not self.out)

    def close(self) -> None:
        """Close it, and follow no more."""
        if self.stream is not None:
            self.stream.end()
        self.sock.close()


def event_line(line: dict[str, Any], lost: int) -> EventLine:
    """An event for a client; of one that is too long only the main fields."""
    text = to_json(line)
    if len(text) > LINE_CHARS_MAX:
        text = to_json({name: line.get(name) for name in _MAIN_FIELDS} | {"too_long_chars": len(text)})
    return EventLine(text, lost)


def _nothing() -> None:
    """Nothing was followed."""

"""What children of all kinds share: their end of the socket and of the shared memory, and the account they give."""

from __future__ import annotations

import os
import resource
import socket
import sys
import traceback
from dataclasses import dataclass
from typing import Any, Final

from callboard.backends.executors.childio import LOST_NODE, Channel, Output
from callboard.backends.executors.runjob import Ending, Runs
from callboard.backends.executors.shared import LEASE, MASK, REVOKED, SharedState
from callboard.backends.executors.wire import READ_BYTES, FrameReader, FromChild, frame
from callboard.core.childdeath import SlotState
from callboard.core.errors import CodecError
from callboard.core.runs import EndKind

STARTED: Final = int(SlotState.STARTED)
COMPLETED: Final = int(SlotState.COMPLETED)
REPORTED: Final = int(SlotState.REPORTED)
WAKE_RUNS: Final = 64
"""A child tells of so many completions at the latest."""
WAKE_NS: Final = 2_000_000
"""A child that tells of completions later than this after the first of them does it before its next job."""

_STACK_BYTES: Final = 8 << 20
_NOTHING: Final = (None, False, None, None, 0.0, None)


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """What a child is told when it is made.

    Attributes:
        kind: process, thread or asyncio.
        memory_max_bytes: limit of its data.
    """

    kind: str
    slots: int
    memory_max_bytes: int
    lines_per_s: int
    line_max: int

    def fields(self) -> list[Any]:
        """For the wire."""
        return [self.kind, self.slots, self.memory_max_bytes, self.lines_per_s, self.line_max]

    @classmethod
    def of(cls, fields: list[Any]) -> ChildSettings:
        """From the wire."""
        return cls(*fields)


class Account:
    """What one thread of a child has completed and not told of yet."""

    def __init__(self, channel: Channel) -> None:
        """Begin with nothing."""
        self.unsaid = 0
        self._channel = channel
        self._stats: dict[str, list[int]] = {}
        self._since_ns = 0

    def add(self, name: str, start_ns: int, end_ns: int) -> None:
        """A job of this name ran; tells of all if that is much, or the job took long."""
        entry = self._stats.get(name)
        if entry is None:
            self._stats[name] = [1, end_ns - start_ns]
        else:
            entry[0] += 1
            entry[1] += end_ns - start_ns
        if self.unsaid == 0:
            self._since_ns = start_ns
        self.unsaid += 1
        if self.unsaid >= WAKE_RUNS or end_ns - self._since_ns > WAKE_NS:
            self.say()

    def say_if_old(self, now_ns: int) -> None:
        """Tell of what would wait for the next job's end."""
        if self.unsaid and now_ns - self._since_ns > WAKE_NS:
            self.say()

    def say(self) -> None:
        """Tell the node to look at the ring."""
        stats, self._stats = self._stats, {}
        self.unsaid = 0
        self._channel.send(frame(FromChild.WAKE, [[name, count, total] for name, (count, total) in stats.items()]))


class ChildBase:
    """A child's state.

    Attributes:
        forked: this is not the child but a process that one of its jobs forked: it must never run our loop.
    """

    def __init__(self, sock: socket.socket, memory: SharedState, settings: ChildSettings, output: Output) -> None:
        """Connect the parts; nothing runs yet."""
        self.settings = settings
        self.memory = memory
        self.channel = Channel(sock)
        self.output = output
        self.runs = Runs(self.channel.note, output.progress)
        self.reader = FrameReader()
        self.forked = False
        output.connect(self.channel, settings.lines_per_s, settings.line_max)
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self.forked = True
        self.channel.closed = True
        self.output.disconnect()

    def serve(self) -> None:
        """Run jobs until the node says END."""
        raise NotImplementedError

    def leave_fork(self, error: BaseException | None) -> None:
        """End a process that a job forked and that came out of the job's code. Never returns."""
        status: object = 0
        if isinstance(error, SystemExit):
            status = error.code
        elif error is not None:
            traceback.print_exception(error)
            status = 1
        if status is not None and not isinstance(status, int):
            sys.stderr.write(f"{status}\n")
            status = 1
        os._exit((status or 0) & 0xFF)

    def receive(self, *, wait: bool) -> list[list[Any]]:
        """Frames that came; with wait at least one. A child whose node is gone ends here."""
        while True:
            try:
                data = self.channel.sock.recv(READ_BYTES, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return []
            except OSError:
                os._exit(LOST_NODE)
            if not data:
                os._exit(LOST_NODE)
            try:
                frames = self.reader.feed(data)
            except CodecError:
                os._exit(LOST_NODE)
            if frames:
                return frames

    def may_start(self, index: int, now_ns: int) -> bool:
        """Whether this job, which is marked as started, may run; if not, the node has been told."""
        words = self.memory.words
        if index < words[REVOKED]:
            self.channel.send(frame(FromChild.SKIPPED, index))
        elif now_ns > words[LEASE]:
            self.channel.send(frame(FromChild.END, index, int(EndKind.NOT_STARTED), *_NOTHING))
        else:
            return True
        self.memory.ring[index & MASK] = REPORTED
        return False

    def report(self, index: int, ending: Ending, duration_s: float) -> None:
        """Tell of an end that is no plain completion; the mark comes after the frame, so a mark is never a lie."""
        error = None if ending.error is None else list(ending.error)
        self.channel.send(frame(FromChild.END, index, int(ending.kind), error, ending.permanent, ending.retry_after_s,
                                ending.snooze_s, duration_s, ending.result))
        self.memory.ring[index & MASK] = REPORTED

    def ready(self) -> None:
        """Tell that this child takes jobs."""
        self.channel.send(frame(FromChild.READY))


def limit_memory(memory_max_bytes: int, slots: int) -> None:
    """Let an allocation without end raise MemoryError here, rather than have the system kill whom it likes.

    The stacks of the threads that serve slots are counted by the system too, so they are added.
    """
    stack, _ = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = memory_max_bytes + slots * (_STACK_BYTES if stack == resource.RLIM_INFINITY else stack)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))

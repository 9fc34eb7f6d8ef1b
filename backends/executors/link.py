"""The node's end of one child: what it was given, how far that has come, what it says."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from callboard.backends.executors.line import Kept
from callboard.backends.executors.rawoutput import RawOutput
from callboard.backends.executors.shared import MASK, REVOKED, RING, SharedState, memory_fd
from callboard.backends.executors.wire import BATCH_MAX_BYTES, READ_BYTES, FrameReader, ToChild, frame
from callboard.core.childdeath import SlotState
from callboard.core.errors import QueueError
from callboard.core.placement import UNKNOWN, ChildLoad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from callboard.backends.executors.line import Waiting
    from callboard.backends.executors.pump import Pump, Timer
    from callboard.backends.executors.shared import Barrier
    from callboard.core.ports import Clock
    from callboard.core.records import TakenJob, Token

_COMPLETED: Final = int(SlotState.COMPLETED)
_QUEUED: Final = int(SlotState.QUEUED)
_COLLECTED: Final = int(SlotState.COLLECTED)
_READS_MAX: Final = 16
_GHOSTS_MAX: Final = RING // 4
"""Jobs that were taken back and that the child has not passed over yet: with more it gets nothing."""


class Entry(NamedTuple):
    """A job in a child.

    Attributes:
        number: the child's index of it.
        job: None once it was taken back; the entry stays until the child has passed over it.
        expected_s: UNKNOWN where its name never ran here.
    """

    number: int
    job: TakenJob | None
    expected_s: float
    timeout_s: float


class ChildLink:
    """One child. Its jobs are guarded by the pool's lock; its descriptors belong to the pump's thread.

    Attributes:
        pid: 0 until it was forked.
        ready: it has said so.
        draining: it gets nothing more, and ends once it is empty.
        ending: it was told to end.
        standby_for: the child that it replaces; it gets nothing until that one is empty.
        ended: jobs that ran in it and have ended, however.
        alone: it holds a job that has it for itself.
        kept: careful jobs that have a slot kept free for them, until they are admitted.
        stalled: what it runs takes longer than was expected, so nothing is put behind it.
        warned: index to the instant at which the soft limit was given (a cancelled job has its place there too).
        overran, cancelled: indices for which it is killed, if they run on.
        given_up: a job in it can't be stopped: it is killed when the others have ended.
        revoked: jobs with an index below this were to be taken back.
        reader, writer: called by the pump's thread when the socket is readable or writable.
        dead: its process has ended, and its jobs have been dealt with.
    """

    def __init__(self, ident: int, slots: int, pump: Pump, barrier: Barrier) -> None:
        """Make the socket, the memory and the pipes; `child_fds` are for the child."""
        self.ident = ident
        self.slots = slots
        self._slots_ever = slots
        self.pid = 0
        self.pidfd = -1
        self.ready = False
        self.draining = False
        self.ending = False
        self.dead = False
        self.recycle = False
        self.standby_for: ChildLink | None = None
        self.alone = False
        self.kept = Kept()
        self.stalled = False
        self.held = 0
        self.ended = 0
        self.warned: dict[int, float] = {}
        self.overran: set[int] = set()
        self.cancelled: set[int] = set()
        self.killed_for = ""
        self.given_up = False
        self.look_soon = False
        self.limit: Timer | None = None
        self.rss_at_s = 0.0
        self.rss_bytes = 0
        self.outputs: list[RawOutput] = []
        self.reader: Callable[[], None] | None = None
        self.writer: Callable[[], None] | None = None
        self._pump = pump
        self._barrier = barrier
        self._ahead_s = 0.0
        self._unknown = 0
        self._ghosts = 0
        self._next = 1
        self.revoked = 0
        self._cells: list[Entry | None] = [None] * RING
        self._unsent = b""
        self._reader = FrameReader()
        self.sock, child_sock = socket.socketpair()
        self.sock.settimeout(0)
        self._child_sock: socket.socket | None = child_sock
        memory = memory_fd()
        self.memory = SharedState(memory)
        out_r, out_w = os.pipe()
        err_r, err_w = os.pipe()
        self._pipes = {"stdout": out_r, "stderr": err_r}
        self.child_fds = (child_sock.fileno(), memory, out_w, err_w)

    def read_output(
        self, clock: Clock, lines_per_s: int, line_max: int, tell: Callable[[str, list[str], int], None],
    ) -> None:
        """Begin to read the child's descriptors 1 and 2."""
        for name, fd in self._pipes.items():
            def told(lines: list[str], dropped: int, stream: str = name) -> None:
                tell(stream, lines, dropped)

            output = RawOutput(fd, self._pump, clock, lines_per_s, line_max, told)
            output.start()
            self.outputs.append(output)
        self._pipes = {}

    def close_child_fds(self) -> None:
        """The child has its own copies now. Harmless when repeated."""
        if self._child_sock is not None:
            self._child_sock.close()
            for fd in self.child_fds[1:]:
                os.close(fd)
            self._child_sock = None

    def close(self) -> None:
        """Give everything back; what the pipes still hold is read first."""
        self.close_child_fds()
        if self.limit is not None:
            self.limit.cancel()
        self._pump.watch(self.sock.fileno(), None)
        self.sock.close()
        for output in self.outputs:
            output.close()
        for fd in self._pipes.values():
            os.close(fd)
        self._pipes = {}
        if self.pidfd >= 0:
            self._pump.watch(self.pidfd, None)
            os.close(self.pidfd)
            self.pidfd = -1
        self.memory.close()

    # Jobs -------------------------------------------------------------------------------------------------------------

    @property
    def takes(self) -> bool:
        """Whether it may be given jobs."""
        closed = self.draining or self.alone or self.dead or self.killed_for or self.standby_for is not None
        return self.ready and not closed and self._ghosts < _GHOSTS_MAX

    def resize(self, slots: int) -> None:
        """Change the slots of a child that has several. What runs may stay in a slot beyond their number."""
        self.slots = slots
        self._slots_ever = max(self._slots_ever, slots)
        self.write(frame(ToChild.SLOTS, slots))

    def load(self) -> ChildLoad:
        """For the placement."""
        slow = self.stalled or self._unknown or self.kept.running or self.kept
        ahead_s = UNKNOWN if slow else self._ahead_s / max(self.slots, 1)
        return ChildLoad(self.slots, self.held + len(self.kept), ahead_s)

    def keep(self, waiting: Waiting) -> None:
        """Keep a slot free for a careful job."""
        self.kept.keep(waiting)
        self.alone = waiting[0].losses > 0

    def unkeep(self, token: Token) -> TakenJob:
        """Keep nothing for it any more. Raises KeyError when nothing is kept."""
        job = self.kept.pop(token)[0]
        self.kept.trust(token)
        if not self.held and not self.kept:
            self.alone = False
        return job

    def admit(self, token: Token, default_timeout_s: float) -> list[TakenJob]:
        """Start the job that a slot is kept for; returns it where no frame can carry it. Raises KeyError."""
        return self.give([self.kept.admit(token)], default_timeout_s)

    def give(self, jobs: Sequence[Waiting], default_timeout_s: float) -> list[TakenJob]:
        """Send jobs, each with its expected duration and its time limit. Returns those that no frame can carry."""
        refused: list[TakenJob] = []
        start = 0
        while start < len(jobs):
            while self._cells[self._next & MASK] is not None:
                self._next += 1
            batch: list[TakenJob] = []
            size = 0
            first = self._next
            for job, expected_s, timeout_s in jobs[start:]:
                at = self._next & MASK
                size += len(job.body) + len(job.error or b"")
                if self._cells[at] is not None or (batch and size > BATCH_MAX_BYTES):
                    break
                self._cells[at] = Entry(self._next, job, expected_s, timeout_s)
                self.memory.ring[at] = _QUEUED
                self._next += 1
                if expected_s == UNKNOWN:
                    self._unknown += 1
                else:
                    self._ahead_s += expected_s
                batch.append(job)
            start += len(batch)
            self.held += len(batch)
            refused += self._send(first, batch, default_timeout_s)
        return refused

    def _send(self, first: int, batch: list[TakenJob], default_timeout_s: float) -> list[TakenJob]:
        try:
            self.write(frame(ToChild.RUN, first, default_timeout_s, batch))
        except QueueError:
            entries = [entry for index in range(first, first + len(batch)) if (entry := self.entry(index)) is not None]
            for entry in entries:
                self.forget(entry)
            if len(batch) == 1:
                return batch
            return [job for entry in entries if entry.job is not None
                    for job in self.give([(entry.job, entry.expected_s, entry.timeout_s)], default_timeout_s)]
        return []

    def entry(self, index: int) -> Entry | None:
        """The entry of this index, if it is held."""
        found = self._cells[index & MASK]
        return found if found is not None and found.number == index else None

    def entries(self) -> Iterator[Entry]:
        """All entries with a job, in order of their indices."""
        return iter(sorted(entry for entry in self._cells if entry is not None and entry.job is not None))

    def forget(self, entry: Entry) -> None:
        """It has ended, or the child has passed over it."""
        self._cells[entry.number & MASK] = None
        if entry.job is None:
            self._ghosts -= 1
        else:
            self._release(entry)
        if self.warned or self.cancelled:
            self.warned.pop(entry.number, None)
            self.overran.discard(entry.number)
            self.cancelled.discard(entry.number)

    def _release(self, entry: Entry) -> None:
        self.stalled = False
        self.held -= 1
        if self.kept.running and entry.job is not None:
            self.kept.ended(entry.job)
        if self.held == 0:
            self._ahead_s = 0.0
            self._unknown = 0
            self.alone = False
        elif entry.expected_s == UNKNOWN:
            self._unknown -= 1
        else:
            self._ahead_s -= entry.expected_s

    def collect(self) -> list[TakenJob]:
        """Jobs that have completed and were not collected yet."""
        ring = self.memory.ring
        states = ring.tobytes()
        found: list[TakenJob] = []
        at = states.find(_COMPLETED)
        while at >= 0:
            ring[at] = _COLLECTED
            entry = self._cells[at]
            if entry is not None:
                if entry.job is not None:
                    found.append(entry.job)
                self.forget(entry)
            at = states.find(_COMPLETED, at + 1)
        self.ended += len(found)
        return found

    def states(self) -> dict[int, int]:
        """Index to state of the jobs that it has."""
        ring = self.memory.ring
        return {entry.number: ring[entry.number & MASK] for entry in self.entries()}

    def runs(self) -> list[tuple[Entry, float]]:
        """What runs, with its start."""
        found = ((self.entry(index), start_s) for index, start_s in self.memory.running(self._slots_ever))
        return [(entry, start_s) for entry, start_s in found if entry is not None and entry.job is not None]

    def drop(self) -> int:
        """Forget all jobs, whatever they do: nobody wants to hear of them. How many."""
        entries = list(self.entries())
        for entry in entries:
            self.forget(entry)
        return len(entries) + len(self.take_kept())

    def take_kept(self) -> list[TakenJob]:
        """Careful jobs that slots were kept for; none are any more."""
        return [self.unkeep(token) for token in list(self.kept)]

    def take_back(self) -> list[TakenJob]:
        """Jobs that have not started, in order; the child is sure not to start them.

        Where the system has no barrier the child itself says of each that it was not started; it does not know of those
        that a slot is kept for.
        """
        kept = self.take_kept()
        self.revoked = self._next
        self.memory.words[REVOKED] = self._next
        if not self._barrier.cross():
            return kept
        ring = self.memory.ring
        taken: list[TakenJob] = []
        for entry in self.entries():
            if ring[entry.number & MASK] == _QUEUED and entry.job is not None:
                taken.append(entry.job)
                self._cells[entry.number & MASK] = entry._replace(job=None)
                self._ghosts += 1
                self._release(entry)
        return taken + kept

    # The socket -------------------------------------------------------------------------------------------------------

    def set_lease(self, deadline_ns: int) -> None:
        """See Executor.set_lease."""
        self.memory.words[0] = deadline_ns

    def write(self, data: bytes) -> None:
        """Send, or keep what does not fit now. A broken socket is no matter: the child's death will be told."""
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return
        if sent < len(data):
            self._unsent = data[sent:]
            self._pump.call(self._watch_writable)

    def _watch_writable(self) -> None:
        if not self.dead and self._unsent:
            self._pump.watch(self.sock.fileno(), self.reader, self.writer)

    def flush(self) -> None:
        """Send what was kept."""
        data, self._unsent = self._unsent, b""
        self.write(data)
        if not self._unsent:
            self._pump.watch(self.sock.fileno(), self.reader)

    def read(self) -> tuple[list[list[Any]], bool]:
        """Frames that came, and whether the child has closed its end. Raises CodecError."""
        frames: list[list[Any]] = []
        for _ in range(_READS_MAX):
            try:
                data = self.sock.recv(READ_BYTES)
            except BlockingIOError:
                return frames, False
            except OSError:
                return frames, True
            if not data:
                return frames, True
            frames += self._reader.feed(data)
            if len(data) < READ_BYTES:
                break
        return frames, False

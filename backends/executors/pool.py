"""One pool: an Executor over the children that a TemplateHost forks."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final, cast

from callboard.backends.executors.nursery import Nursery
from callboard.backends.executors.options import SLOTS_MAX
from callboard.backends.executors.pooljobs import PoolJobs
from callboard.backends.executors.shared import NS
from callboard.backends.executors.watch import Watch
from callboard.backends.executors.wire import FromChild
from callboard.core.errors import CodecError
from callboard.core.options import seconds, whole
from callboard.core.records import Token
from callboard.core.runs import ChildNote, RunningJob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.backends.executors.host import TemplateHost
    from callboard.backends.executors.link import ChildLink
    from callboard.core.ports import ExecutorEvents
    from callboard.core.records import TakenJob

_log = logging.getLogger("callboard.executors")
_NEVER_S: Final = 4e9  # more than a century, and its ns fit into 64 bits
_TEXT_MAX: Final = 40_000  # a line of 8,192 bytes, each of them escaped
_FROM_CHILDREN: Final = frozenset({
    "job.output", "job.output_dropped", "job.progress", "job.result_lost", "job.retry_after_failed",
})


class ChildPool:
    """`callboard.core.ports.Executor`.

    Made by `TemplateHost.executor`. Until the first `set_lease` no lease has been granted, so jobs come back as
    NOT_STARTED. `stop` and `abandon` wait, so they must not be called from the events' callbacks.
    """

    def __init__(self, host: TemplateHost, name: str, slots: int) -> None:
        """Nothing is forked before `start`."""
        self.host = host
        self.name = name
        self.lock = threading.Condition()
        self.jobs = PoolJobs(host.options.timeout_s)
        self.notes: list[ChildNote] = []
        self.nursery = Nursery(self, whole(slots, "slots", 0, SLOTS_MAX))
        self.watch = Watch(self)
        self.lease_ns = 0
        self._events: ExecutorEvents | None = None
        self._delivering = False

    # The contract, from any thread ------------------------------------------------------------------------------------

    def start(self, events: ExecutorEvents) -> None:
        """See Executor."""
        self._events = events
        self.host.pump.call(self.host.announce)
        self.host.pump.call(self.nursery.tend)

    @property
    def started(self) -> bool:
        """Whether there is somebody to tell."""
        return self._events is not None

    def submit(self, jobs: Sequence[TakenJob]) -> None:
        """See Executor. A job that is idle-fast goes to its child's socket from the calling thread."""
        with self.lock:
            self.jobs.accept(jobs)
            self.place()
            told = not (self.jobs.completed or self.jobs.others)
        if not told:
            self.host.pump.call(self.deliver)

    def capacity(self) -> int:
        """See Executor; 0 while nothing can be started."""
        with self.lock:
            if self.jobs.holding or not self.nursery.able:
                return 0
            slots = self.nursery.slots
            return slots + self.jobs.expectations.room(len(self.nursery.links) and self.nursery.wanted, slots)

    def resize(self, slots: int) -> None:
        """See Executor. Raises InvalidArgument beyond 1,000."""
        with self.lock:
            self.nursery.slots = whole(slots, "slots", 0, SLOTS_MAX)
        self.host.pump.call(self.nursery.tend)

    def set_timeout(self, timeout_s: float) -> None:
        """Time limit of jobs that name none, for those handed out from now on."""
        with self.lock:
            self.jobs.timeout_s = seconds(timeout_s, "timeout", above_zero=True)

    def set_lease(self, deadline_boot_s: float) -> None:
        """See Executor."""
        with self.lock:
            self.lease_ns = max(0, int(min(deadline_boot_s, _NEVER_S) * NS))
            for link in self.nursery.links:
                link.set_lease(self.lease_ns)

    def cancel(self, token: Token) -> None:
        """See Executor. In a child with several slots the job is first asked to stop, as for an overrun."""
        with self.lock:
            found = self.jobs.cancel_waiting(token) or self.watch.cancel(token)
        if found:
            self.host.pump.call(self.deliver)

    def admit(self, tokens: Sequence[Token], refused: Sequence[Token] = ()) -> None:
        """See Executor."""
        with self.lock:
            for link, timeout_s in self.jobs.admit(tokens, refused, self.nursery.links):
                self.watch.given(link, timeout_s)
                if link.kept.suspect is not None:
                    self.watch.suspect(link, link.kept.suspect)
            if refused:
                self.host.pump.call(self.nursery.tend)
        if refused:
            self.host.pump.call(self.deliver)

    def running(self) -> tuple[RunningJob, ...]:
        """See Executor."""
        with self.lock:
            return tuple(
                RunningJob(entry.job.token, entry.job.id, entry.job.name, link.pid, start_s)
                for link in self.nursery.links if not link.dead
                for entry, start_s in link.runs() if entry.job is not None
            )

    def abandon(self) -> int:
        """See Executor."""
        self._refuse_in_pump("abandon")
        with self.lock:
            dropped = self.jobs.drop()
            doomed = list(self.nursery.links)
            for link in doomed:
                dropped += link.drop()
                self.nursery.kill(link, "abandon")
            self.lock.wait_for(lambda: all(link.dead for link in doomed))
        return dropped

    def hold(self) -> None:
        """See Executor."""
        with self.lock:
            self.jobs.hold(self.nursery.links)
        self.host.pump.call(self.deliver)

    def stop(self, deadline_boot_s: float) -> None:
        """See Executor."""
        self._refuse_in_pump("stop")
        self.hold()
        with self.lock:
            self.nursery.stopping = True
            self.host.pump.call(self.nursery.tend)
            left_s = max(deadline_boot_s - self.host.clock.boot_s(), 0.0)
            self.lock.wait_for(lambda: not self.nursery.links, left_s)
            for link in self.nursery.links:
                self.nursery.kill(link, "stop")
            self.lock.wait_for(lambda: not self.nursery.links)
            self.host.pump.call(self.deliver)
            self.lock.wait_for(lambda: not (self.jobs.completed or self.jobs.others or self._delivering))
        self.host.forget(self)

    def _refuse_in_pump(self, what: str) -> None:
        if self.host.pump.here:
            raise RuntimeError(f"{what}() waits for the thread that it was called from")

    # From the pump's thread -------------------------------------------------------------------------------------------

    def place(self) -> None:
        """Give what waits to who takes it; with the lock held, from any thread."""
        for link, timeout_s in self.jobs.place(self.nursery.links):
            self.watch.given(link, timeout_s)
        if self.jobs.poised:
            self.host.pump.call(self.deliver)

    def note(
        self, event: str, link: ChildLink | None, token: Token | None = None, **fields: str | float | None,
    ) -> None:
        """Keep something to be told."""
        self.notes.append(ChildNote(event, link.pid if link else self.host.template_pid, token, dict(fields)))

    def heard(self, link: ChildLink) -> None:
        """A child has sent something."""
        if link.dead:
            return
        with self.lock:
            try:
                frames, gone = link.read()
                for kind, *rest in frames:
                    self.frame(link, kind, rest)
            except CodecError as error:
                self.nursery.kill(link, f"protocol: {error}")
                gone = True
            if gone:
                self.host.pump.watch(link.sock.fileno(), None)
                self.nursery.gone(link)
            self.jobs.collect(link)
            if not link.held:
                self.watch.rest(link)
            self.place()
            self.watch.soon(link)
            self.nursery.checked(link)
        self.deliver()

    def frame(self, link: ChildLink, kind: int, rest: list[Any]) -> None:
        """What a child said, with the lock held. Raises CodecError."""
        if kind == FromChild.WAKE and len(rest) == 1:
            self.jobs.learn(rest[0])
        elif kind == FromChild.END:
            self.jobs.ended(link, rest)
        elif kind == FromChild.NOTE:
            self.notes.append(_note_of(link, rest))
        elif kind == FromChild.SKIPPED:
            self.jobs.skipped(link, rest)
        elif kind == FromChild.READY:
            self.nursery.ready(link)
        else:
            raise CodecError(f"a child sent a frame of kind {kind!r}"[:100])

    def deliver(self) -> None:
        """Tell what has gathered; without the lock, as who is told may call back."""
        with self.lock:
            completed, self.jobs.completed = self.jobs.completed, []
            others, self.jobs.others = self.jobs.others, []
            notes, self.notes = self.notes, []
            poised, self.jobs.poised = self.jobs.poised, []
            self._delivering = True
        try:
            if self._events is not None and (completed or others):
                self._events.on_ends(completed, others)
            if self._events is not None and poised:
                self._events.on_poised(poised)
            if self._events is not None and notes:
                self._events.on_notes(notes)
        except Exception:  # noqa: BLE001 - the actor may have crashed: that must not end the thread of all pools
            _log.exception("who was told of %d ends failed", len(completed) + len(others))
        finally:
            with self.lock:
                self._delivering = False
                self.lock.notify_all()


def _note_of(link: ChildLink, rest: list[Any]) -> ChildNote:
    match rest:
        case [str(event), token, fields] if event in _FROM_CHILDREN and isinstance(fields, dict):
            pass
        case _:
            raise CodecError("not a note")
    match token:
        case None:
            owner = None
        case [int(epoch), int(seq)]:
            owner = Token(epoch, seq)
        case _:
            raise CodecError("not a token")
    plain: dict[str, str | int | float | bool | None] = {}
    for key, value in cast("dict[object, object]", fields).items():
        if isinstance(value, str):
            plain[str(key)] = value[:_TEXT_MAX]
        elif value is None or isinstance(value, (bool, int, float)):
            plain[str(key)] = value
        else:
            raise CodecError("a note's fields are plain")
    return ChildNote(event, link.pid, owner, plain)

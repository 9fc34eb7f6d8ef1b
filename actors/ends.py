"""What stands between an executor's thread and its Worker: a buffer of ends, a tally of outcomes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.core.errorrecord import decode_error
from callboard.core.errors import CodecError
from callboard.core.job import PROGRESS_MESSAGE_MAX
from callboard.core.records import OutcomeKind, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from callboard.core.records import Outcome, PoolReport, TakenJob, Token
    from callboard.core.runs import ChildNote, RunEnd, RunningJob


class EndsBuffer:
    """Gathers ends until the Worker fetches them; wakes it once, not once an end. So with progress."""

    def __init__(
        self, wake: Callable[[], object], wake_progress: Callable[[], object],
        note: Callable[[str, int, Token | None, dict[str, Any]], None],
    ) -> None:
        """`wake` and `wake_progress` tell the Worker; `note` writes an event."""
        self._wake = wake
        self._wake_progress = wake_progress
        self._note = note
        self._lock = threading.Lock()
        self._completed: list[Token] = []
        self._others: list[RunEnd] = []
        self._poised: list[Token] = []
        self._progress: dict[Token, tuple[float | None, str]] = {}

    def on_ends(self, completed: Sequence[Token], others: Sequence[RunEnd]) -> None:
        """From the executor's thread."""
        with self._lock:
            first = not (self._completed or self._others or self._poised)
            self._completed += completed
            self._others += others
        if first:
            self._wake()

    def on_poised(self, tokens: Sequence[Token]) -> None:
        """From the executor's thread."""
        with self._lock:
            first = not (self._completed or self._others or self._poised)
            self._poised += tokens
        if first:
            self._wake()

    def on_notes(self, notes: Sequence[ChildNote]) -> None:
        """From the executor's thread: each becomes an event; of progress the newest is kept, too."""
        for note in notes:
            self._note(note.event, note.pid, note.token, dict(note.fields))
        said = {note.token: progress_of(note.fields) for note in notes
                if note.event == "job.progress" and note.token is not None}
        if not said:
            return
        with self._lock:
            first = not self._progress
            self._progress.update(said)
        if first:
            self._wake_progress()

    def poised(self) -> list[Token]:
        """Careful jobs that a slot is kept for, since the last call."""
        with self._lock:
            poised, self._poised = self._poised, []
            return poised

    def progress(self) -> dict[Token, tuple[float | None, str]]:
        """The newest that each job said since the last call: a fraction where it is known, and words."""
        with self._lock:
            said, self._progress = self._progress, {}
            return said

    def say_again(self, said: Mapping[Token, tuple[float | None, str]]) -> None:
        """This could not be told: keep it, but for what was said anew meanwhile."""
        with self._lock:
            self._progress = {**said, **self._progress}

    def drain(self) -> tuple[list[Token], list[RunEnd]]:
        """Everything that has gathered."""
        with self._lock:
            completed, self._completed = self._completed, []
            others, self._others = self._others, []
            return completed, others


def progress_of(fields: Mapping[str, object]) -> tuple[float | None, str]:
    """What a child said of its progress, within bounds whatever it was."""
    fraction, message = fields.get("fraction"), fields.get("message")
    text = message[:PROGRESS_MESSAGE_MAX] if isinstance(message, str) else ""
    return (fraction if isinstance(fraction, float) and 0.0 <= fraction <= 1.0 else None), text


class PoolState:
    """What status shows of a pool; read from other threads."""

    def __init__(self, report: PoolReport, running: Callable[[], tuple[RunningJob, ...]], queue: str) -> None:
        """Keep the last report, and how to see what runs."""
        self.report = report
        self._running = running
        self._queue = queue

    def running(self) -> list[tuple[str, str, str, int, float]]:
        """(job id, name, queue, child's pid, started on CLOCK_BOOTTIME) of what runs now."""
        return [(job.job_id, job.name, self._queue, job.child_pid, job.started_boot_s) for job in self._running()]


class Left(NamedTuple):
    """Jobs whose ends the store has not confirmed yet."""

    held: dict[Token, TakenJob]
    outcomes: list[Outcome]


class Tally:
    """Counts outcomes by kind since the last summary event."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._counts: dict[OutcomeKind, int] = {}

    def add(self, kind: OutcomeKind) -> None:
        """Count one."""
        self._counts[kind] = self._counts.get(kind, 0) + 1

    def add_all(self, kinds: Iterable[OutcomeKind]) -> None:
        """Count several."""
        for kind in kinds:
            self.add(kind)

    def any(self) -> bool:
        """Something was counted."""
        return bool(self._counts)

    def take(self) -> dict[str, int]:
        """The counts by name, beginning anew."""
        counts, self._counts = self._counts, {}
        return {kind.name.lower(): number for kind, number in counts.items()}


class JobEnd(NamedTuple):
    """What the end of a run means for its job, in the words of events.

    Attributes:
        counts: as what the job counts in the pool's summary; None: it goes on with its failed().
    """

    event: str
    counts: OutcomeKind | None
    error: bytes | None


_EVENTS = {
    OutcomeKind.COMPLETED: "job.completed",
    OutcomeKind.RETRY: "job.retrying",
    OutcomeKind.FAILED: "job.failed",
    OutcomeKind.SNOOZED: "job.snoozed",
    OutcomeKind.HANDED_BACK: "job.handed_back",
    OutcomeKind.LOST: "job.lost",
    OutcomeKind.CANCELLED: "job.cancelled",
}


def job_end(job: TakenJob | None, outcome: Outcome) -> JobEnd:
    """A job has failed when its failed() has run: then it is on the failed list, and not before."""
    kind = outcome.kind
    if job is not None and job.step is Step.FAILED_HOOK and kind is OutcomeKind.COMPLETED:
        return JobEnd("job.failed", OutcomeKind.FAILED, job.error)
    if job is not None and job.step is Step.HANDLE and job.has_failed_hook and kind is OutcomeKind.FAILED:
        return JobEnd("job.failing", None, outcome.error)
    return JobEnd(_EVENTS[kind], kind, outcome.error)


def error_fields(error: bytes | None) -> dict[str, str]:
    """What an event says of an outcome's error."""
    if error is None:
        return {}
    try:
        record = decode_error(error)
    except CodecError:
        return {"error": "unreadable"}
    return {"error_kind": record.kind, "error": record.message[:500]}

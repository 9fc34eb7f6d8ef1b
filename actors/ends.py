"""What stands between an executor's thread and its Worker: a buffer of ends, a tally of outcomes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.core.errorrecord import decode_error
from callboard.core.errors import CodecError
from callboard.core.records import OutcomeKind, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from callboard.core.records import Outcome, PoolReport, TakenJob, Token
    from callboard.core.runs import ChildNote, RunEnd, RunningJob


class EndsBuffer:
    """Gathers ends until the Worker fetches them; wakes it once, not once an end."""

    def __init__(
        self, wake: Callable[[], object], note: Callable[[str, int, Token | None, dict[str, Any]], None]
    ) -> None:
        """`wake` tells the Worker; `note` writes an event."""
        self._wake = wake
        self._note = note
        self._lock = threading.Lock()
        self._completed: list[Token] = []
        self._others: list[RunEnd] = []

    def on_ends(self, completed: Sequence[Token], others: Sequence[RunEnd]) -> None:
        """From the executor's thread."""
        with self._lock:
            first = not self._completed and not self._others
            self._completed += completed
            self._others += others
        if first:
            self._wake()

    def on_notes(self, notes: Sequence[ChildNote]) -> None:
        """From the executor's thread: each becomes an event."""
        for note in notes:
            self._note(note.event, note.pid, note.token, dict(note.fields))

    def drain(self) -> tuple[list[Token], list[RunEnd]]:
        """Everything that has gathered."""
        with self._lock:
            completed, self._completed = self._completed, []
            others, self._others = self._others, []
            return completed, others


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

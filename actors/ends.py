"""What stands between an executor's thread and its Worker: a buffer of ends, a tally of outcomes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from callboard.core.errorrecord import decode_error
from callboard.core.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.records import Outcome, OutcomeKind, PoolReport, Token
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

    def any(self) -> bool:
        """Something was counted."""
        return bool(self._counts)

    def take(self) -> dict[str, int]:
        """The counts by name, beginning anew."""
        counts, self._counts = self._counts, {}
        return {kind.name.lower(): number for kind, number in counts.items()}


def error_fields(outcome: Outcome) -> dict[str, str]:
    """What an event says of an outcome's error."""
    if outcome.error is None:
        return {}
    try:
        record = decode_error(outcome.error)
    except CodecError:
        return {"error": "unreadable"}
    return {"error_kind": record.kind, "error": record.message[:500]}

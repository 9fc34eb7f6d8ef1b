"""Whether a queue is well: counts and thresholds in, a word out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from callboard.core.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable

    from callboard.core.records import QueueCounts

Status = Literal["healthy", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Jobs of a queue, in the words of the public API.

    Attributes:
        total_jobs: all four together.
        pending_jobs: waiting, those that are delayed included.
        processing_jobs: given to a node: assigned or running.
        failed_jobs: on the failed list now.
        completed_jobs: since the store began.
    """

    total_jobs: int
    pending_jobs: int
    processing_jobs: int
    failed_jobs: int
    completed_jobs: int


@dataclass(frozen=True, slots=True)
class QueueHealth:
    """A queue's state in one word, and what it was judged by."""

    status: Status
    stats: QueueStats


@dataclass(frozen=True, slots=True)
class Thresholds:
    """More than these many jobs is too many; None turns one off.

    Raises:
        InvalidArgument: Raised when one is negative or no whole number, or failed_critical is below failed_warning.
    """

    failed_warning: int | None = 100
    failed_critical: int | None = 1_000
    pending: int | None = 1_000
    processing: int | None = 100

    def __post_init__(self) -> None:
        """Check the numbers where they are given."""
        for name in ("failed_warning", "failed_critical", "pending", "processing"):
            value: object = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
                raise InvalidArgument(f"threshold {name} must be a whole number from 0, or None, not {value!r}")
        warning, critical = self.failed_warning, self.failed_critical
        if warning is not None and critical is not None and critical < warning:
            raise InvalidArgument("threshold failed_critical must not be below failed_warning")


@dataclass(frozen=True, slots=True)
class Alert:
    """One threshold that a queue is over.

    Attributes:
        kind: "failed", "backlog" or "processing".
        count: jobs.
        threshold: what it is over.
        status: "warning" or "critical".
    """

    kind: Literal["failed", "backlog", "processing"]
    count: int
    threshold: int
    status: Status


DEFAULT_THRESHOLDS: Final = Thresholds()


def stats_of(counts: Iterable[QueueCounts]) -> QueueStats:
    """The API's numbers from the store's counts, of one queue or several together; cancelled jobs are in none."""
    pending = processing = failed = completed = 0
    for queue in counts:
        pending += queue.delayed + queue.ready
        processing += queue.assigned + queue.running
        failed += queue.failed
        completed += queue.completed
    return QueueStats(pending + processing + failed + completed, pending, processing, failed, completed)


def judge(stats: QueueStats, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> Status:
    """`healthy`, `warning` or `critical`, by the number of failed jobs alone: a backlog may be a good day's work."""
    for alert in alerts(stats, thresholds):
        if alert.kind == "failed":
            return alert.status
    return "healthy"


def health_of(stats: QueueStats, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> QueueHealth:
    """The judgement together with its stats."""
    return QueueHealth(judge(stats, thresholds), stats)


def alerts(stats: QueueStats, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> tuple[Alert, ...]:
    """What a HealthChecker should tell: at most one alert each for failed jobs, backlog and processing."""
    found: list[Alert] = []
    if thresholds.failed_critical is not None and stats.failed_jobs > thresholds.failed_critical:
        found.append(Alert("failed", stats.failed_jobs, thresholds.failed_critical, "critical"))
    elif thresholds.failed_warning is not None and stats.failed_jobs > thresholds.failed_warning:
        found.append(Alert("failed", stats.failed_jobs, thresholds.failed_warning, "warning"))
    if thresholds.pending is not None and stats.pending_jobs > thresholds.pending:
        found.append(Alert("backlog", stats.pending_jobs, thresholds.pending, "warning"))
    if thresholds.processing is not None and stats.processing_jobs > thresholds.processing:
        found.append(Alert("processing", stats.processing_jobs, thresholds.processing, "warning"))
    return tuple(found)

"""A job's life as a list of instants, from its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from callboard.core.records import JobState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from callboard.core.records import JobRecord, RunRecord, Token


class Moment(NamedTuple):
    """Something that happened to a job.

    Attributes:
        at_ms: by the store's clock.
        what: a word: pushed, assigned, taken, started, completed, or what ended a run (a `core.lifecycle.Event`).
        node: whose run it was.
        token: of the run.
        error: msgpack of an ErrorRecord.
        text: for a person, where the word does not say all.
    """

    at_ms: int
    what: str
    node: str = ""
    token: Token | None = None
    error: bytes | None = None
    text: str = ""


def timeline(job: JobRecord) -> tuple[Moment, ...]:
    """What is known of the job's life, oldest first. Of runs that did not complete it, the store keeps the last 20."""
    return tuple(_moments(job))


def _moments(job: JobRecord) -> Iterator[Moment]:
    yield Moment(job.pushed_ms, "pushed")
    for run in job.history:
        if run.assigned_ms:
            yield Moment(run.assigned_ms, "assigned", run.node, run.token)
            yield Moment(run.taken_ms, "taken", run.node, run.token)
        if run.started_ms is not None:
            yield Moment(run.started_ms, "started", run.node, run.token)
        yield Moment(run.ended_ms, run.end, run.node, run.token, run.error)
    yield from _last_run(job)
    if job.finished_ms is not None:
        error = None if _told(job.history, job.token) else job.error
        yield Moment(job.finished_ms, job.state.name.lower(), job.node or "", job.token, error)
    elif job.state is JobState.DELAYED:
        yield Moment(job.due_ms, "due", text="to come, unless that instant has passed")


def _last_run(job: JobRecord) -> Iterator[Moment]:
    """The run that goes on, or that completed the job; what the history tells is not told twice."""
    if _told(job.history, job.token) or job.assigned_ms is None:
        return
    yield Moment(job.assigned_ms, "assigned", job.node or "", job.token)
    if job.taken_ms is not None:
        yield Moment(job.taken_ms, "taken", job.node or "", job.token)
    if job.started_ms is not None:
        yield Moment(job.started_ms, "started", job.node or "", job.token)


def _told(history: tuple[RunRecord, ...], token: Token | None) -> bool:
    return any(run.token == token for run in history)

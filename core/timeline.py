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
        yield from _way(run.node, run.token, run.assigned_ms, run.taken_ms, run.started_ms)
        yield Moment(run.ended_ms, run.end, run.node, run.token, run.error)
    if not _told(job.history, job.token):  # the run that goes on, or that completed the job
        yield from _way(job.node or "", job.token, job.assigned_ms, job.taken_ms, job.started_ms)
    if job.finished_ms is not None:
        error = None if _told(job.history, job.token) else job.error
        yield Moment(job.finished_ms, job.state.name.lower(), job.node or "", job.token, error)
    elif job.state is JobState.DELAYED:
        yield Moment(job.due_ms, "due", text="to come, unless that instant has passed")


def _way(
    node: str, token: Token | None, assigned_ms: int | None, taken_ms: int | None, started_ms: int | None
) -> Iterator[Moment]:
    """How far a run came; an operator's retry is kept as a run that was never assigned."""
    for at_ms, what in ((assigned_ms, "assigned"), (taken_ms, "taken"), (started_ms, "started")):
        if at_ms:
            yield Moment(at_ms, what, node, token)


def _told(history: tuple[RunRecord, ...], token: Token | None) -> bool:
    return any(run.token == token for run in history)

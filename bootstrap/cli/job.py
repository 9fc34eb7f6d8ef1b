"""`callboard job` and `callboard why`: one job, what happened to it, and what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from callboard.cli.failed import body_of, readable_error, say_body
from callboard.cli.options import EXIT_CODES, client_of, json_option, store_options
from callboard.cli.output import lines, moment, say, say_json
from callboard.config import Config
from callboard.core.errors import NotFound
from callboard.core.printable import printable

if TYPE_CHECKING:
    from callboard.core.ports import JobStore
    from callboard.core.records import JobRecord
    from callboard.core.timeline import Moment
    from callboard.core.why import Reason


@click.command("job", epilog=EXIT_CODES)
@click.argument("job_id", metavar="ID")
@click.option("--traceback", is_flag=True, help="Show the tracebacks of failed attempts, too.")
@store_options
@json_option
def job(job_id: str, *, traceback: bool, as_json: bool, **flags: Any) -> None:
    """Show one job, and what happened to it so far.

    \b
      callboard job 01893...
      callboard job 01893... --traceback

    Instants are the store's. A run that begins and ends at once has no "started".
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    from callboard.core.timeline import timeline  # noqa: PLC0415 - as in options.client_of

    store = client_of(Config(flags)).store
    row = _row(store, job_id)
    moments, reason = timeline(row), _reason(store, row)
    if as_json:
        say_json({**_to_dict(row), "why": reason._asdict(), "timeline": [_moment_dict(one) for one in moments]})
        return
    _say_head(row)
    say()
    for one in moments:
        _say_moment(one, traceback=traceback)
    say()
    say(printable(f"{reason.sentence[0].upper()}{reason.sentence[1:]}."))


@click.command("why", epilog=EXIT_CODES)
@click.argument("job_id", metavar="ID")
@store_options
@json_option
def why(job_id: str, *, as_json: bool, **flags: Any) -> None:
    """Say in a sentence what a job waits for.

    \b
      callboard why 01893...

    It may wait for its time, a paused queue, a node that serves its queue, a free slot, a leader, a node of its own.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    store = client_of(Config(flags)).store
    row = _row(store, job_id)
    reason = _reason(store, row)
    if as_json:
        say_json({"id": row.id, "state": row.state.name.lower(), **reason._asdict()})
    else:
        say(printable(f"{row.state.name.lower()}: {reason.sentence}"))


def _row(store: JobStore, job_id: str) -> JobRecord:
    row = store.job(job_id)
    if row is None:
        raise NotFound(f"no job has the id {job_id!r}: it was never pushed here, or was pruned, purged or forgotten")
    return row


def _reason(store: JobStore, row: JobRecord) -> Reason:
    from callboard.core.why import Surroundings, why  # noqa: PLC0415 - as in options.client_of

    (counts,) = store.counts([row.queue])
    return why(row, Surroundings(store.store_now_ms(), store.fence(), counts, store.sessions()))


def _say_head(row: JobRecord) -> None:
    unique = "" if row.unique is None else row.unique
    attempts = f"{row.attempts} of {'as many as its queue allows' if row.max_attempts is None else row.max_attempts}"
    fields = [("id", row.id), ("job", row.name), ("queue", row.queue), ("state", row.state.name.lower()),
              ("attempts", attempts), ("losses", row.losses),
              ("doubts", row.doubts or ""), ("priority", row.priority or ""), ("unique", unique),
              ("expires", "" if row.expires_ms is None else moment(row.expires_ms))]
    if row.progress is not None:
        share = "" if row.progress.fraction is None else f"{row.progress.fraction:.0%} "
        fields.append(("progress", f"{share}{row.progress.message} ({moment(row.progress.at_ms)})"))
    for name, value in fields:
        if value != "":
            say(f"{name:<10}{printable(value)}")
    say_body(row)


def _say_moment(one: Moment, *, traceback: bool) -> None:
    error = None if one.error is None else readable_error(one.error)
    token = f"token {one.token.epoch}.{one.token.seq}" if one.token else ""
    parts = [one.what, f"on {one.node}" if one.node else "", token, one.text,
             "" if error is None else f"{error.kind}: {error.message.partition(chr(10))[0]}"]
    say(f"{moment(one.at_ms)}  {printable('  '.join(part for part in parts if part))}")
    if traceback and error is not None and error.traceback:
        say(lines(error.traceback.rstrip()))


def _moment_dict(one: Moment) -> dict[str, Any]:
    return {"at_ms": one.at_ms, "at": moment(one.at_ms), "what": one.what, "node": one.node or None,
            "token": None if one.token is None else list(one.token),
            "error": None if one.error is None else readable_error(one.error)._asdict()}


def _to_dict(row: JobRecord) -> dict[str, Any]:
    arguments, headers = body_of(row)
    return {"id": row.id, "name": row.name, "queue": row.queue, "state": row.state.name.lower(),
            "priority": row.priority, "attempts": row.attempts, "max_attempts": row.max_attempts, "losses": row.losses,
            "doubts": row.doubts, "at_most_once": row.at_most_once, "unique": row.unique, "node": row.node,
            "pushed_ms": row.pushed_ms, "due_ms": row.due_ms, "expires_ms": row.expires_ms,
            "finished_ms": row.finished_ms, "token": None if row.token is None else list(row.token),
            "progress": None if row.progress is None else row.progress._asdict(),
            "arguments": arguments, "headers": headers}

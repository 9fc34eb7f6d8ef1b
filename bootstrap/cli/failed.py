"""`callboard failed`: the failed list."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from callboard.cli.main import SubGroup
from callboard.cli.options import EXIT_CODES, client_of, json_option, store_options
from callboard.cli.output import count, hint, instant, lines, say, say_json, table
from callboard.config import Config
from callboard.core.errors import CodecError, NotFound
from callboard.core.printable import printable

if TYPE_CHECKING:
    from callboard.core.ports import JobStore
    from callboard.core.records import ErrorRecord, JobRecord

FORGET_BATCH = 500
"""Jobs forgotten in one transaction, so that nobody else waits long."""


@click.group("failed", cls=SubGroup, invoke_without_command=True, epilog=EXIT_CODES)
@click.pass_context
def failed(ctx: click.Context) -> None:
    """Look at jobs that failed for good; retry or forget them.

    \b
      callboard failed list --queue emails
      callboard failed show ID
      callboard failed retry ID
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@failed.command("list", epilog=EXIT_CODES)
@click.option("--queue", metavar="QUEUE", help="Only this queue's.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, metavar="N",
              help="At most so many.")
@click.option("--before", metavar="ID", help="Those that were pushed before this one: the next page.")
@store_options
@json_option
def list_failed(*, queue: str | None, limit: int, before: str | None, as_json: bool, **flags: Any) -> None:
    """List failed jobs, the newest first.

    \b
      callboard failed list
      callboard failed list --queue emails --limit 200 --json
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    from callboard.core.records import JobState  # noqa: PLC0415 - as in options.client_of

    store = client_of(Config(flags)).store
    rows = store.jobs(JobState.FAILED, queue, limit, before)
    if as_json:
        say_json([to_dict(row) for row in rows])
        return
    if not rows:
        hint("no failed jobs")
        return
    table(("ID", "NAME", "QUEUE", "ATTEMPTS", "LOSSES", "FAILED", "ERROR"),
          [(row.id, row.name, row.queue, row.attempts, row.losses, instant(row.finished_ms), _summary(row))
           for row in rows], right=("ATTEMPTS", "LOSSES"))
    if len(rows) == limit:
        hint(f"more: callboard failed list --before {rows[-1].id}")


@failed.command("show", epilog=EXIT_CODES)
@click.argument("job_id", metavar="ID")
@store_options
@json_option
def show(job_id: str, *, as_json: bool, **flags: Any) -> None:
    """Show a failed job: why it failed, its traceback, its arguments.

    \b
      callboard failed show 01893...
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    row = _failed_row(client_of(Config(flags)).store, job_id)
    if as_json:
        say_json(to_dict(row, whole=True))
        return
    error = error_of(row)
    for name, value in (("id", row.id), ("job", row.name), ("queue", row.queue), ("attempts", row.attempts),
                        ("losses", row.losses), ("node", row.node or ""), ("pushed", instant(row.pushed_ms)),
                        ("failed", instant(row.finished_ms)), ("error", f"{error.kind}: {error.message}")):
        say(f"{name:<10}{printable(value)}")
    say_body(row)
    if error.traceback:
        say()
        say(lines(error.traceback.rstrip()))


@failed.command("retry", epilog=EXIT_CODES)
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@store_options
@json_option
def retry(job_ids: tuple[str, ...], *, as_json: bool, **flags: Any) -> None:
    """Make failed jobs ready again; attempts and losses count from zero.

    \b
      callboard failed retry 01893...
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    store = client_of(Config(flags)).store
    for job_id in job_ids:
        store.retry_failed(job_id, _failed_row(store, job_id).token)
        if not as_json:
            say(f"{job_id}: ready again")
    if as_json:
        say_json({"retried": list(job_ids)})


@failed.command("forget", epilog=EXIT_CODES)
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@store_options
@json_option
def forget(job_ids: tuple[str, ...], *, as_json: bool, **flags: Any) -> None:
    """Take failed jobs off the list. Their ids stay known: pushed again, they make no new job.

    \b
      callboard failed forget 01893...
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    store = client_of(Config(flags)).store
    rows = [_failed_row(store, job_id) for job_id in job_ids]
    number = store.forget_failed([row.id for row in rows])
    if as_json:
        say_json({"forgotten": number})
    else:
        say(f"{count(number, 'job')} forgotten")


@failed.command("flush", epilog=EXIT_CODES)
@click.option("--queue", metavar="QUEUE", help="Only this queue's.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@store_options
@json_option
def flush(*, queue: str | None, yes: bool, as_json: bool, **flags: Any) -> None:
    """Forget all failed jobs. On a terminal it asks first.

    \b
      callboard failed flush --queue emails
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    store = client_of(Config(flags)).store
    total = sum(row.failed for row in store.counts(None if queue is None else [queue]))
    if total and not yes and sys.stdin.isatty():
        of_queue = "" if queue is None else f" of {queue}"
        click.confirm(f"Forget {count(total, 'failed job')}{of_queue}?", abort=True, err=True)
    number = _flush(store, queue, total)
    if as_json:
        say_json({"forgotten": number})
    else:
        say(f"{count(number, 'job')} forgotten")


def _flush(store: JobStore, queue: str | None, total: int) -> int:
    """In batches, with a bar on a terminal; those that were there when it began."""
    from callboard.core.records import JobState  # noqa: PLC0415 - as in options.client_of

    number = 0
    with click.progressbar(length=total, label="forgetting", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        while number < total:
            rows = store.jobs(JobState.FAILED, queue, min(FORGET_BATCH, total - number))
            if not rows:
                break
            number += store.forget_failed([row.id for row in rows])
            bar.update(len(rows))
    return number


def _failed_row(store: JobStore, job_id: str) -> JobRecord:
    from callboard.core.records import JobState  # noqa: PLC0415 - as in options.client_of

    row = store.job(job_id)
    if row is None:
        raise NotFound(f"no job has the id {job_id!r}")
    if row.state != JobState.FAILED:
        raise NotFound(f"job {job_id!r} is not on the failed list: it is {row.state.name.lower()}")
    return row


def error_of(row: JobRecord) -> ErrorRecord:
    """Why it failed; what can't be read is said so."""
    from callboard.core.records import ErrorRecord  # noqa: PLC0415 - as in options.client_of

    return ErrorRecord("", "") if row.error is None else readable_error(row.error)


def readable_error(data: bytes) -> ErrorRecord:
    """The error in these bytes; what can't be read is said so."""
    from callboard.core.errorrecord import decode_error, error_record  # noqa: PLC0415 - as in options.client_of

    try:
        return decode_error(data)
    except CodecError as error:
        return error_record("Unreadable", error.message)


def say_body(row: JobRecord) -> None:
    """A line for each argument and header."""
    arguments, headers = body_of(row)
    for kind, items in (("argument", arguments), ("header", headers)):
        for key, item in items.items():
            say(f"{kind:<10}{printable(key)} = {printable(repr(item))}")


def body_of(row: JobRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and headers; what can't be read is shown as bytes."""
    from callboard.core.registry import decode_body  # noqa: PLC0415 - as in options.client_of

    try:
        return decode_body(row.body)
    except CodecError:
        return {"(unreadable)": row.body[:200]}, {}


def to_dict(row: JobRecord, *, whole: bool = False) -> dict[str, Any]:
    """A failed job as plain data, for JSON; `whole` adds arguments, headers and traceback."""
    error = error_of(row)
    found: dict[str, Any] = {
        "id": row.id, "name": row.name, "queue": row.queue, "attempts": row.attempts, "losses": row.losses,
        "priority": row.priority, "node": row.node, "pushed": instant(row.pushed_ms),
        "failed": instant(row.finished_ms), "error_kind": error.kind, "error": error.message,
    }
    if whole:
        arguments, headers = body_of(row)
        found |= {"traceback": error.traceback, "arguments": arguments, "headers": headers,
                  "token": None if row.token is None else list(row.token)}
    return found


def _summary(row: JobRecord) -> str:
    error = error_of(row)
    return f"{error.kind}: {error.message.partition(chr(10))[0]}" if error.kind else ""

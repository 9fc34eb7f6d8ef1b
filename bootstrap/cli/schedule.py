"""`callboard schedule`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from callboard.cli.main import SubGroup
from callboard.cli.options import EXIT_CODES, client_of, json_option, store_options
from callboard.cli.output import hint, instant, say_json, table
from callboard.config import Config
from callboard.core.errors import InvalidSchedule

if TYPE_CHECKING:
    from callboard.core.records import ScheduleRow


@click.group("schedule", cls=SubGroup, invoke_without_command=True, epilog=EXIT_CODES)
@click.pass_context
def schedule(ctx: click.Context) -> None:
    """Look at the cron entries.

    \b
      callboard schedule list

    Programs add and remove them with callboard.Scheduler.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@schedule.command("list", epilog=EXIT_CODES)
@store_options
@json_option
def list_schedules(*, as_json: bool, **flags: Any) -> None:
    """List cron entries with their last and next ticks (UTC).

    \b
      callboard schedule list --json

    A tick that nobody was there for is treated by the entry's policy: skip, once or all.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    rows = sorted(client_of(Config(flags)).store.schedules(), key=lambda row: row.name)
    found = [_to_dict(row) for row in rows]
    if as_json:
        say_json(found)
    elif not found:
        hint('no cron entries; a program adds them with callboard.Scheduler(queue).add(job, "0 9 * * *")')
    else:
        names = ("name", "cron", "timezone", "missed", "job", "queue", "last", "next")
        table([name.upper() for name in names], [[entry[name] for name in names] for entry in found])


def _to_dict(row: ScheduleRow) -> dict[str, Any]:
    return {
        "name": row.name, "cron": row.cron, "timezone": row.timezone, "missed": row.missed, "window_s": row.window_s,
        "job": row.job.name, "queue": row.job.queue, "last": instant(row.last_tick_ms), "next": _next(row),
    }


def _next(row: ScheduleRow) -> str:
    from callboard.core.cron import next_after, parse  # noqa: PLC0415 - loads cronsim

    try:
        tick_ms = next_after(parse(row.cron, row.timezone), max(row.last_tick_ms, time.time_ns() // 1_000_000))
    except InvalidSchedule as error:
        return f"never: {error.message}"
    return "never" if tick_ms is None else instant(tick_ms)

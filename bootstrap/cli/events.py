"""`callboard events`."""

from __future__ import annotations

from typing import Any

import click

from callboard.cli.options import EXIT_CODES, client_of, json_option, store_options
from callboard.cli.output import coloured, say
from callboard.config import SETTINGS, Config
from callboard.core.printable import printable
from callboard.logs import to_json

_MAIN = ("time", "level", "event", "actor", "node")


@click.command("events", epilog=EXIT_CODES)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes; end with Ctrl-C.")
@click.option("--actor", default="", metavar="NAME",
              help="Only this actor's: elector, dispatcher, worker (all of them), worker:emails, ...")
@click.option("--job", default="", metavar="ID", help="Only this job's.")
@click.option("--event", default="", metavar="NAME",
              help="Only events whose name begins so: job., dispatcher.assigned, ...")
@click.option("--level", default="debug", type=click.Choice(SETTINGS["log_level"].choices), show_default=True,
              help="This level and above.")
@click.option("--last", default=50, type=click.IntRange(0, 10_000), metavar="N", show_default=True,
              help="At most so many that were kept.")
@store_options
@json_option
def events(*, follow: bool, actor: str, job: str, event: str, level: str, last: int, as_json: bool,
           **flags: Any) -> None:
    """Show what the nodes' actors log; --follow shows it as it happens.

    \b
      callboard events --follow
      callboard events --actor elector
      callboard events --job 01893... --json

    Events are read from the nodes, each of which keeps its last 10,000; those of other machines are asked once a
    second, through the cluster backend. Events of level debug, which speak of single jobs, are kept only while somebody
    follows, or by a node started with --log-level debug. Who reads too slowly loses lines, and is told how many.
    docs/events.md says what each event means.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    client = client_of(Config(flags))
    stream = client.events(follow=follow, actor=actor, job=job, event=event, level=level, last=last)
    try:
        for line in stream:
            say(to_json(line) if as_json else _text(line))
    except KeyboardInterrupt:
        if not follow:
            raise


def _text(line: dict[str, Any]) -> str:
    level = str(line.get("level", ""))
    fields = "  ".join(f"{printable(name)}={printable(value)}" for name, value in line.items() if name not in _MAIN)
    clock = str(line.get("time", ""))[11:23]
    return (f"{printable(clock)} {coloured(printable(level).ljust(8), level)} {printable(line.get('node', '')):<10} "
            f"{printable(line.get('actor', '')):<16} {printable(line.get('event', '')):<26} {fields}").rstrip()

"""`callboard push`."""

from __future__ import annotations

import json
from typing import Any

import click

from callboard.cli.options import EXIT_CODES, client_of, json_option, missing_file, setting_options, store_options
from callboard.cli.output import say, say_json
from callboard.config import Config
from callboard.core.errors import InvalidArgument, UnknownJob
from callboard.core.options import Unique


@click.command("push", epilog=EXIT_CODES)
@click.argument("name")
@click.option("--arg", "texts", multiple=True, metavar="NAME=TEXT", help="An argument, as text. May be repeated.")
@click.option("--arg-json", "jsons", multiple=True, metavar="NAME=JSON",
              help="An argument, as JSON: --arg-json n=3, --arg-json 'tags=[\"a\"]'. May be repeated.")
@click.option("--queue", metavar="QUEUE", help="The queue to wait in. Default: the job's own.")
@click.option("--in", "delay", type=float, metavar="SECONDS", help="Start it after so many seconds.")
@click.option("--priority", type=int, metavar="N", help="-100 to 100; higher first within its queue.")
@click.option("--max-attempts", type=int, metavar="N", help="Attempts in all.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Time limit of each attempt.")
@click.option("--unique", metavar="KEY", help="At most one job holds this key, until it has ended; its id is printed.")
@click.option("--unique-until-started", is_flag=True, help="With --unique: the key is free once a node has the job.")
@click.option("--unique-for", type=float, metavar="SECONDS", help="With --unique: the key is held so long, whatever "
              "becomes of the job.")
@click.option("--at-most-once", is_flag=True, default=None, help="It never starts twice: it fails for good instead.")
@click.option("--expires", type=float, metavar="SECONDS", help="It does not start any more after so many seconds.")
@click.option("--result-ttl", type=float, metavar="SECONDS", help="Keep what it returns for so long; 0 keeps none.")
@click.option("--tag", "tags", multiple=True, metavar="TEXT", help="A tag. May be repeated.")
@click.option("--header", "headers", multiple=True, metavar="NAME=TEXT", help="A header. May be repeated.")
@click.option("--id", "job_id", metavar="ID", help="The job's id: pushed again with it, no second job is made.")
@setting_options("app")
@store_options
@json_option
def push(name: str, *, texts: tuple[str, ...], jsons: tuple[str, ...], headers: tuple[str, ...],
         delay: float | None, job_id: str | None, as_json: bool, **flags: Any) -> None:
    """Push a job by its registered name. Prints the job's id.

    \b
      callboard push send_email --arg to=a@b --app myapp.jobs
      callboard push resize --arg path=cat.png --arg-json width=640 --queue images --in 60

    The name and its arguments are checked by the module that --app names; without --app, by what the live nodes of this
    machine tell of their jobs.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    options = {key: flags.pop(key) for key in _OPTIONS}
    options |= {"delay": delay, "id": job_id, "headers": pairs(headers, "--header") or None,
                "tags": list(flags.pop("tags")) or None, "unique": unique_of(flags)}
    arguments = arguments_of(texts, jsons)
    from callboard.app_import import import_jobs  # noqa: PLC0415 - only where it is used

    config = Config(flags)
    app = config.get("app") or ()
    import_jobs(app)
    if not app and missing_file(config.store) is not None:
        raise UnknownJob(f"nobody here knows a job {name!r}: there is no store yet and no node; name the module that "
                         "defines it (--app), or start a node")
    given = {key: value for key, value in options.items() if value is not None}
    pushed = client_of(config, create=bool(app)).push_named(name, arguments, **given)
    if as_json:
        say_json({"id": pushed})
    else:
        say(pushed)


_OPTIONS = ("queue", "priority", "max_attempts", "timeout", "at_most_once", "expires", "result_ttl")


def unique_of(flags: dict[str, Any]) -> Unique | None:
    """The unique key that the flags give, taken out of them. Raises InvalidArgument."""
    key, started, period_s = (flags.pop(name) for name in ("unique", "unique_until_started", "unique_for"))
    if key is None:
        if started or period_s is not None:
            raise InvalidArgument("--unique-until-started and --unique-for go with --unique KEY")
        return None
    return Unique(key, "started" if started else "done", period_s)


def pairs(texts: tuple[str, ...], what: str) -> dict[str, str]:
    """NAME=TEXT each, no name twice. Raises InvalidArgument."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidArgument(f"{what} {text!r} must be NAME=VALUE")
        if name in found:
            raise InvalidArgument(f"{what} gives {name!r} twice")
        found[name] = value
    return found


def arguments_of(texts: tuple[str, ...], jsons: tuple[str, ...]) -> dict[str, Any]:
    """The job's arguments from --arg and --arg-json. Raises InvalidArgument."""
    arguments: dict[str, Any] = dict(pairs(texts, "--arg"))
    for name, text in pairs(jsons, "--arg-json").items():
        if name in arguments:
            raise InvalidArgument(f"--arg and --arg-json both give {name!r}")
        try:
            arguments[name] = json.loads(text)
        except ValueError as error:
            raise InvalidArgument(f"--arg-json {name}: {text!r} is no JSON: {error}; for a text use --arg",
                                  cause=error) from error
    return arguments

"""`callboard push`."""

from __future__ import annotations

import json
from typing import Any

import click

from callboard.cli.options import EXIT_CODES, client_of, json_option, missing_file, setting_options, store_options
from callboard.cli.output import say, say_json
from callboard.config import Config
from callboard.core.errors import InvalidArgument, UnknownJob


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
@click.option("--unique", metavar="KEY", help="At most one live job with this key; its id is printed.")
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
    options = {key: flags.pop(key) for key in ("queue", "priority", "max_attempts", "timeout", "unique")}
    options |= {"delay": delay, "id": job_id, "headers": pairs(headers, "--header") or None}
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

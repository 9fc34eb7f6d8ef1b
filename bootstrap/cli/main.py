"""The command `callboard`: finds commands by name, loads them when they are used, and turns errors into one line."""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from callboard.core.errors import AppImportFailed, QueueError
from callboard.core.options import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


Resolved = tuple[str | None, click.Command | None, list[str]]


class CommandPlace(NamedTuple):
    """Where a command is, and its first line of help: shown without loading it."""

    module: str
    attribute: str
    short_help: str


COMMANDS: Final = {
    "node": CommandPlace("node", "node", "Start a node: it runs jobs, and takes part in leading the cluster."),
    "push": CommandPlace("push", "push", "Push a job by its registered name."),
    "status": CommandPlace("status", "status", "Show nodes, leader, queues, slots, what runs, and health."),
    "scale": CommandPlace("scale", "scale", "Set how many jobs of a queue run side by side, while they run."),
    "events": CommandPlace("events", "events", "Show what the nodes' actors log; --follow shows it as it happens."),
    "job": CommandPlace("job", "job", "Show one job, and what happened to it so far."),
    "why": CommandPlace("job", "why", "Say in a sentence what a job waits for."),
    "failed": CommandPlace("failed", "failed", "Look at jobs that failed for good; retry or forget them."),
    "schedule": CommandPlace("schedule", "schedule", "Look at the cron entries."),
    "pause": CommandPlace("queues", "pause", "Start no more jobs of a queue, until it is resumed."),
    "resume": CommandPlace("queues", "resume", "Start jobs of a paused queue again."),
    "cancel": CommandPlace("queues", "cancel", "Cancel jobs that wait; stop those that run."),
    "limit": CommandPlace("queues", "limit", "Bound how many jobs may wait in a queue."),
    "purge": CommandPlace("queues", "purge", "Forget all jobs that wait in a queue."),
    "drain": CommandPlace("queues", "drain", "Give a node nothing new, as before an upgrade."),
    "cluster": CommandPlace("cluster", "cluster", "Look after the cluster backend that a store obeys."),
    "migrate": CommandPlace("migrate", "migrate", "Make a SQL store's tables, or bring them up to date."),
    "doctor": CommandPlace("doctor", "doctor", "Check settings, store and cluster, and time a round trip."),
}


class CallboardGroup(click.Group):
    """A group whose commands are loaded when they are used, and whose misses say what was meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of use."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        del ctx
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        found: click.Command = getattr(import_module(f"callboard.cli.{place.module}"), place.attribute)
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Resolved:
        """Say "did you mean" for an unknown command."""
        check_command_name(args[0], COMMANDS, ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table: `callboard --help` loads no command."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.short_help) for name, place in COMMANDS.items()])


class SubGroup(click.Group):
    """A group below `callboard`, with the same manners."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Resolved:
        """Say "did you mean" for an unknown command."""
        check_command_name(args[0], self.commands, ctx)
        return super().resolve_command(ctx, args)


def check_command_name(name: str, known: Any, ctx: click.Context) -> None:
    """Raises click.UsageError for a name that is no command."""
    if not name.startswith("-") and name not in known:
        raise click.UsageError(f"there is no command {name!r}{did_you_mean(name, known)}", ctx)


@click.group(cls=CallboardGroup, invoke_without_command=True,
             context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, help="Print the version.")
@click.pass_context
def cli(ctx: click.Context, *, version: bool) -> None:
    """A job queue that runs as a cluster of actors.

    \b
      callboard node --app myapp.jobs           start a node (on sqlite:///callboard.db)
      callboard push send_email --arg to=a@b    push a job
      callboard status                          see what goes on

    Settings come from flags, then CALLBOARD_* variables, then callboard.toml or [tool.callboard] in pyproject.toml.
    Exit codes: 0 done, 1 it failed, 2 it was called wrongly, 3 a server can't be reached.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    if version:
        from callboard.version import callboard_version  # noqa: PLC0415 - reads the installed metadata

        click.echo(f"callboard {callboard_version()}")
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    if os.environ.get("NO_COLOR"):
        cli.context_settings["color"] = False
    try:
        code = run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader went away, as `head` does; Python would complain at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def run(args: Sequence[str] | None) -> int:
    """Run a command; its exit code. What was called wrongly, or failed as foreseen, is one line on standard error."""
    if os.environ.get("_CALLBOARD_COMPLETE"):  # a shell asks click what may follow
        cli.main(prog_name="callboard")
    try:
        # Not cli.main: it makes exit code 1 of a reader that went away.
        with cli.make_context("callboard", list(sys.argv[1:] if args is None else args)) as ctx:
            result = cli.invoke(ctx)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else "callboard"
        return _fail(path, f"{_usage(error)}; see {path} --help", 2)
    except (click.Abort, KeyboardInterrupt):
        return _fail("callboard", "aborted", 1)
    except click.ClickException as error:
        return _fail("callboard", error.format_message(), 1)
    except QueueError as error:
        if os.environ.get("CALLBOARD_DEBUG"):
            raise
        return _fail("callboard", _summary(error), error.exit_code)
    return result if isinstance(result, int) else 0


def _summary(error: QueueError) -> str:
    """What happened, in one line; where an app can't be imported, also at which of its lines."""
    if not isinstance(error, AppImportFailed):
        return error.message
    first, _, traceback = error.message.partition("\n")
    places = re.findall(r'File "([^"<]+)", line (\d+)', traceback)
    place = f" at {places[-1][0]}:{places[-1][1]}" if places else ""
    return f"{first.rstrip(':')}{place} (CALLBOARD_DEBUG=1 shows all of it)"


def _fail(path: str, text: str, code: int) -> int:
    one_line = " ".join(text.split())
    colour = False if os.environ.get("NO_COLOR") else None
    click.echo(f"{path}: {click.style('error', fg='red')}: {one_line}", err=True, color=colour)
    return code


def _usage(error: click.UsageError) -> str:
    """The sentence of click in our manner, with "did you mean" for an option."""
    if isinstance(error, click.NoSuchOption):
        known = [] if error.ctx is None else [
            name for parameter in error.ctx.command.get_params(error.ctx) for name in parameter.opts]
        return f"there is no option {error.option_name!r}{did_you_mean(error.option_name, known)}"
    text = error.format_message().strip().rstrip(".")
    return f"{text[:1].lower()}{text[1:]}"

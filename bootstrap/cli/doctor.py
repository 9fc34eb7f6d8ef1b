"""`callboard doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from callboard.cli.options import EXIT_CODES, json_option, setting_options, store_options
from callboard.cli.output import coloured, say, say_json
from callboard.config import Config
from callboard.core.printable import printable

if TYPE_CHECKING:
    from callboard.checks import Check


@click.command("doctor", epilog=f"{EXIT_CODES} 1: a check failed; 3: store or cluster can't be reached.")
@setting_options("app")
@store_options
@json_option
def doctor(*, as_json: bool, **flags: Any) -> int:
    """Check settings, store and cluster, and time a round trip.

    \b
      callboard doctor
      callboard doctor --app myapp.jobs      imports the app, too

    Prints what is set and by whom, what store and cluster guarantee and what not, how long a round trip takes, whether
    the directory for sockets is safe, and which nodes answer. It makes no store that is not there.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    from callboard.checks import all_checks  # noqa: PLC0415 - loads stores and cluster backends

    checks = list(all_checks(Config(flags)))
    if as_json:
        say_json([check._asdict() for check in checks])
    else:
        _show(checks)
    return max((check.exit_code for check in checks), default=0)


def _show(checks: list[Check]) -> None:
    for check in checks:
        say(f"{coloured(check.result.ljust(6), check.result)} {check.subject:<14} {printable(check.text)}")
        for detail in check.details:
            say(f"{'':<22}{printable(detail)}")

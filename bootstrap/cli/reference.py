"""docs/cli.md and docs/settings.md, from the commands' own help and the settings' table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from callboard.cli.main import cli
from callboard.config import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH: Final = 100


def cli_page() -> str:
    """docs/cli.md."""
    root = click.Context(cli, info_name="callboard", terminal_width=WIDTH, max_content_width=WIDTH,
                         help_option_names=cli.context_settings["help_option_names"])
    parts = [_CLI, _block(root)]
    for ctx in _contexts(root):
        level = "#" * (ctx.command_path.count(" ") + 1)
        parts.append(f"\n{level} {ctx.command_path}\n\n{_block(ctx)}")
    return "".join(parts)


def settings_page() -> str:
    """docs/settings.md."""
    rows = "\n".join(
        f"| `{setting.name}` | {f'`{setting.flag}`' if setting.flag else '-'} | `{setting.variable}` | "
        f"{setting.meaning.replace('|', chr(92) + '|')} | {f'`{setting.default}`' if setting.default else '-'} |"
        for setting in SETTINGS.values())
    return _SETTINGS.format(rows=rows)


def _contexts(parent: click.Context) -> Iterator[click.Context]:
    command = parent.command
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(parent):
        found = command.get_command(parent, name)
        if found is not None:
            ctx = click.Context(found, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH)
            yield ctx
            yield from _contexts(ctx)


def _block(ctx: click.Context) -> str:
    text = "\n".join(line.rstrip() for line in ctx.get_help().splitlines())
    return f"```text\n{text}\n```\n"


_CLI: Final = """# The command line

Drawn from the commands' own `--help` by `docs/make.py`. See also [settings](settings.md) and [events](events.md).
For completion by Tab: `eval "$(_CALLBOARD_COMPLETE=bash_source callboard)"` (`zsh_source`, `fish_source`).

"""
_SETTINGS: Final = """# Settings

Drawn from `bootstrap/config.py` by `docs/make.py`. A setting comes from its flag, else from its variable, else from a
file in the working directory: `callboard.toml`, or the table `[tool.callboard]` of `pyproject.toml` (not both). Times
are seconds. `callboard doctor` shows what holds, and who said so.

| in a file | flag | variable | meaning | default |
|---|---|---|---|---|
{rows}

Lists are arrays of texts in a file, the flag repeated on the command line, and texts with spaces between them in a
variable:

```toml
# callboard.toml
app = ["myapp.jobs"]
store = "sqlite:///jobs.db"
queues = ["emails:10", "reports=1,default=3:4"]
stop_grace = 60
```

```sh
CALLBOARD_QUEUES="emails:10 default:4" callboard node --app myapp.jobs
```

**Queues.** `emails:10` is a pool of ten slots for one queue. `reports=1,default=3:4` is a pool of four slots for two
queues that are served by weight, one to three. Without a number a pool has five slots.

**Secrets.** An address with a password is refused as a flag: every user of a machine can read the arguments of its
processes. Put it into `CALLBOARD_STORE`, or into a file of mode 0600 that `store_file` (or `CALLBOARD_STORE_FILE`)
names. A `callboard.toml` that has it must be of mode 0600 itself. For the cluster backend the same: `cluster_file`.
`cluster_key` has no flag: it comes from its variable, from a file of mode 0600 that `cluster_key_file` names, or from a
`callboard.toml` of mode 0600.

**Mistakes.** An unknown key in a file is an error that says what may have been meant. `callboard doctor` does the same
for variables that begin with `CALLBOARD_`. `CALLBOARD_DEBUG=1` shows tracebacks where a command would say one line.

Drivers by name (`callboard.driver("database")`) have variables of their own, `QUEUE_*`:
see [drivers](guide/drivers.md).
"""

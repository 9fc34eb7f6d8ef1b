"""`callboard migrate`: make a SQL store's tables, or bring them up to date."""

from __future__ import annotations

from typing import Any

import click

from callboard.cli.options import EXIT_CODES, json_option, store_options
from callboard.cli.output import hint, say, say_json
from callboard.config import Config


@click.command("migrate", epilog=EXIT_CODES)
@click.option("--sql", "as_sql", is_flag=True, help="Print the statements that are missing, and change nothing.")
@store_options
@json_option
def migrate(*, as_sql: bool, as_json: bool, **flags: Any) -> None:
    """Make a SQL store's tables, or bring them up to date. A store that is current stays as it is.

    \b
      callboard migrate --store postgresql://...
      callboard migrate --store postgresql://... --sql > callboard.sql

    Nodes and pushes do the same when they open a store, where their user may change tables. Run it by hand where only
    an administrator may. Nodes that are running go on meanwhile: a version first adds, and a later one takes away. For
    the user of nodes and programs SELECT, INSERT, UPDATE and DELETE are enough, and on PostgreSQL USAGE on sequences.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    from callboard.stores import mask_url, migrate_store, migration_sql  # noqa: PLC0415 - as in options.client_of

    url = Config(flags).store
    missing = migration_sql(url)
    if as_sql:
        if as_json:
            say_json({"store": mask_url(url), "sql": missing})
        elif missing:
            say(missing.rstrip())
        else:
            hint(f"nothing to do: the tables of {mask_url(url)} are current")
        return
    if missing:
        migrate_store(url)
    if as_json:
        say_json({"store": mask_url(url), "migrated": bool(missing)})
    else:
        say(f"{mask_url(url)}: {'its tables are current now' if missing else 'its tables were current'}")

"""`callboard cluster`: hand a store over to another cluster backend."""

from __future__ import annotations

from typing import Any

import click

from callboard.cli.main import SubGroup
from callboard.cli.options import EXIT_CODES, client_of, json_option, store_options
from callboard.cli.output import say, say_json
from callboard.config import Config


@click.group("cluster", cls=SubGroup, invoke_without_command=True, epilog=EXIT_CODES)
@click.pass_context
def cluster(ctx: click.Context) -> None:
    """Look after the cluster backend that a store obeys.

    \b
      callboard cluster adopt --cluster redis://...
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@cluster.command("adopt", epilog=EXIT_CODES)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@store_options
@json_option
def adopt(*, yes: bool, as_json: bool, **flags: Any) -> None:
    """Hand the store over to the cluster backend that the settings name.

    \b
      callboard cluster adopt --store postgresql://... --cluster redis://...

    A store takes leaders from the backend that gave it its first one, so that two coordination services never lead it
    at once. After a change of --cluster, or when that service was emptied, nodes say that their term is refused: stop
    the nodes that use the old one, then adopt the new one. What runs goes on, epochs grow as ever.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    from callboard.backends.clock import SystemClock  # noqa: PLC0415 - as in options.client_of
    from callboard.stores import mask_url, open_cluster  # noqa: PLC0415 - as in options.client_of

    config = Config(flags)
    store = client_of(config).store
    url = config.cluster or config.store
    backend = open_cluster(url, SystemClock())
    try:
        cluster_id, name = backend.cluster_id, backend.characteristics.name
    finally:
        backend.close()
    fence = store.fence()
    before = {"cluster_id": fence.cluster_id, "backend": fence.backend}
    now = {"cluster_id": cluster_id, "backend": name}
    if not yes:
        known = f"{before['backend']} {before['cluster_id']}" if fence.epoch else "nobody yet"
        click.confirm(f"The store obeys {known}. Let it obey {name} {cluster_id} at {mask_url(url)} from now on?",
                      abort=True, err=True)
    store.adopt(cluster_id, name)
    if as_json:
        say_json({"before": before, "now": now})
    else:
        say(f"the store obeys {name} {cluster_id} from now on")

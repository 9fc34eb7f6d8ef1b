"""`callboard scale`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from callboard.cli.options import EXIT_CODES, client_of, json_option, store_options
from callboard.cli.output import count, hint, say, say_json
from callboard.config import Config
from callboard.core.errors import InvalidArgument
from callboard.core.options import did_you_mean

if TYPE_CHECKING:
    from callboard.client import Client


@click.command("scale", epilog=EXIT_CODES)
@click.argument("queue")
@click.argument("slots", type=int)
@click.option("--node", "node", metavar="NAME", help="Only on this node. Default: on every node.")
@click.option("--total", is_flag=True, help="SLOTS is for all live nodes together; each gets its share.")
@store_options
@json_option
def scale(queue: str, slots: int, *, node: str | None, total: bool, as_json: bool, **flags: Any) -> None:
    """Set how many jobs of a queue run side by side, while they run.

    \b
      callboard scale emails 20               20 on every node that serves emails
      callboard scale emails 5 --node n1      5 on n1
      callboard scale emails 40 --total       40 together: each live node's share

    The order is kept in the store: nodes that join later follow it. An order for one node holds there until the next
    one for all nodes. Shrinking interrupts no job: what runs ends, and nothing takes its place. 0 is allowed. A pool
    that serves several queues has one number of slots: to scale one of them scales it.

    With --total the shares are computed once, from the nodes that serve the queue now and are not draining; they are
    orders for those nodes by name, the first by name getting what does not divide evenly. A node that joins later
    starts with its own number; say it again to divide anew.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    if total and node is not None:
        raise InvalidArgument("--total divides among all nodes: leave --node out")
    client = client_of(Config(flags))
    if total:
        orders: dict[str, int] = client.scale_total(queue, slots)
    else:
        client.scale(queue, slots, node)
        orders = {node or "*": slots}
        _warn(client, queue, node)
    if as_json:
        say_json({"queue": queue, "slots": orders})
        return
    for name, number in orders.items():
        say(f"{queue}: {count(number, 'slot')} on {'every node' if name == '*' else name}")


def _warn(client: Client, queue: str, node: str | None) -> None:
    """Say so where nobody follows the order now: it may be a slip of the pen."""
    live = client.store.sessions()
    names = [view.info.node for view in live]
    served = {share.queue for view in live if node in (None, view.info.node)
              for pool in view.pools for share in pool.report.queues}
    if node is not None and node not in names:
        hint(f"note: no live node is named {node!r}{did_you_mean(node, names)}; the order waits for it")
    elif queue not in served:
        near = did_you_mean(queue, served)
        hint(f"note: no live node serves queue {queue!r}{near}; the order waits for one that does")

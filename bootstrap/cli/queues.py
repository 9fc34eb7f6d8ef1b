"""`callboard pause`, `resume`, `cancel`, `limit`, `purge` and `drain`."""

from __future__ import annotations

from typing import Any

import click

from callboard.cli.options import EXIT_CODES, client_of, json_option, store_options
from callboard.cli.output import count, hint, say, say_json
from callboard.config import Config
from callboard.core.options import did_you_mean


@click.command("pause", epilog=EXIT_CODES)
@click.argument("queue")
@store_options
@json_option
def pause(queue: str, *, as_json: bool, **flags: Any) -> None:
    """Start no more jobs of a queue, until it is resumed.

    \b
      callboard pause emails

    What runs goes on; what was given to a node and has not started goes back, uncharged. Pushes are taken. The order is
    kept in the store.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    client_of(Config(flags)).pause(queue)
    _done(f"{queue}: paused", {"queue": queue, "paused": True}, as_json=as_json)


@click.command("resume", epilog=EXIT_CODES)
@click.argument("queue")
@store_options
@json_option
def resume(queue: str, *, as_json: bool, **flags: Any) -> None:
    """Start jobs of a paused queue again.

    \b
      callboard resume emails
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    client_of(Config(flags)).resume(queue)
    _done(f"{queue}: resumed", {"queue": queue, "paused": False}, as_json=as_json)


@click.command("cancel", epilog=f"{EXIT_CODES} 1 also: a job had ended already.")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@store_options
@json_option
def cancel(job_ids: tuple[str, ...], *, as_json: bool, **flags: Any) -> int:
    """Cancel jobs that wait; stop those that run.

    \b
      callboard cancel 01893...

    A job that waits never starts. For one that runs, its node is told to stop its process; that takes a moment.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    from callboard.core.records import CancelResult  # noqa: PLC0415 - as in options.client_of

    texts = {CancelResult.CANCELLED: "cancelled", CancelResult.REQUESTED: "being stopped by its node",
             CancelResult.TOO_LATE: "too late, it had ended"}
    client = client_of(Config(flags))
    results: dict[str, CancelResult] = {}
    for job_id in job_ids:
        results[job_id] = client.cancel(job_id)
        if not as_json:
            say(f"{job_id}: {texts[results[job_id]]}")
    if as_json:
        say_json({job_id: result.name.lower() for job_id, result in results.items()})
    return 1 if CancelResult.TOO_LATE in results.values() else 0


@click.command("limit", epilog=EXIT_CODES)
@click.argument("queue")
@click.option("--max-depth", type=click.IntRange(min=1), metavar="N",
              help="Delayed and ready jobs that may wait; a push beyond them is refused.")
@click.option("--aging", type=click.FloatRange(min=0.001), metavar="SECONDS",
              help="A job that has waited this long counts as one priority higher.")
@click.option("--off", is_flag=True, help="Lift the queue's limits.")
@store_options
@json_option
def limit(queue: str, *, max_depth: int | None, aging: float | None, off: bool, as_json: bool, **flags: Any) -> None:
    """Bound how many jobs may wait in a queue.

    \b
      callboard limit emails --max-depth 100000
      callboard limit emails --aging 60
      callboard limit emails --off

    The order replaces the queue's earlier one, is kept in the store, and holds for what is pushed from now on. Retries
    and what has been pushed are never refused. Without an option it shows the limits.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    from callboard.core.records import QueueLimits  # noqa: PLC0415 - as in options.client_of

    if off and (max_depth is not None or aging is not None):
        raise click.UsageError("--off lifts the limits, so it goes with no other")
    store = client_of(Config(flags)).store
    if off or max_depth is not None or aging is not None:
        store.set_limits(queue, QueueLimits(max_depth, aging))
    (found,) = store.counts([queue])
    depth = "no bound of its own" if found.max_depth is None else f"at most {count(found.max_depth, 'job')} wait"
    aged = "" if found.aging_s is None else f", a priority higher after each {found.aging_s:g} s"
    _done(f"{queue}: {depth}{aged}", {"queue": queue, "max_depth": found.max_depth, "aging_s": found.aging_s},
          as_json=as_json)


@click.command("purge", epilog=EXIT_CODES)
@click.argument("queue")
@store_options
@json_option
def purge(queue: str, *, as_json: bool, **flags: Any) -> None:
    """Forget all jobs that wait in a queue.

    \b
      callboard purge emails

    Delayed, ready and assigned jobs go, for good; what runs is left alone, and the failed list too. Ids stay known:
    pushed again, they make no new job.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    number = client_of(Config(flags)).purge(queue)
    _done(f"{queue}: {count(number, 'job')} forgotten", {"queue": queue, "purged": number}, as_json=as_json)


@click.command("drain", epilog=EXIT_CODES)
@click.argument("node")
@click.option("--off", is_flag=True, help="Give it jobs again.")
@store_options
@json_option
def drain(node: str, *, off: bool, as_json: bool, **flags: Any) -> None:
    """Give a node nothing new, as before an upgrade.

    \b
      callboard drain n1
      callboard status           # until n1 holds nothing
      callboard drain n1 --off

    What it runs goes on. The order is kept in the store by the node's name, so a node that is started again under that
    name stays drained until --off.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    client = client_of(Config(flags))
    client.drain(node, draining=not off)
    names = [view.info.node for view in client.store.sessions()]
    if node not in names:
        hint(f"note: no live node is named {node!r}{did_you_mean(node, names)}; the order waits for it")
    _done(f"{node}: {'gets jobs again' if off else 'draining'}", {"node": node, "draining": not off}, as_json=as_json)


def _done(text: str, value: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json(value)
    else:
        say(text)

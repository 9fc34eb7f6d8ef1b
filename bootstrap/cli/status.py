"""`callboard status`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from callboard.cli.options import EXIT_CODES, client_of, json_option, store_options
from callboard.cli.output import ago, coloured, count, say, say_json, table
from callboard.config import Config

if TYPE_CHECKING:
    from callboard.status import NodeView, QueueView, RunningView, Status

RUNNING_SHOWN = 20


@click.command("status", epilog=EXIT_CODES)
@click.option("--watch", type=click.FloatRange(min=0.2), metavar="SECONDS",
              help="Show it again and again; end with Ctrl-C.")
@store_options
@json_option
def status(*, watch: float | None, as_json: bool, **flags: Any) -> None:
    """Show nodes, leader, queues, slots, what runs, and health.

    \b
      callboard status
      callboard status --json | jq '.queues[] | {queue, ready}'
      callboard status --watch 1

    Health is judged by the failed list: warning over 100 jobs, critical over 1,000. Nodes of other machines are
    asked through the cluster backend; those that do not answer are shown as the store knows them.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    client = client_of(Config(flags))
    if watch is None:
        _show(client.status(), as_json=as_json)
        return
    try:
        while True:
            found = client.status()
            if not as_json:
                click.clear()
            _show(found, as_json=as_json)
            time.sleep(watch)
    except KeyboardInterrupt:
        return


def _show(found: Status, *, as_json: bool) -> None:
    if as_json:
        say_json(found.to_dict())
        return
    now_ms = time.time_ns() // 1_000_000
    leader = f"leader {found.leader}" if found.leader else "no leader"
    say(f"{found.store}  {coloured(found.health)}  {leader}, epoch {found.epoch}  {count(len(found.nodes), 'node')}, "
        f"{count(found.slots, 'slot')}")
    say()
    if found.nodes:
        table(("NODE", "HOST", "PID", "UP", "POOLS", "SLOTS", "HELD", "STATE"),
              [(node.node, node.host, str(node.pid), ago(now_ms, node.started_ms), _pools(node), node.slots,
                sum(pool.held for pool in node.pools), _state(node)) for node in found.nodes],
              right=("PID", "UP", "SLOTS", "HELD"))
    else:
        say("No node runs. Start one: callboard node --app myapp.jobs")
    if found.queues:
        say()
        table(("QUEUE", "READY", "DELAYED", "ASSIGNED", "RUNNING", "FAILED", "COMPLETED", "CANCELLED", "SLOTS", ""),
              [(queue.queue, queue.ready, queue.delayed, queue.assigned, queue.running, queue.failed, queue.completed,
                queue.cancelled, queue.slots, _note(queue)) for queue in found.queues],
              right=("READY", "DELAYED", "ASSIGNED", "RUNNING", "FAILED", "COMPLETED", "CANCELLED", "SLOTS"))
    if found.running:
        say()
        table(("RUNNING", "NAME", "QUEUE", "NODE", "PID", "SECONDS", "PROGRESS"),
              [(job.id, job.name, job.queue, job.node, "" if job.pid is None else str(job.pid),
                "" if job.seconds is None else f"{job.seconds:.1f}", _progress(job))
               for job in found.running[:RUNNING_SHOWN]],
              right=("PID", "SECONDS"))
        if len(found.running) > RUNNING_SHOWN:
            say(f"and {len(found.running) - RUNNING_SHOWN} more")


def _progress(job: RunningView) -> str:
    share = "" if job.fraction is None else f"{job.fraction:.0%}"
    return f"{share} {job.message}".strip()


def _note(queue: QueueView) -> str:
    words = [] if queue.max_depth is None else [f"at most {queue.max_depth:,} wait"]
    return ", ".join([*words, "paused"] if queue.paused else words)


def _pools(node: NodeView) -> str:
    return " ".join(f"{','.join(pool.queues)}:{pool.slots}" for pool in node.pools)


def _state(node: NodeView) -> str:
    words = [word for word, true in (
        ("leads", node.leader), ("runs one job alone", node.isolating), ("draining", node.draining)) if true]
    restarts = sum(node.restarts.values())
    if restarts:
        words.insert(0, count(restarts, "actor restart"))
    return ", ".join(words)

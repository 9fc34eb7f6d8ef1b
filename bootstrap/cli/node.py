"""`callboard node`."""

from __future__ import annotations

from typing import Any

import click

from callboard.cli.options import EXIT_CODES, setting_options
from callboard.config import Config


@click.command("node", epilog=f"{EXIT_CODES} 1 also: an actor died too often, or a live node has this name.")
@setting_options("app", "store", "cluster", "queues", "node_id", "executor", "role", "candidates_max", "timeout",
                 "max_attempts", "retry_after", "log_level", "log_format", "log_file", "lease_ttl", "session_ttl",
                 "stop_grace", "child_memory_max_mb", "recycle_jobs", "recycle_rss_mb")
def node(**flags: Any) -> int:
    """Start a node: it runs jobs, and takes part in leading the cluster.

    \b
      callboard node --app myapp.jobs
      callboard node --app myapp.jobs --queue emails:10 --queue default:4 --node-id n1

    With nothing but --app it works on sqlite:///callboard.db, and a second node started beside it joins: no service is
    needed. It runs until SIGTERM or SIGINT (Ctrl-C): then it starts nothing more, hands back what never started, and
    gives running jobs the time of --stop-grace. A second signal kills what runs.
    """  # noqa: D301 - \b is click's mark for a paragraph that stays as it is
    from callboard.serve import serve  # noqa: PLC0415 - loads actors and stores, which --help does not need

    config = Config(flags)
    return serve(config.node_settings(), config.get("log_file"))

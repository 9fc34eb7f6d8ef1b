"""From settings to an executor host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.backends.executors.host import ExecutorOptions, TemplateHost

if TYPE_CHECKING:
    from callboard.core.config import NodeConfig
    from callboard.core.ports import Clock, ExecutorHost
    from callboard.logs import EventLog
    from callboard.settings import NodeSettings


def make_host(settings: NodeSettings, config: NodeConfig, clock: Clock, log: EventLog) -> ExecutorHost:
    """The template process that imports the app and forks the pools' children."""
    del config, log
    return TemplateHost(settings.app, settings.executor, ExecutorOptions(), clock)

"""From settings to an executor host."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from callboard.backends.executors.host import TemplateHost
from callboard.backends.executors.options import ExecutorOptions

if TYPE_CHECKING:
    from callboard.backends.executors.options import Kind
    from callboard.core.ports import Clock, ExecutorHost
    from callboard.settings import NodeSettings


def make_host(settings: NodeSettings, clock: Clock) -> ExecutorHost:
    """The template process that imports the app and forks the pools' children."""
    options = ExecutorOptions(
        kill_grace_s=settings.kill_grace_s,
        child_memory_max_mb=settings.child_memory_max_mb,
        recycle_rss_mb=settings.recycle_rss_mb,
    )
    if settings.recycle_jobs is not None:
        options = replace(options, recycle_jobs=settings.recycle_jobs)
    return TemplateHost(settings.app, cast("Kind", settings.executor), options, clock)

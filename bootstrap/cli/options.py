"""What commands share: flags made from the settings' table, and a client by them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from callboard.config import SETTINGS, Config
from callboard.core.errors import StoreUnavailable, UsageError
from callboard.stores import mask_url, scheme_of, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.client import Client

F = TypeVar("F", bound="Callable[..., Any]")

EXIT_CODES = "Exit codes: 0 done, 1 it failed, 2 it was called wrongly, 3 a server can't be reached."


def setting_options(*names: str) -> Callable[[F], F]:
    """Flags for these settings, in this order; their texts stand in `config.py`, once."""

    def decorate(function: F) -> F:
        for name in reversed(names):
            setting = SETTINGS[name]
            default = f" Default: {setting.default}." if setting.default else ""
            function = click.option(
                setting.flag, name, multiple=setting.kind == "list", metavar=_metavar(name),
                help=f"{setting.meaning[0].upper()}{setting.meaning[1:]}.{default}",
            )(function)
        return function

    return decorate


def store_options(function: F) -> F:
    """The flags of every command that talks to a cluster."""
    return setting_options("store", "cluster")(function)


def json_option(function: F) -> F:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(function)


def client_of(config: Config, *, create: bool = False) -> Client:
    """A client of the cluster that the settings name.

    Args:
        config: the settings.
        create: a store that is not there yet is made.

    Raises:
        UsageError: Raised when no other process can reach that store.
        StoreUnavailable: Raised when it is not there.
    """
    from callboard.client import Client  # noqa: PLC0415 - `callboard --help` needs none of it

    if scheme_of(config.store, "store") == "memory":
        raise UsageError(f"{config.store} lives within one process and no command can reach it; use sqlite:///FILE "
                         f"(it was set by {config.source('store')})")
    if config.cluster is not None:
        scheme_of(config.cluster, "cluster")
    missing = missing_file(config.store)
    if missing is not None and not create:
        raise StoreUnavailable(f"there is no store yet at {missing}: start a node or push a job first, or name another "
                               "(--store)")
    client = Client(config.store, config.cluster, cluster_key=config.cluster_key)
    click.get_current_context().call_on_close(client.close)
    return client


def missing_file(store: str) -> str | None:
    """The path of a SQLite store that is not there; None where it is, or the store is no file."""
    if scheme_of(store, "store") != "sqlite":
        return None
    path = sqlite_path(store)
    return None if Path(path).exists() else path


def where(config: Config) -> str:
    """The store and who named it, for messages."""
    return f"{mask_url(config.store)} ({config.source('store')})"


def _metavar(name: str) -> str:
    setting = SETTINGS[name]
    if name == "queues":
        return "NAME:SLOTS"
    if setting.choices:
        return "|".join(setting.choices)
    return {"url": "URL", "seconds": "SECONDS", "whole": "N", "path": "FILE", "list": "NAME"}.get(setting.kind, "TEXT")

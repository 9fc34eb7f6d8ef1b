"""What `callboard doctor` looks at."""

from __future__ import annotations

import os
import platform
import sqlite3
import stat
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from callboard.app_import import import_jobs
from callboard.backends.clock import SystemClock
from callboard.backends.runtime_dir import runtime_folder
from callboard.client import Client
from callboard.config import SETTINGS
from callboard.control_socket import FOLDER
from callboard.core.errors import QueueError, Unavailable, UsageError
from callboard.core.messages import AskStatus
from callboard.core.registry import registry
from callboard.link import Link, check_path
from callboard.stores import mask_url, open_cluster, scheme_of, sqlite_path
from callboard.version import callboard_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from callboard.config import Config
    from callboard.core.ports import ClusterBackend, JobStore
    from callboard.core.records import Characteristics, SessionView

ROUND_TRIPS: Final = 20
STATUS_S: Final = 2.0


class Check(NamedTuple):
    """One finding.

    Attributes:
        result: ok, note (worth knowing, not wrong) or failed.
        exit_code: what a failed one ends the command with.
    """

    subject: str
    result: Literal["ok", "note", "failed"]
    text: str
    details: tuple[str, ...] = ()
    exit_code: int = 0


def all_checks(config: Config) -> Iterator[Check]:
    """Every check, in order; one that fails does not stop the others."""
    yield _versions()
    yield from _settings(config)
    yield from _guarded("app", lambda: _app(config))
    yield from _guarded("sockets", _sockets)
    if scheme_of(config.store, "store") == "memory":
        yield Check("store", "note", "memory:// lives within one process: only the program that opened it reaches it")
        return
    missing = _missing_file(config.store)
    if missing is not None:
        yield _not_there(missing)
        return
    client = Client(config.store, config.cluster, cluster_key=config.cluster_key)
    found = list(_guarded("store", lambda: _store(client.store, mask_url(config.store))))
    yield from found
    fails = any(check.result == "failed" for check in found)
    if not fails or config.cluster is not None:  # else the cluster is in that store
        yield from _guarded("cluster", lambda: _cluster(config))
    if not fails:
        yield from _guarded("nodes", lambda: _nodes(client))


def _guarded(subject: str, check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from check()
    except QueueError as error:
        code = error.exit_code if isinstance(error, (Unavailable, UsageError)) else 1
        yield Check(subject, "failed", " ".join(error.message.split()), exit_code=code)


def _versions() -> Check:
    return Check("versions", "ok", f"callboard {callboard_version()}, Python {platform.python_version()}, "
                                   f"SQLite {sqlite3.sqlite_version}, {platform.system()} {platform.release()}")


def _settings(config: Config) -> Iterator[Check]:
    shown = [f"{name} = {_shown(name, config.get(name))}   ({config.source(name)})"
             for name in SETTINGS if config.get(name) is not None]
    file = config.file.source or "no file in the working directory"
    yield Check("settings", "ok", f"{file}; what is not shown has its default", tuple(shown))
    unknown = config.unknown_variables()
    if unknown:
        yield Check("settings", "note", "variables that callboard does not know", tuple(unknown))


def _shown(name: str, value: object) -> str:
    if SETTINGS[name].kind == "secret":
        return "(not shown)"
    if SETTINGS[name].kind == "url":
        return mask_url(str(value))
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _app(config: Config) -> Iterator[Check]:
    app = config.get("app") or ()
    if not app:
        return
    import_jobs(app)
    names = registry.names()
    if names:
        yield Check("app", "ok", f"{len(names)} job(s): {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}")  # noqa: PLR2004 - a line's worth
    else:
        yield Check("app", "failed", f"{' '.join(app)} defines no job: derive a class from callboard.Job, or decorate "
                                     "a function with @callboard.job", exit_code=2)


def _sockets() -> Iterator[Check]:
    folder = runtime_folder(FOLDER)
    mode = stat.S_IMODE(folder.stat().st_mode)
    yield Check("sockets", "ok", f"{folder} (mode {mode:04o}, user {os.geteuid()})")
    for base in (folder, folder.parent):
        try:
            base.rmdir()  # as it was found, where nothing uses it
        except OSError:
            break


def _missing_file(store: str) -> Path | None:
    if scheme_of(store, "store") != "sqlite":
        return None
    path = Path(sqlite_path(store))
    return None if path.exists() else path


def _not_there(path: Path) -> Check:
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return Check("store", "failed", f"{path} is not there, and {path.parent} can't be written", exit_code=3)
    return Check("store", "note", f"{path} is not there yet: the first node or push makes it")


def _store(store: JobStore, address: str) -> Iterator[Check]:
    fence = store.fence()
    took = statistics.median(_timed(store.store_now_ms) for _ in range(ROUND_TRIPS))
    yield Check("store", "ok", f"{address}; a round trip takes {took * 1e3:.2f} ms; epoch {fence.epoch}",
                _guarantees(store.characteristics))


def _cluster(config: Config) -> Iterator[Check]:
    address = config.cluster or config.store
    cluster: ClusterBackend = open_cluster(address, SystemClock())
    try:
        took = statistics.median(_timed(cluster.nodes) for _ in range(ROUND_TRIPS))
        term = cluster.leader()
        led = "nobody leads" if term is None else f"term {term.number} is led"
        yield Check("cluster", "ok", f"{mask_url(address)}; a round trip takes {took * 1e3:.2f} ms; {led}",
                    _guarantees(cluster.characteristics))
    finally:
        cluster.close()


def _guarantees(found: Characteristics) -> tuple[str, ...]:
    return (f"durable: {found.durable}", f"shared: {found.shared}", *(f"limit: {limit}" for limit in found.limits))


def _nodes(client: Client) -> Iterator[Check]:
    sessions = client.store.sessions()
    if not sessions:
        yield Check("nodes", "note", "no node runs: start one with callboard node --app myapp.jobs")
    here = {view.session for view in client.reachable()}
    for view in sessions:
        if view.session in here:
            yield _node(view)
        else:
            yield _far_node(client, view)


def _node(view: SessionView) -> Check:
    path, name = view.info.socket, view.info.node
    try:
        check_path(path)
        mode = stat.S_IMODE(Path(path).stat().st_mode)
        started_s = time.perf_counter()
        with Link(path) as link:
            link.ask(AskStatus(), STATUS_S)
        took_s = time.perf_counter() - started_s
    except (QueueError, OSError) as error:
        return Check("nodes", "note", f"{name}: its socket does not answer ({error}); it may have died a moment ago, "
                                      "or be of another user")
    if mode & 0o077:
        return Check("nodes", "failed", f"{name}: others may use its socket {path}: mode {mode:04o}", exit_code=1)
    return Check("nodes", "ok", f"{name} answers at {path} in {took_s * 1e3:.1f} ms")


def _far_node(client: Client, view: SessionView) -> Check:
    name = f"{view.info.node} on {view.info.host}"
    started_s = time.perf_counter()
    try:
        client.ask_node(view, AskStatus(), STATUS_S)
    except QueueError as error:
        return Check("nodes", "note", f"{name}: its socket is out of reach, and {error}")
    took_s = time.perf_counter() - started_s
    return Check("nodes", "ok", f"{name} answers through the cluster backend in {took_s * 1e3:.1f} ms")


def _timed(call: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s

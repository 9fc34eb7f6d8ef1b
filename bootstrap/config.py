"""Settings from flags, then CALLBOARD_* variables, then a file, then defaults; each knows where it came from."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from callboard.config_file import FileSettings, has_secret, is_private_file, read_secret, read_settings
from callboard.core.config import LEASE_TTL_S, SESSION_TTL_S, STOP_GRACE_S, PoolConfig
from callboard.core.envelope import ClusterKeys
from callboard.core.errors import InvalidArgument, UnknownOption
from callboard.core.options import ATTEMPTS_MAX, backoff_of, did_you_mean, seconds, whole
from callboard.core.records import QueueShare
from callboard.settings import DEFAULT_SLOTS, DEFAULT_STORE, NodeSettings, parse_pool

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["text", "list", "seconds", "whole", "choice", "url", "path", "secret"]


class Setting(NamedTuple):
    """One setting: a flag `--lease-ttl`, a variable CALLBOARD_LEASE_TTL, a key `lease_ttl` in a file.

    Attributes:
        flag: the flag's name; empty where there is none, because it would show a secret.
        default: as a person reads it; the value itself stands in `settings.py`.
        choices: for kind "choice".
    """

    name: str
    kind: Kind
    meaning: str
    default: str = ""
    flag: str = ""
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable's name."""
        return f"CALLBOARD_{self.name.upper()}"


SETTINGS: Final = {setting.name: setting for setting in (
    Setting("app", "list", "module or script (path/to/jobs.py) that defines the jobs; several are allowed",
            flag="--app"),
    Setting("store", "url", "address of the store: sqlite:///FILE (a relative path), sqlite:////FILE (an absolute one)",
            DEFAULT_STORE, "--store"),
    Setting("store_file", "path", "file (mode 0600) that holds the store's address, for one with a password"),
    Setting("cluster", "url", "address of the cluster backend", "the store itself", "--cluster"),
    Setting("cluster_file", "path", "file (mode 0600) that holds the cluster backend's address"),
    Setting("cluster_key", "secret", "key that messages between nodes and clients are signed with, of 32 characters or "
                                     "more; NEW,OLD while it is changed"),
    Setting("cluster_key_file", "path", "file (mode 0600) that holds the key"),
    Setting("queues", "list", "queues to serve: NAME:SLOTS, one pool each; NAME=WEIGHT,NAME=WEIGHT:SLOTS share a pool",
            f"default:{DEFAULT_SLOTS}", "--queue"),
    Setting("node_id", "text", "the node's name, unique in the cluster", "host and process id", "--node-id"),
    Setting("executor", "choice", "what runs the jobs: process (a child process a slot), thread or asyncio (one child "
                                  "process with all slots)", "process", "--executor", ("process", "thread", "asyncio")),
    Setting("role", "choice", "any runs jobs and may lead; worker never leads; leader runs no jobs and serves no queue",
            "any", "--role", ("any", "leader", "worker")),
    Setting("candidates_max", "whole", "how many of the cluster's nodes stand for election, the oldest first; the "
                                       "others stand by until nobody leads", "5", "--candidates-max"),
    Setting("log_level", "choice", "events of this level and above are written", "info", "--log-level",
            ("debug", "info", "warning", "error", "critical")),
    Setting("log_format", "choice", "how events are written: auto is text on a terminal, else JSON lines", "auto",
            "--log-format", ("auto", "json", "text", "off")),
    Setting("log_file", "path", "file that events are appended to", "standard error", "--log-file"),
    Setting("lease_ttl", "seconds", "how long a leader is trusted without a renewal; what a killed leader costs",
            f"{LEASE_TTL_S:g}", "--lease-ttl"),
    Setting("session_ttl", "seconds", "how long a node's heartbeat may stand still before its jobs go to others",
            f"{SESSION_TTL_S:g}", "--session-ttl"),
    Setting("stop_grace", "seconds", "what a graceful stop leaves running jobs", f"{STOP_GRACE_S:g}", "--stop-grace"),
    Setting("timeout", "seconds", "time limit of an attempt, for jobs that name none", "300", "--timeout"),
    Setting("max_attempts", "whole", "attempts in all, for jobs that name none", "3", "--max-attempts"),
    Setting("retry_after", "seconds", "pause before the next attempt, for jobs that name none", "60", "--retry-after"),
    Setting("child_memory_max_mb", "whole", "memory limit of a child process, in MiB", "half of the machine's memory",
            "--child-memory-max-mb"),
    Setting("recycle_jobs", "whole", "a process child is replaced after so many jobs", "10000", "--recycle-jobs"),
    Setting("recycle_rss_mb", "whole", "a child that uses more memory is replaced once it is idle, in MiB",
            "a quarter of the machine's memory", "--recycle-rss-mb"),
)}
_OTHER_VARIABLES: Final = ("CALLBOARD_DEBUG",)


class Config:
    """The settings that hold for this call.

    Args:
        flags: by setting's name; None and empty tuples say nothing.
        environ: the environment, if not the process's.
        folder: where the settings' file is looked for; the working directory unless given.
    """

    def __init__(self, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None,
                 folder: Path | None = None) -> None:
        """Read the file and check every value. Raises UsageError."""
        self._environ = os.environ if environ is None else environ
        self._file = read_settings(folder or Path.cwd(), SETTINGS)
        self._values: dict[str, Any] = {}
        self._sources: dict[str, str] = {}
        for setting in SETTINGS.values():
            self._find(setting, (flags or {}).get(setting.name))
        self._read_secret_files()

    @property
    def file(self) -> FileSettings:
        """The file that was read, if any."""
        return self._file

    def get(self, name: str) -> Any:
        """A setting's value; None where nobody set it."""
        return self._values.get(name)

    def source(self, name: str) -> str:
        """Where a value came from: a flag, a variable, a file, or "default"."""
        return self._sources.get(name, "default")

    @property
    def store(self) -> str:
        """The store's address."""
        return str(self.get("store") or DEFAULT_STORE)

    @property
    def cluster(self) -> str | None:
        """The cluster backend's address, if it is not the store's database."""
        return None if self.get("cluster") is None else str(self.get("cluster"))

    @property
    def cluster_key(self) -> str:
        """The key of messages between nodes, or two; empty where there is none."""
        return str(self.get("cluster_key") or "")

    def unknown_variables(self) -> list[str]:
        """Variables that begin with CALLBOARD_ and are none of ours, each with what may have been meant."""
        ours = {setting.variable for setting in SETTINGS.values()} | set(_OTHER_VARIABLES)
        return [f"{name}{did_you_mean(name, ours)}" for name in sorted(self._environ)
                if name.startswith("CALLBOARD_") and name not in ours]

    def node_settings(self) -> NodeSettings:
        """What a node is started with.

        Raises:
            UsageError: Raised when the app is missing, or a value is out of its range.
        """
        if not self.get("app"):
            raise InvalidArgument("a node needs the module that defines its jobs: callboard node --app myapp.jobs")
        base = PoolConfig((QueueShare("default"),), DEFAULT_SLOTS)
        policy: dict[str, Any] = {
            "timeout_s": self._or("timeout", base.timeout_s),
            "max_attempts": self._or("max_attempts", base.max_attempts),
            "backoff": backoff_of(self._or("retry_after", base.backoff)),
        }
        texts = self.get("queues") or (f"default:{DEFAULT_SLOTS}",)
        fields = {field: self.get(name) for name, field in _NODE_FIELDS.items() if self.get(name) is not None}
        return NodeSettings(
            app=tuple(self.get("app")), store=self.store, cluster=self.cluster, cluster_key=self.cluster_key,
            pools=tuple(replace(parse_pool(text), **policy) for text in texts), **fields,
        )

    def _or(self, name: str, default: Any) -> Any:
        value = self.get(name)
        return default if value is None else value

    def _find(self, setting: Setting, flag: Any) -> None:
        if flag is not None and flag != ():
            self._set(setting, flag, setting.flag)
            if setting.kind == "url" and has_secret(str(flag)):
                raise InvalidArgument(f"{setting.flag} carries a password, which every user of this machine can read "
                                      f"in the list of processes: use {setting.variable}, or {setting.name}_file")
        elif self._environ.get(setting.variable):
            self._set(setting, self._environ[setting.variable], setting.variable)
        elif setting.name in self._file.values:
            self._set(setting, self._file.values[setting.name], self._file.source)
            path = self._file.path
            secret = setting.kind == "secret" or (setting.kind == "url" and has_secret(str(self.get(setting.name))))
            if secret and path and not is_private_file(path):
                raise InvalidArgument(f"{path.name} carries a secret and can be read by others: chmod 600 {path}, or "
                                      f"use {setting.variable}")

    def _set(self, setting: Setting, given: Any, source: str) -> None:
        self._values[setting.name] = parse_value(setting, given, source)
        self._sources[setting.name] = source

    def _read_secret_files(self) -> None:
        for name in ("store", "cluster", "cluster_key"):
            path = self.get(f"{name}_file")
            if path is None or self._rank(name) < self._rank(f"{name}_file"):
                continue
            if self._rank(name) == self._rank(f"{name}_file"):
                raise InvalidArgument(f"{self.source(name)} sets both {name} and {name}_file: keep one of them")
            self._values[name] = read_secret(Path(path), f"{name}_file")
            self._sources[name] = f"{path} ({self.source(f'{name}_file')})"

    def _rank(self, name: str) -> int:
        """0 by a flag, 1 by a variable, 2 by the file, 3 by nobody."""
        order = (SETTINGS[name].flag, SETTINGS[name].variable, self._file.source)
        return order.index(self._sources[name]) if name in self._sources else len(order)


_NODE_FIELDS: Final = {
    "node_id": "node", "executor": "executor", "role": "role", "candidates_max": "candidates_max",
    "log_level": "log_level", "log_format": "log_style",
    "lease_ttl": "lease_ttl_s", "session_ttl": "session_ttl_s", "stop_grace": "stop_grace_s",
    "child_memory_max_mb": "child_memory_max_mb", "recycle_jobs": "recycle_jobs", "recycle_rss_mb": "recycle_rss_mb",
}
_WHOLE_MAX: Final = {"max_attempts": ATTEMPTS_MAX}


def parse_value(setting: Setting, given: Any, source: str) -> Any:
    """A setting's value from a flag, a variable (always text) or a file.

    Raises:
        UsageError: Raised when it is of another type or out of range; names the source.
    """
    what = source if source in (setting.flag, setting.variable) else f"{setting.name} in {source}"
    match setting.kind:
        case "list":
            items = given.split() if isinstance(given, str) else given
            if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) and item for item in items):
                raise InvalidArgument(f"{what} must be a list of texts, not {given!r}")
            return tuple(items)
        case "seconds":
            return seconds(_number(given, what), what, above_zero=setting.name == "timeout")
        case "whole":
            number = _number(given, what)
            high = _WHOLE_MAX.get(setting.name, 1 << 31)
            return whole(int(number) if number.is_integer() else number, what, 1, high)
        case "secret":
            if not isinstance(given, str):
                raise InvalidArgument(f"{what} must be a text")  # which is not shown
            ClusterKeys.of(given)
            return given
        case "choice":
            if given not in setting.choices:
                near = did_you_mean(str(given), setting.choices)
                raise UnknownOption(f"{what} can't be {given!r}{near}; use {', '.join(setting.choices)}")
            return given
        case _:
            if not isinstance(given, str) or not given or "\0" in given:
                raise InvalidArgument(f"{what} must be a text, not {given!r}")
            return given


def _number(given: Any, what: str) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        raise InvalidArgument(f"{what} must be a number, not {given!r}")
    try:
        number = float(given)
    except ValueError:
        raise InvalidArgument(f"{what} must be a number, not {given!r}") from None
    if number != number or number in (float("inf"), float("-inf")):  # noqa: PLR0124 - not a number is unlike itself
        raise InvalidArgument(f"{what} must be a number, not {given!r}")
    return number

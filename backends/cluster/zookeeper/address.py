"""From an address to what a session needs: zookeeper://, zookeepers:// (TLS)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from callboard.core.errors import InvalidArgument

SCHEMES: Final = ("zookeeper", "zookeepers")
DEFAULT_NAME: Final = "callboard"
_NAME: Final = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,63}\Z")
"""Of an installation, and of each part of a path: never `.` or `..`, which ZooKeeper refuses."""
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(\d{1,5}))?\Z")
_TLS_FILES: Final = ("ca", "cert", "key")
_PORT: Final = 2181
_PORT_MAX: Final = 65_535
_HOSTS_MAX: Final = 50
_PARTS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Address:
    """An ensemble, and the place of the installation on it.

    Attributes:
        shown: for messages, without user and password.
        hosts: as kazoo wants them: `host:port,host:port`.
        parents: the folders above the installation's own, from the top: `/prod`, `/prod/queues`.
        base: the installation's own: `/prod/queues/callboard`.
        tls: whether to speak TLS.
        files: of TLS: `ca`, `cert`, `key`.
        login: `user:password`, or "".
    """

    shown: str
    hosts: str
    parents: tuple[str, ...]
    base: str
    tls: bool
    files: dict[str, str]
    login: str = field(repr=False)


def parse_address(url: str) -> Address:
    """Read an address: zookeeper://[USER:PASSWORD@]HOST[:PORT][,HOST2[:PORT2]...][/PATH][?name=NAME].

    zookeepers:// likewise, over TLS, with the options `ca`, `cert` and `key`, files in PEM format. A server's
    certificate is always checked.

    Raises:
        InvalidArgument: Raised when it is none, or has an option that is not known.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise InvalidArgument(f"an address of ZooKeeper begins with zookeeper:// or zookeepers://, not "
                              f"{parts.scheme!r}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    name = options.pop("name", DEFAULT_NAME)
    if not _NAME.match(name):
        raise InvalidArgument("name= in an address of ZooKeeper is 1 to 64 letters, digits and _.:-")
    ours = [key for key in _TLS_FILES if key in options and parts.scheme == "zookeepers"]
    files: dict[str, str] = {key: options.pop(key) for key in ours}
    if options:
        raise InvalidArgument(f"an address of ZooKeeper has no option {min(options)!r} (for {parts.scheme}://)")
    if ("cert" in files) != ("key" in files):
        raise InvalidArgument("cert= and key= in an address of ZooKeeper go together")
    user, at, hosts = parts.netloc.rpartition("@")
    parents = _parents(parts.path)
    base = f"{parents[-1] if parents else ''}/{name}"
    found = _hosts(hosts)
    return Address(f"{parts.scheme}://{found}{base}", found, parents, base, parts.scheme == "zookeepers", files,
                   _login(user) if at else "")


def _login(text: str) -> str:
    user, colon, password = text.partition(":")
    if not user or not colon or not password or ":" in unquote(user):
        raise InvalidArgument("an address of ZooKeeper has user and password, or neither; no `:` in the user's name")
    return f"{unquote(user)}:{unquote(password)}"


def _hosts(text: str) -> str:
    hosts = text.split(",")
    if len(hosts) > _HOSTS_MAX:
        raise InvalidArgument(f"an address of ZooKeeper names at most {_HOSTS_MAX} servers")
    return ",".join(_host(host) for host in hosts)


def _host(text: str) -> str:
    match = _HOST.match(text or "localhost")
    port = int(match[2] or _PORT) if match else 0
    if match is None or not 0 < port <= _PORT_MAX:
        raise InvalidArgument(f"{text[:60]!r} is no HOST:PORT of ZooKeeper")
    return f"{match[1]}:{port}"


def _parents(path: str) -> tuple[str, ...]:
    names = [unquote(part) for part in path.split("/") if part]
    if len(names) > _PARTS_MAX or not all(_NAME.match(part) for part in names):
        raise InvalidArgument(f"the path in an address of ZooKeeper has at most {_PARTS_MAX} parts of letters, digits "
                              "and _.:-")
    if names[:1] == ["zookeeper"]:
        raise InvalidArgument("/zookeeper is ZooKeeper's own: name another path")
    return tuple("/" + "/".join(names[: n + 1]) for n in range(len(names)))

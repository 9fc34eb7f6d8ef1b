"""From an address to what a connection needs: etcd://, etcds:// (TLS), with one server or several."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from callboard.core.errors import InvalidArgument

SCHEMES: Final = ("etcd", "etcds")
DEFAULT_NAME: Final = "callboard"
SERVERS_MAX: Final = 16
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(\d{1,5}))?\Z")
_PORT: Final = 2379
_PORT_MAX: Final = 65_535
_TLS_FILES: Final = ("ca", "cert", "key")


@dataclass(frozen=True, slots=True)
class Address:
    """The servers, and the name of the installation on them.

    Attributes:
        shown: for messages, without user and password.
        name: part of all keys; two installations on one etcd have two names.
        servers: hosts and ports.
        tls: whether connections are encrypted; the server's certificate is always checked then.
        files: PEM files by option: ca, cert, key.
    """

    shown: str
    name: str
    servers: tuple[tuple[str, int], ...]
    tls: bool
    files: dict[str, str] = field(default_factory=dict)
    user: str = ""
    password: str = field(default="", repr=False)

    def pem(self, option: str) -> bytes | None:
        """What a file holds; None where the option is not given.

        Raises:
            InvalidArgument: Raised when it can't be read; says which.
        """
        path = self.files.get(option)
        try:
            return None if path is None else Path(path).read_bytes()
        except OSError as error:
            raise InvalidArgument(f"{option}={path} in an address of etcd can't be read: {error.strerror}",
                                  cause=error) from error


def parse_address(url: str) -> Address:
    """Read an address: etcd:// in the clear, etcds:// for TLS.

    etcd://[USER:PASSWORD@]HOST[:PORT][,HOST2[:PORT2]...][/]?name=INSTALLATION, etcds:// likewise; the port is 2379
    unless given. With etcds:// also `ca`, `cert` and `key`, files in PEM format.

    Raises:
        InvalidArgument: Raised when it is none, or has an option that is not known.
    """
    scheme, slashes, rest = url.partition("://")
    if scheme not in SCHEMES or not slashes:
        raise InvalidArgument(f"an address of etcd begins with etcd:// or etcds://, not {scheme[:20]!r}")
    path, _, query = rest.partition("?")
    secrets, at, hosts = path.rpartition("@")  # before urlsplit, which reads no list of hosts
    user, colon, password = secrets.partition(":")
    if at and not (user and colon):
        raise InvalidArgument("an address of etcd has a user and a password, or neither")
    servers = tuple(_server(host) for host in (hosts.removesuffix("/") or "localhost").split(","))
    if len(servers) > SERVERS_MAX:
        raise InvalidArgument(f"an address of etcd has {SERVERS_MAX} servers at most")
    options = dict(parse_qsl(urlsplit(f"//?{query}").query, keep_blank_values=True))
    name = options.pop("name", DEFAULT_NAME)
    if not _NAME.match(name):
        raise InvalidArgument("name= in an address of etcd is 1 to 64 letters, digits and _.:-")
    given = [option for option in _TLS_FILES if option in options and scheme == "etcds"]
    files: dict[str, str] = {option: options.pop(option) for option in given}
    if options:
        raise InvalidArgument(f"an address of etcd has no option {min(options)!r} (for {scheme}://)")
    if ("cert" in files) != ("key" in files):
        raise InvalidArgument("cert= and key= in an address of etcd go together")
    shown = f"{scheme}://{','.join(f'{host}:{port}' for host, port in servers)}/"
    return Address(shown, name, servers, scheme == "etcds", files, unquote(user), unquote(password))


def _server(text: str) -> tuple[str, int]:
    found = _HOST.match(text)
    if found is None or not 1 <= int(found[2] or _PORT) <= _PORT_MAX:
        raise InvalidArgument("a server in an address of etcd is HOST or HOST:PORT, several are parted by commas")
    return found[1], int(found[2] or _PORT)

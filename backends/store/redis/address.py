"""From an address to what a connection needs: redis://, rediss:// (TLS), redis+unix:// (a Unix socket)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from callboard.core.errors import InvalidArgument

SCHEMES: Final = ("redis", "rediss", "redis+unix", "unix")
DEFAULT_NAME: Final = "callboard"
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
_TLS_FILES: Final = {"ca": "ssl_ca_certs", "cert": "ssl_certfile", "key": "ssl_keyfile"}
_PORT: Final = 6379
_DATABASES_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and the name of the installation on it.

    Attributes:
        shown: for messages, without the password.
        name: the hash tag that all keys carry; two installations on one server have two names.
    """

    shown: str
    name: str
    scheme: str
    arguments: dict[str, Any] = field(repr=False)


def parse_address(url: str) -> Address:
    """Read an address: redis:// for TCP, rediss:// for TLS, redis+unix:// (or unix://) for a socket.

    redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// likewise, redis+unix://[USER:PASSWORD@]/PATH?db=DB.

    Options behind the question mark: `name` of the installation, `db`; with rediss:// also `ca`, `cert` and `key`,
    files in PEM format. A server's certificate is always checked.

    Raises:
        InvalidArgument: Raised when it is none, or has an option that is not known.
    """
    parts = urlsplit(url)
    socket = parts.scheme in {"redis+unix", "unix"}
    if parts.scheme not in SCHEMES:
        raise InvalidArgument(f"an address of Redis begins with redis://, rediss:// or redis+unix://, "
                              f"not {parts.scheme!r}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    name = options.pop("name", DEFAULT_NAME)
    if not _NAME.match(name):
        raise InvalidArgument("name= in an address of Redis is 1 to 64 letters, digits and _.:-")
    arguments: dict[str, Any] = {"db": _database(options.pop("db", None), "" if socket else parts.path)}
    if parts.username:
        arguments["username"] = unquote(parts.username)
    if parts.password is not None:
        arguments["password"] = unquote(parts.password)
    if socket:
        arguments["path"] = _socket(parts.hostname, parts.path)
        shown = f"redis+unix://{arguments['path']}"
    else:
        arguments |= _host(parts.hostname, _port(parts))
        shown = f"{parts.scheme}://{arguments['host']}:{arguments['port']}/{arguments['db']}"
    if parts.scheme == "rediss":
        arguments |= {_TLS_FILES[key]: options.pop(key) for key in tuple(options) if key in _TLS_FILES}
    if options:
        raise InvalidArgument(f"an address of Redis has no option {min(options)!r} (for {parts.scheme}://)")
    return Address(shown, name, "redis+unix" if socket else parts.scheme, arguments)


def _database(option: str | None, path: str) -> int:
    text = option if option is not None else path.strip("/")
    if not text:
        return 0
    if not text.isdecimal() or int(text) > _DATABASES_MAX:
        raise InvalidArgument(f"a database of Redis is a number, not {text[:20]!r}")
    return int(text)


def _host(host: str | None, port: int) -> dict[str, Any]:
    return {"host": host or "localhost", "port": port, "socket_keepalive": True}


def _port(parts: Any) -> int:
    try:
        return int(parts.port or _PORT)
    except ValueError as error:
        raise InvalidArgument("the port in an address of Redis is a number up to 65535", cause=error) from error


def _socket(host: str | None, path: str) -> str:
    if host or len(path) <= 1:
        raise InvalidArgument("redis+unix:// is followed by an absolute path: redis+unix:///run/redis/redis.sock")
    return unquote(path)

"""Addresses from the variables QUEUE_*, as `callboard.driver` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from callboard.core.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

PORT_MAX = 65_535


def redis_address(environ: Mapping[str, str]) -> str:
    """The Redis server that QUEUE_REDIS_HOST, _PORT, _PASSWORD and _DB name; localhost, 6379, none and 0 unless set.

    A host that begins with `/` is a Unix socket. For TLS or a user's name, use an address (`rediss://...`) instead.

    Raises:
        InvalidArgument: Raised when port or database are no such number; says which.
    """
    host = environ.get("QUEUE_REDIS_HOST") or "localhost"
    port = _number(environ, "QUEUE_REDIS_PORT", 6379, 1, PORT_MAX)
    database = _number(environ, "QUEUE_REDIS_DB", 0, 0, 1 << 20)
    password = environ.get("QUEUE_REDIS_PASSWORD", "")
    secret = f":{quote(password, safe='')}@" if password else ""
    if host.startswith("/"):
        return f"unix://{secret}{quote(host)}?db={database}"
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"  # an IPv6 address
    return f"redis://{secret}{host}:{port}/{database}"


def _number(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isascii() or not text.isdecimal() or not low <= int(text) <= high:
        raise InvalidArgument(f"{name} must be a whole number from {low:,} to {high:,}, not {text!r}")
    return int(text)

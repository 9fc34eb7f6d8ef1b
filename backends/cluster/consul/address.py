"""From an address to what a connection needs: consul:// and consuls:// (TLS)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from callboard.core.errors import InvalidArgument

SCHEMES: Final = {"consul": "http", "consuls": "https"}
DEFAULT_NAME: Final = "callboard"
PORT: Final = {"consul": 8500, "consuls": 8501}
ENDPOINTS_MAX: Final = 16
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?\Z")
_TLS_FILES: Final = ("ca", "cert", "key")
_TOKEN_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Address:
    """Consul agents, and the name of the installation in their datacenter.

    Attributes:
        shown: for messages, without the token.
        name: what all keys and services of the installation begin with.
        scheme: http or https.
        endpoints: hosts and ports, tried in this order.
        dc: the datacenter that the agents must be in; "" for whichever it is.
        token: of an access control list; "" for none.
        ca: file of who signed the agents' certificates; "" for the well-known authorities.
        cert: file of the client's certificate; "" for none.
        key: file of its key; "" when it is in `cert`.
    """

    shown: str
    name: str
    scheme: str
    endpoints: tuple[tuple[str, int], ...]
    dc: str
    token: str = field(repr=False)
    ca: str = ""
    cert: str = ""
    key: str = ""


def parse_address(url: str) -> Address:
    """Read consul://[TOKEN@]HOST[:PORT][,HOST2[:PORT2]...], or consuls:// for TLS.

    Options behind the question mark: `name` of the installation, `dc`; with consuls:// also `ca`, `cert` and `key`,
    files in PEM format. A server's certificate is always checked.

    Raises:
        InvalidArgument: Raised when it is none, or has an option that is not known.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise InvalidArgument(f"an address of Consul begins with consul:// or consuls://, not {parts.scheme!r}")
    if parts.path.strip("/"):
        raise InvalidArgument("an address of Consul has no path: options come behind a question mark, name= first")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    name, dc = options.pop("name", DEFAULT_NAME), options.pop("dc", "")
    for option, value in (("name", name), ("dc", dc or "-")):
        if not _NAME.match(value):
            raise InvalidArgument(f"{option}= in an address of Consul is 1 to 64 letters, digits and _.:-")
    files = {key: options.pop(key) for key in _TLS_FILES if parts.scheme == "consuls" and key in options}
    if options:
        raise InvalidArgument(f"an address of Consul has no option {min(options)!r} (for {parts.scheme}://)")
    if "key" in files and "cert" not in files:
        raise InvalidArgument("key= in an address of Consul goes with cert=")
    secret, _, hosts = parts.netloc.rpartition("@")
    endpoints = tuple(_endpoint(host, PORT[parts.scheme]) for host in hosts.split(","))
    if len(endpoints) > ENDPOINTS_MAX:
        raise InvalidArgument(f"an address of Consul names up to {ENDPOINTS_MAX} agents")
    shown = f"{parts.scheme}://{','.join(f'{host}:{port}' for host, port in endpoints)}"
    return Address(shown, name, SCHEMES[parts.scheme], endpoints, dc, _token(secret), **files)


def _token(secret: str) -> str:
    """TOKEN or :TOKEN; what is wrong with it is said without it."""
    user, colon, password = secret.partition(":")
    token = unquote(password if colon else user)
    if (colon and user) or len(token) > _TOKEN_MAX or not token.isascii() or (token and not token.isprintable()):
        raise InvalidArgument(f"before the @ in an address of Consul stands a token alone, up to {_TOKEN_MAX} "
                              "printable ASCII characters")
    return token


def _endpoint(text: str, port: int) -> tuple[str, int]:
    found = _HOST.match(text or "localhost")
    number = int((found and found["port"]) or port)
    if found is None or not 0 < number < 1 << 16:
        raise InvalidArgument("an address of Consul names agents as HOST or HOST:PORT, with commas between them")
    return found["host"], number

"""What a MariaDB address names: mariadb://USER:PASSWORD@HOST:PORT/DATABASE?ssl_ca=FILE."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from callboard.core.errors import InvalidArgument, StoreUnavailable, UnknownOption
from callboard.core.options import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME: Final = "mariadb"
PORT: Final = 3306
_FILES: Final = ("ssl_ca", "ssl_cert", "ssl_key")
_OPTIONS: Final = (*_FILES, "ssl_mode", "socket")
_MODES: Final = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
_NAME_MAX: Final = 64


class Address(NamedTuple):
    """Where a database is, and how to get in.

    Attributes:
        socket: a Unix socket, which goes before host and port; empty: none.
        ssl_mode: disabled; preferred (encrypted where the server can, by PyMySQL 1.2 and later), the default; required;
            verify_ca; verify_identity (the certificate names the host, too), the default where ssl_ca is given.
    """

    host: str
    port: int
    user: str
    password: str
    database: str
    socket: str = ""
    ssl_mode: str = "preferred"
    ssl_ca: str = ""
    ssl_cert: str = ""
    ssl_key: str = ""

    def __repr__(self) -> str:
        """Without the password."""
        return f"Address({self.name})"

    @property
    def name(self) -> str:
        """For messages: no password in it."""
        place = self.socket or f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        return f"{SCHEME}://{self.user}@{place}/{self.database}"

    def arguments(self) -> dict[str, Any]:
        """What the driver's `connect` needs.

        Raises:
            StoreUnavailable: Raised when a certificate's file can't be read.
        """
        where: dict[str, Any] = {"unix_socket": self.socket} if self.socket else {"host": self.host, "port": self.port}
        where |= {"user": self.user, "password": self.password.encode(), "database": self.database}
        if self.ssl_mode == "disabled":
            where["ssl_disabled"] = True
        elif self.ssl_mode != "preferred":
            where["ssl"] = self._context()
        return where

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ssl_ca or None)
            if self.ssl_cert:
                context.load_cert_chain(self.ssl_cert, self.ssl_key or None, password=_no_passphrase)
        except (OSError, ssl.SSLError) as error:
            raise StoreUnavailable(f"job store {self.name}: the certificates of its address can't be read: {error}",
                                   cause=error) from error
        context.check_hostname = self.ssl_mode == "verify_identity"
        if self.ssl_mode == "required":
            context.verify_mode = ssl.CERT_NONE
        return context


def _no_passphrase() -> str:
    raise ssl.SSLError("the key has a passphrase; give a key without one, readable by this user only")


def parse_address(url: str) -> Address:
    """The parts of an address. No message shows its password.

    Raises:
        InvalidArgument: Raised when a part is missing, or can't be what it is.
        UnknownOption: Raised when it has an option that is none of ours.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or PORT
        given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:  # its text may show the password
        raise InvalidArgument("the address of a MariaDB store can't be read: it is "
                              "mariadb://USER:PASSWORD@HOST:PORT/DATABASE, with %-codes for what is not a letter or "
                              "digit in user and password") from None
    if parts.scheme != SCHEME or parts.fragment:
        raise InvalidArgument("the address of a MariaDB store begins with mariadb:// and has no # in it (write %23)")
    database = unquote(parts.path.removeprefix("/"))
    if not 1 <= len(database) <= _NAME_MAX or "/" in database or "\0" in database:
        raise InvalidArgument("the address of a MariaDB store names a database: mariadb://USER:PASSWORD@HOST/DATABASE")
    options = _options(given)
    mode = options.get("ssl_mode", "verify_identity" if options.get("ssl_ca") else "preferred")
    return Address(parts.hostname or "localhost", port, unquote(parts.username or ""), unquote(parts.password or ""),
                   database, options.get("socket", ""), mode, *(options.get(name, "") for name in _FILES))


def _options(given: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in given.items():
        if name not in _OPTIONS:
            raise UnknownOption(f"a MariaDB store's address has no option {name!r}{did_you_mean(name, _OPTIONS)}; it "
                                f"has {', '.join(_OPTIONS)}")
        if not value or "\0" in value:
            raise InvalidArgument(f"the option {name} of a MariaDB store's address is empty")
    mode = given.get("ssl_mode", "")
    if mode and mode not in _MODES:
        raise InvalidArgument(f"ssl_mode is one of {', '.join(_MODES)}, not {mode!r}")
    if given.get("ssl_key") and not given.get("ssl_cert"):
        raise InvalidArgument("ssl_key needs ssl_cert beside it")
    if mode in {"disabled", "preferred"} and any(given.get(name) for name in _FILES):
        raise InvalidArgument(f"ssl_mode={mode} would not use the certificates that the address names; leave it out or "
                              "use required, verify_ca or verify_identity")
    if mode in {"verify_ca", "verify_identity"} and not given.get("ssl_ca"):
        raise InvalidArgument(f"ssl_mode={mode} needs ssl_ca, the file of the authority's certificate")
    if given.get("ssl_cert") and not mode and not given.get("ssl_ca"):
        raise InvalidArgument("ssl_cert needs ssl_ca, or ssl_mode=required, beside it")
    return given

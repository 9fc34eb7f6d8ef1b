"""Settings in files: `callboard.toml`, or the table [tool.callboard] of pyproject.toml, in the working directory."""

from __future__ import annotations

import os
import stat
import tomllib
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from callboard.core.errors import InvalidArgument, UnknownOption
from callboard.core.options import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

OWN_FILE: Final = "callboard.toml"
SHARED_FILE: Final = "pyproject.toml"
FILE_MAX_BYTES: Final = 1 << 20
SECRET_MAX_BYTES: Final = 4096
_SECRET_PARAMETERS: Final = ("password", "passwd", "sslpassword", "token")


class FileSettings(NamedTuple):
    """What a file says.

    Attributes:
        source: how messages name the file; empty where there is none.
    """

    values: dict[str, Any]
    source: str
    path: Path | None


def read_settings(folder: Path, known: Iterable[str]) -> FileSettings:
    """The settings in a folder's file; none is no error.

    Raises:
        InvalidArgument: Raised when a file can't be read, or both files have settings.
        UnknownOption: Raised when a key is none of ours; says "did you mean" where one is near.
    """
    own, shared = folder / OWN_FILE, folder / SHARED_FILE
    values = _parse(own)
    table = _parse(shared)
    ours = None if table is None else _table(table, shared)
    if values is not None and ours is not None:
        raise InvalidArgument(f"both {OWN_FILE} and [tool.callboard] of {SHARED_FILE} have settings: keep one of them")
    found = (FileSettings(values, OWN_FILE, own) if values is not None else
             FileSettings(ours, f"{SHARED_FILE} [tool.callboard]", shared) if ours is not None else
             FileSettings({}, "", None))
    names = tuple(known)
    for key in found.values:
        if key not in names:
            raise UnknownOption(f"{found.source} has an unknown setting {key!r}{did_you_mean(key, names)}; "
                                "docs/settings.md has them all")
    return found


def read_secret(path: Path, what: str) -> str:
    """The one line in a file that only its owner may read.

    Raises:
        InvalidArgument: Raised when it can't be read, is too long, or others may read it.
    """
    try:
        private = is_private_file(path)
        with path.open("rb") as file:
            data = file.read(SECRET_MAX_BYTES + 1)
        text = data.decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{what} {str(path)!r} can't be read: {error}", cause=error) from error
    if not private:
        raise InvalidArgument(f"{what} {str(path)!r} can be read by others: chmod 600 {path}")
    if not text or len(data) > SECRET_MAX_BYTES or not text.isprintable():
        raise InvalidArgument(f"{what} {str(path)!r} must hold one line of at most {SECRET_MAX_BYTES:,} bytes")
    return text


def is_private_file(path: Path) -> bool:
    """Whether only its owner (this user or root) may read a file. Raises OSError."""
    found = path.stat()
    return stat.S_ISREG(found.st_mode) and found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o077


def has_secret(url: str) -> bool:
    """Whether an address carries a password."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no address at all; whoever opens it says so
        return False
    return bool(parts.password) or any(name in parse_qs(parts.query) for name in _SECRET_PARAMETERS)


def _parse(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_MAX_BYTES + 1)
        if len(data) > FILE_MAX_BYTES:
            raise InvalidArgument(f"{path.name} is longer than {FILE_MAX_BYTES:,} bytes")
        return tomllib.loads(data.decode())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidArgument(f"{path.name} can't be read: {error}", cause=error) from error


def _table(document: dict[str, Any], path: Path) -> dict[str, Any] | None:
    tool = document.get("tool")
    table = tool.get("callboard") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise InvalidArgument(f"tool.callboard in {path.name} must be a table")
    return table

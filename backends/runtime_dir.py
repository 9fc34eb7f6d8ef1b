"""Where this user's sockets are: directories that nobody else can enter."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from callboard.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

SOCKET_PATH_MAX: Final = 100
"""Limit of a socket's path in bytes; Linux has 107, others less."""
NAME_MAX: Final = 70
"""Limit of a folder's and a file's name together, below the user's directory."""


def runtime_bases() -> Iterator[Path]:
    """Where this user's sockets may be, the best first; who has no XDG_RUNTIME_DIR finds the others' all the same."""
    uid = os.geteuid()
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    places = [f"{given}/callboard"] if given.startswith("/") else []
    for place in dict.fromkeys((*places, f"/run/user/{uid}/callboard", f"/tmp/callboard-{uid}")):  # noqa: S108 - checked before use
        if len(os.fsencode(place)) + NAME_MAX <= SOCKET_PATH_MAX:
            yield Path(place)


def is_private(folder: Path) -> bool:
    """A directory (no link) that only this user can enter."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def runtime_folder(key: str) -> Path:
    """A folder for sockets, made where it is missing.

    Raises:
        StoreUnavailable: Raised when the user has no directory for sockets that is safe.
    """
    refused: list[str] = []
    for base in runtime_bases():
        folder = base / key
        for _ in range(10):  # another process may remove it, empty, at the same moment
            try:
                base.mkdir(mode=0o700, exist_ok=True)
                if not is_private(base):
                    break
                folder.mkdir(mode=0o700, exist_ok=True)
            except OSError:
                continue
            if is_private(folder):
                return folder
        refused.append(str(base))
    raise StoreUnavailable(f"no directory for sockets is safe (tried {', '.join(refused)}): it must belong to this "
                           "user, mode 0700; remove what is there, or set XDG_RUNTIME_DIR")

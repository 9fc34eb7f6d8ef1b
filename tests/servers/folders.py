"""Temporary folders of servers: short paths (for Unix sockets), on disk, and those of dead test runs are removed."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO


class Home:
    """A folder of a server's own, which only its user can enter; locked while this process lives.

    Args:
        account: whose it is: uid and gid.
    """

    def __init__(self, account: tuple[int, int]) -> None:
        base = _base()
        with (base / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _sweep(base)
            self.path = base / secrets.token_hex(4)
            self._mark = self.path.with_suffix(".lock")
            self._held = self._mark.open("w")
            fcntl.flock(self._held, fcntl.LOCK_EX)
            self.path.mkdir(mode=0o700)
            os.chown(self.path, *account)

    def remove(self) -> None:
        """Remove it, and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._mark.unlink(missing_ok=True)
        self._held.close()


def _base() -> Path:
    """The folder of all of this user's; /tmp may be in memory, /var/tmp is not."""
    root = Path("/var/tmp")  # noqa: S108 - the folder below has one owner, who is checked
    base = (root if os.access(root, os.W_OK) else Path(tempfile.gettempdir())) / f"callboard-servers-{os.getuid()}"
    with suppress(FileExistsError):
        base.mkdir(mode=0o711)
    told = base.lstat()
    if told.st_uid != os.getuid() or told.st_mode & 0o022 or base.is_symlink():
        raise PermissionError(f"{base} is another's, or others can write to it: remove it")
    return base


def _sweep(base: Path) -> None:
    """Remove what dead runs left: nobody holds the lock of theirs."""
    for mark in base.glob("*.lock"):
        with mark.open("w") as file:
            if _free(file):
                shutil.rmtree(mark.with_suffix(""), ignore_errors=True)
                mark.unlink(missing_ok=True)


def _free(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""The socket file of a node: where it is, who may own it, and what becomes of a dead node's."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import socket
import stat
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from callboard.backends.runtime_dir import runtime_folder
from callboard.core.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

FOLDER: Final = "nodes"
SUFFIX: Final = ".sock"
BACKLOG: Final = 128
TRIES_MAX: Final = 10
SWEPT_MAX: Final = 200
"""Socket files that a starting node looks at, to remove those of dead nodes."""
_UCRED: Final = struct.Struct("3i")  # pid, uid, gid


class ControlSocket(NamedTuple):
    """A listening socket and its file.

    Attributes:
        inode: of the file, so that only this node's own is removed.
    """

    listener: socket.socket
    path: Path
    inode: int

    def close(self) -> None:
        """Close it and remove its file, unless the file is another's by now."""
        self.listener.close()
        with suppress(OSError):
            if os.lstat(self.path).st_ino == self.inode:
                self.path.unlink()
        with suppress(OSError):  # others' sockets are there still
            self.path.parent.rmdir()
            self.path.parent.parent.rmdir()


def socket_name(store: str, node: str) -> str:
    """The file's name of a node: readable, and its own for each store."""
    key = hashlib.sha256(f"{store}\n{node}".encode()).hexdigest()[:12]
    return f"{re.sub('[^A-Za-z0-9_.-]', '_', node)[:24]}-{key}"


def open_control_socket(store: str, node: str) -> ControlSocket:
    """Listen on the node's socket: mode 0600, in a directory of mode 0700.

    A dead node's socket is replaced. Where a live node of the same name and store has it, another name is taken: whose
    name it is, the store decides.

    Raises:
        Conflict: Raised when something that is no socket of this user's lies there.
        Unavailable: Raised when there is no safe directory, or the socket can't be made.
    """
    for _ in range(TRIES_MAX):  # a node that ends may remove the folder, empty, at the same moment
        with suppress(FileNotFoundError):
            return _open_in(runtime_folder(FOLDER), socket_name(store, node))
    raise Unavailable(f"the directory for nodes' sockets, {runtime_folder(FOLDER)}, does not stay")


def _open_in(folder: Path, name: str) -> ControlSocket:
    with _locked(folder):
        sweep(folder)
        path = folder / f"{name}{SUFFIX}"
        return _listen(path if _free(path) else folder / f"{name}.{secrets.token_hex(4)}{SUFFIX}")


def sweep(folder: Path) -> int:
    """Remove the sockets of dead nodes, with the folder's lock held; how many."""
    removed = 0
    for path in sorted(folder.glob(f"*{SUFFIX}"))[:SWEPT_MAX]:
        with suppress(OSError):
            if _is_our_socket(os.lstat(path)) and not answers(path):
                path.unlink()
                removed += 1
    return removed


def answers(path: Path) -> bool:
    """Whether a process listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
        return True


def peer_uid(connection: socket.socket) -> int:
    """The user id of the process at the other end, as the kernel knows it."""
    return int(_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1])


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """One starting node at a time: between bind and listen a socket looks dead."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _free(path: Path) -> bool:
    """Whether the path can be bound; a dead socket of ours is removed first."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return True
    if not _is_our_socket(found):
        raise Conflict(f"{path} is no socket of this user; nothing of callboard's made it: remove it, then start again")
    if answers(path):
        return False
    path.unlink()
    return True


def _is_our_socket(found: os.stat_result) -> bool:
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid()


def _listen(path: Path) -> ControlSocket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.settimeout(0)
        listener.bind(str(path))  # fails where anything lies there, a link too
        path.chmod(0o600)
        listener.listen(BACKLOG)
        return ControlSocket(listener, path, os.lstat(path).st_ino)
    except FileNotFoundError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        raise Unavailable(f"can't listen at {path}: {error.strerror}", cause=error) from error

"""Bells between the processes of one user on one machine: a datagram to each listener's Unix socket.

A hint only. Listeners are socket files in a directory of the user's own, named after what they listen to; a ring sends
one byte to each of a topic. Processes of other users don't hear it, and a full socket has been rung already.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import selectors
import socket
import stat
import threading
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from callboard.backends.runtime_dir import is_private, runtime_bases, runtime_folder
from callboard.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG: Final = logging.getLogger(__name__)
_BIND_ATTEMPTS: Final = 20
_FOLDERS_MAX: Final = 1_000  # that one look for dead sockets visits
_FILE: Final = re.compile(r"[a-z0-9-]+\.\d+\.[0-9a-f]{8}\Z")
_TOPIC: Final = re.compile(r"[a-z0-9-]{1,32}\Z")


class SocketBells:
    """The bells of one store or cluster; one thread serves all topics that this object listens to."""

    def __init__(self, subject: str) -> None:
        """Name what the bells belong to.

        Args:
            subject: the same for all who shall hear each other, such as a file's real path.
        """
        self._key = hashlib.sha256(subject.encode()).hexdigest()[:16]
        self._lock = threading.Lock()
        self._ears: _Ears | None = None
        self._sender: socket.socket | None = None
        _everyone.add(self)

    def listen(self, topic: str, callback: Callable[[], None]) -> SocketBell:
        """Call back, from the bells' thread, when topic is rung; the callback must not block.

        Raises:
            StoreUnavailable: Raised when the user has no directory for sockets that is safe.
        """
        with self._lock:
            if self._ears is None:
                _remove_dead_sockets()
                self._ears = _Ears(self._key)
            return self._ears.listen(topic, callback)

    def ring(self, topic: str) -> None:
        """Wake who listens, in this process and others. Never blocks, never raises."""
        prefix = _file_topic(topic) + "."
        for base in runtime_bases():
            folder = base / self._key
            if not (is_private(base) and is_private(folder)):
                continue
            with suppress(OSError):  # a hint: who does not hear it polls
                for name in os.listdir(folder):  # noqa: PTH208 - on the hot path
                    if name.startswith(prefix):
                        self._send(f"{folder}/{name}")

    def close(self) -> None:
        """Close every bell and end the thread; harmless when repeated."""
        with self._lock:
            ears, self._ears = self._ears, None
            sender, self._sender = self._sender, None
        if ears is not None:
            ears.close()
        if sender is not None:
            sender.close()

    def after_fork(self) -> None:
        """In a forked child: let go of the parent's sockets; the files are the parent's and stay."""
        self._lock = threading.Lock()
        if self._ears is not None:
            self._ears.let_go()
            self._ears = None
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def _send(self, path: str) -> None:
        with self._lock:
            if self._sender is None:
                self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._sender.settimeout(0)
            try:
                self._sender.sendto(b"!", path)
            except ConnectionRefusedError:
                with suppress(OSError):
                    os.unlink(path)  # noqa: PTH108 - on the hot path; its process died
            except OSError:
                pass  # full: rung already; gone: nobody there


class SocketBell:
    """One listener; `callboard.core.ports.Bell`."""

    def __init__(self, ears: _Ears, topic: str, callback: Callable[[], None]) -> None:
        """Remember whom to tell when it closes."""
        self.topic = topic
        self.callback = callback
        self._ears = ears

    def close(self) -> None:
        """Stop calling back. Harmless when repeated."""
        self._ears.drop(self)


class _Ears:
    """Sockets that listen, and the thread that waits for them; a daemon, so that a program may end without close()."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._lock = threading.Lock()
        self._sockets: dict[str, tuple[socket.socket, Path]] = {}
        self._bells: dict[str, tuple[SocketBell, ...]] = {}
        self._selector = selectors.DefaultSelector()
        self._stop, stopped = socket.socketpair()
        self._selector.register(stopped, selectors.EVENT_READ)
        self._stopped = stopped
        self._thread = threading.Thread(target=self._run, name="callboard-bells", daemon=True)
        self._thread.start()

    def listen(self, topic: str, callback: Callable[[], None]) -> SocketBell:
        bell = SocketBell(self, topic, callback)
        with self._lock:
            if topic not in self._sockets:
                self._open(topic)
            self._bells[topic] = (*self._bells.get(topic, ()), bell)
        return bell

    def drop(self, bell: SocketBell) -> None:
        with self._lock:
            left = tuple(other for other in self._bells.get(bell.topic, ()) if other is not bell)
            if left:
                self._bells[bell.topic] = left
            elif self._bells.pop(bell.topic, None) is not None:
                self._shut(bell.topic)

    def close(self) -> None:
        with self._lock:
            self._bells.clear()
            for topic in list(self._sockets):
                self._shut(topic)
        with suppress(OSError):
            self._stop.send(b"!")
        if self._thread is not threading.current_thread():
            self._thread.join()

    def let_go(self) -> None:
        """In a forked child, where the thread is not: close the descriptors."""
        self._lock = threading.Lock()
        for listener, _ in self._sockets.values():
            listener.close()
        self._sockets.clear()
        self._bells.clear()
        self._end()

    def _open(self, topic: str) -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.settimeout(0)
        try:
            path = self._bind(listener, topic)
        except BaseException:
            listener.close()
            raise
        self._sockets[topic] = listener, path
        self._selector.register(listener, selectors.EVENT_READ, topic)

    def _bind(self, listener: socket.socket, topic: str) -> Path:
        left = _BIND_ATTEMPTS
        while True:
            left -= 1
            path = runtime_folder(self._key) / f"{_file_topic(topic)}.{os.getpid()}.{secrets.token_hex(4)}"
            try:
                listener.bind(str(path))
            except OSError as error:
                if left and isinstance(error, FileNotFoundError):  # another process found the folder empty: removed
                    continue
                raise StoreUnavailable(f"can't listen at {path}: {error.strerror}", cause=error) from error
            return path

    def _shut(self, topic: str) -> None:
        listener, path = self._sockets.pop(topic)
        self._selector.unregister(listener)
        listener.close()
        path.unlink(missing_ok=True)
        with suppress(OSError):  # others listen there still
            path.parent.rmdir()
            path.parent.parent.rmdir()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopped:
                    self._end()
                    return
                self._hear(str(key.data))

    def _hear(self, topic: str) -> None:
        with self._lock:
            heard = self._sockets.get(topic)
            bells = self._bells.get(topic, ())
            if heard is not None:
                with suppress(OSError):  # empty: many rings are one
                    while heard[0].recv(16):
                        pass
        for bell in bells:
            try:
                bell.callback()
            except Exception:  # noqa: BLE001 - one listener's bug must not silence the others; it is logged
                _LOG.exception("a bell's callback failed; the others are still called")

    def _end(self) -> None:
        self._selector.close()
        self._stop.close()
        self._stopped.close()


def _file_topic(topic: str) -> str:
    return topic if _TOPIC.match(topic) else "x" + hashlib.sha256(topic.encode()).hexdigest()[:24]


def _remove_dead_sockets() -> None:
    """Remove what killed processes left in the user's directories."""
    for base in runtime_bases():
        if not is_private(base):
            continue
        with suppress(OSError), os.scandir(base) as folders:
            for folder in islice(folders, _FOLDERS_MAX):
                if is_private(Path(folder.path)):
                    _remove_dead_in(folder.path)


def _remove_dead_in(folder: str) -> None:
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        for name in os.listdir(folder):  # noqa: PTH208 - names are all that is needed
            path = f"{folder}/{name}"
            if _FILE.match(name) and stat.S_ISSOCK(os.lstat(path).st_mode):
                try:
                    probe.connect(path)
                except ConnectionRefusedError:  # nobody has it open
                    os.unlink(path)  # noqa: PTH108 - a string is what we have
        os.rmdir(folder)  # noqa: PTH106 - as above; fails where somebody listens


_everyone: WeakSet[SocketBells] = WeakSet()


def _after_fork() -> None:
    for bells in list(_everyone):
        bells.after_fork()


os.register_at_fork(after_in_child=_after_fork)

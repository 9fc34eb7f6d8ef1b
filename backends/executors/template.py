"""The template process: imports the app once, forks warm children, and kills what they leave behind.

It has one thread, and outlives its node just long enough to kill every child with all that descends from it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from typing import Any, Final

from callboard.backends.executors import linux
from callboard.backends.executors.app import import_app
from callboard.backends.executors.child import run_child, threads
from callboard.backends.executors.childbase import ChildSettings
from callboard.backends.executors.childio import Output
from callboard.backends.executors.runjob import describe
from callboard.backends.executors.wire import FdChannel, FromTemplate, ToTemplate, frame
from callboard.core.errors import CodecError
from callboard.core.registry import registry

CHILD_FDS: Final = 4


class Template:
    """Its state: the control socket, and the children that it has not reaped."""

    def __init__(self, sock: socket.socket, output: Output) -> None:
        """Take over the connected socket."""
        self._channel = FdChannel(sock)
        self._output = output
        self._children: dict[int, int] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_r, self._wake_w = os.pipe()
        self._stopping = False
        self._spawn = False
        self._begun: list[Any] = []
        self._early: list[list[Any]] = []

    def begin(self) -> None:
        """Wait for the settings, import the app, and say how it went."""
        frames: list[list[Any]] | None = []
        while not frames:
            frames = self._channel.receive()
            if frames is None:
                sys.exit(0)
        (_, app, path), *self._early = frames
        self._begun = [app, path]
        try:
            import_app(app, path)
        except BaseException as error:  # noqa: BLE001 - sys.exit at import is a failure to import like any other
            record = describe(error)
            self._channel.send(FromTemplate.FAILED, list(record))
            sys.exit(1)
        count = threads()
        self._spawn = count > 1
        if not self._spawn:
            gc.collect()
            gc.freeze()
        self._channel.send(FromTemplate.READY, [list(spec) for spec in registry.specs()], count)

    def serve(self) -> None:
        """Do what the node says until it says stop, or is gone; then kill all and reap."""
        for fd in (self._wake_r, self._wake_w):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.signal(signal.SIGTERM, self._on_term)
        self._selector.register(self._channel.sock, selectors.EVENT_READ)
        self._selector.register(self._wake_r, selectors.EVENT_READ)
        try:
            for message in self._early:
                self._obey(message)
            while not self._stopping:
                for key, _ in self._selector.select():
                    if key.fileobj is self._channel.sock:
                        self._listen()
                    else:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._wake_r, 4096)
                self._reap()
        finally:
            self._end()

    def _on_term(self, *_: object) -> None:
        self._stopping = True

    def _listen(self) -> None:
        try:
            frames = self._channel.receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except (OSError, CodecError):
            frames = None
        if frames is None:
            self._stopping = True
            return
        for message in frames:
            self._obey(message)

    def _obey(self, message: list[Any]) -> None:
        match message:
            case [ToTemplate.FORK, int(ident), settings]:
                self._fork(ident, settings)
            case [ToTemplate.KILL, int(pid)]:
                if pid in self._children:
                    linux.kill_tree(pid, self._children[pid], self._children.keys() - {pid})
            case [ToTemplate.SIGNAL, int(pid), int(number)]:
                if pid in self._children:
                    os.kill(pid, number)
            case [ToTemplate.STOP]:
                self._stopping = True
            case _:
                self._stopping = True

    def _fork(self, ident: int, settings: Any) -> None:
        fds = [self._channel.fds.popleft() for _ in range(CHILD_FDS)]
        try:
            pid = self._spawned(ident, settings, fds) if self._spawn else self._forked(ident, settings, fds)
        except OSError as error:
            self._tell(FromTemplate.NOT_FORKED, ident, f"{type(error).__name__}: {error}")
        else:
            self._children[pid] = ident
            self._tell_forked(ident, pid)
        finally:
            for fd in fds:
                os.close(fd)

    def _tell_forked(self, ident: int, pid: int) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except (AttributeError, OSError):  # before Linux 5.3
            self._tell(FromTemplate.FORKED, ident, pid, 0)
            return
        self._tell(FromTemplate.FORKED, ident, pid, 1, fds=(pidfd,))
        os.close(pidfd)

    def _forked(self, ident: int, settings: list[Any], fds: list[int]) -> int:
        me = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        try:
            signal.set_wakeup_fd(-1)
            self._selector.close()
            self._channel.sock.close()
            for fd in (self._wake_r, self._wake_w):
                os.close(fd)
            run_child(fds, ident, ChildSettings.of(settings), self._output, me)
        except BaseException:  # noqa: BLE001 - it goes to the pipe that the node reads, for want of anything better
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(1)

    def _spawned(self, ident: int, settings: list[Any], fds: list[int]) -> int:
        """The import left threads, and a fork would copy their locks without them: start afresh."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "callboard.backends.executors.spawned"],
            stdin=subprocess.PIPE, pass_fds=fds, start_new_session=True,
        )
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(frame(0, *self._begun, ident, settings, fds, os.getpid()))
        process.returncode = 0  # we reap it ourselves, so Popen must not
        return process.pid

    def _reap(self) -> None:
        """Kill what the dead leave behind while their pids can't be used again, then reap and tell."""
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if dead is None:
                return
            ident = self._children.get(dead.si_pid)
            if ident is not None:
                linux.kill_tree(dead.si_pid, ident, self._children.keys() - {dead.si_pid})
            _, status = os.waitpid(dead.si_pid, 0)
            if ident is not None:
                del self._children[dead.si_pid]
                self._tell(FromTemplate.EXITED, ident, dead.si_pid, os.waitstatus_to_exitcode(status))

    def _tell(self, *parts: object, fds: tuple[int, ...] = ()) -> None:
        try:
            self._channel.send(*parts, fds=fds)
        except OSError:
            self._stopping = True

    def _end(self) -> None:
        for pid in self._children:
            linux.kill_group(pid)
        linux.end_all_descendants()


def _ignore(*_: object) -> None:
    """A handler, so that the wakeup descriptor is written to."""


def main() -> None:
    """Started by TemplateHost with a socket's descriptor and its own pid."""
    fd, node = int(sys.argv[1]), int(sys.argv[2])
    del sys.argv[1:]
    linux.die_with_parent(node, signal.SIGTERM)
    linux.adopt_orphans()
    output = Output()
    output.install()
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    template = Template(sock, output)
    template.begin()
    template.serve()
    os._exit(0)


if __name__ == "__main__":
    main()

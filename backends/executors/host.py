"""The node's end of the template process, and of all children that it forks."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.executors import linux
from callboard.backends.executors.link import ChildLink
from callboard.backends.executors.options import KINDS, ExecutorOptions
from callboard.backends.executors.pool import ChildPool
from callboard.backends.executors.pump import Pump
from callboard.backends.executors.rawoutput import RawOutput
from callboard.backends.executors.shared import Barrier
from callboard.backends.executors.specs import specs_of
from callboard.backends.executors.wire import FdChannel, FromTemplate, ToTemplate
from callboard.core.errors import AppImportFailed, CodecError, UnknownOption
from callboard.core.options import did_you_mean

if TYPE_CHECKING:
    from callboard.backends.executors.childbase import ChildSettings
    from callboard.backends.executors.options import Kind
    from callboard.core.ports import Clock
    from callboard.core.runs import JobSpec

_ONE_THREAD: Final = (
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)
"""Libraries that start threads at import, unless these say 1; then a fork would be unsafe."""
_STOP_S: Final = 10.0
_STOP_IMPORT_S: Final = 1.0
_SEND_S: Final = 2.0
_POLL_S: Final = 0.01
_BACKOFF_S: Final = (0.1, 10.0)
_TEMPLATE: Final = "callboard.backends.executors.template"
_TAIL_LINES: Final = 15
_UNTOLD_MAX: Final = 200
_TICK_S: Final = 0.25


class TemplateHost:
    """`callboard.core.ports.ExecutorHost`.

    Args:
        app: modules ("package.module") or scripts ("path/file.py") that define the jobs.
        kind: "process", "thread" or "asyncio": what each pool's children are.
        options: numbers.
        clock: boot_s must be CLOCK_BOOTTIME, as children read it themselves.
    """

    def __init__(self, app: tuple[str, ...], kind: Kind, options: ExecutorOptions, clock: Clock) -> None:
        """Nothing is started before `start`. Raises UnknownOption for another kind."""
        if kind not in KINDS:
            near = did_you_mean(kind, KINDS)
            raise UnknownOption(f"there is no executor {kind!r}{near}; there are {', '.join(KINDS)}")
        self.app = app
        self.kind = kind
        self.options = options
        self.clock = clock
        self.pump = Pump("callboard-executors", clock)
        self.up = False
        self.template_pid = 0
        self._barrier = Barrier()
        self._idents = itertools.count(1)
        self._pools: list[ChildPool] = []
        self._links: dict[int, tuple[ChildPool, ChildLink]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: FdChannel | None = None
        self._outputs: list[RawOutput] = []
        self._tail: list[str] = []
        self._untold: deque[tuple[str, dict[str, str | float]]] = deque(maxlen=_UNTOLD_MAX)
        self._imported = threading.Event()
        self._specs: tuple[JobSpec, ...] = ()
        self._error: AppImportFailed | None = None
        self._failures = 0
        self._stopping = False

    # The contract -----------------------------------------------------------------------------------------------------

    def start(self) -> tuple[JobSpec, ...]:
        """See ExecutorHost."""
        self.pump.start()
        self.pump.call(self._launch)
        if not self._imported.wait(self.options.import_timeout_s):
            self._error = AppImportFailed(f"importing {', '.join(self.app)} took longer than "
                                          f"{self.options.import_timeout_s:g} s; see ExecutorOptions.import_timeout_s")
        if self._error is not None:
            error = self._error
            self.stop()
            raise error
        self.pump.call(self._tick)
        return self._specs

    def executor(self, pool: str, slots: int) -> ChildPool:
        """See ExecutorHost."""
        made = ChildPool(self, pool, slots)
        self._pools.append(made)
        return made

    def stop(self) -> None:
        """See ExecutorHost. What still runs ends as INTERRUPTED."""
        for pool in list(self._pools):
            pool.stop(self.clock.boot_s())
        self._stopping = True
        process = self._process
        self.pump.call(self._say_stop)
        if process is not None:
            if not self.up:
                process.terminate()  # it still imports the app, and hears nothing
            try:
                process.wait(_STOP_S if self.up else _STOP_IMPORT_S)
            except subprocess.TimeoutExpired:  # such as an app that handles SIGTERM itself
                linux.kill_group(process.pid)
                process.wait()
        self.pump.stop()
        for output in self._outputs:
            output.close()
        if self._channel is not None:
            self._channel.sock.close()

    # For pools --------------------------------------------------------------------------------------------------------

    def new_link(self, pool: ChildPool, slots: int) -> ChildLink:
        """A link to a child that is still to be forked."""
        link = ChildLink(next(self._idents), slots, self.pump, self._barrier)
        self._links[link.ident] = (pool, link)
        return link

    def forget(self, pool: ChildPool) -> None:
        """A pool has stopped."""
        if pool in self._pools:
            self._pools.remove(pool)

    def fork(self, link: ChildLink, settings: ChildSettings) -> None:
        """Have the child forked; in the pump's thread."""
        self._send(ToTemplate.FORK, link.ident, settings.fields(), fds=link.child_fds)
        link.close_child_fds()

    def kill(self, link: ChildLink) -> None:
        """Have the child killed with all that it started; in the pump's thread."""
        self._send(ToTemplate.KILL, link.pid)

    def signal(self, link: ChildLink, number: int) -> None:
        """Have a signal sent to the child alone; in the pump's thread."""
        self._send(ToTemplate.SIGNAL, link.pid, number)

    def _send(self, *parts: object, fds: tuple[int, ...] = ()) -> None:
        if self._channel is None:
            return
        try:
            self._channel.send(*parts, fds=fds)
        except OSError:
            self._down()

    # The template -----------------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        """Start the template from this thread, whose end is the template's signal to end."""
        if self._stopping:
            return
        ours, theirs = socket.socketpair()
        out_r, out_w = os.pipe()
        environment = {**dict.fromkeys(_ONE_THREAD, "1"), **os.environ}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
                [sys.executable, "-P", "-m", _TEMPLATE, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=out_w, stderr=out_w, env=environment,
                start_new_session=True,
            )
        os.close(out_w)
        self.template_pid = self._process.pid
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(_SEND_S))
        self._channel = FdChannel(ours)
        self._tail = []
        output = RawOutput(out_r, self.pump, self.clock, self.options.output_lines_per_s, self.options.output_line_max,
                           self._said)
        self._outputs.append(output)
        output.start()
        self.pump.watch(ours.fileno(), self._heard)
        self._send(ToTemplate.BEGIN, list(self.app), [folder for folder in sys.path if folder])

    def _said(self, lines: list[str], _dropped: int) -> None:
        """The template wrote something: while the app is imported that may be all there is to explain its end."""
        self._tail = (self._tail + lines)[-_TAIL_LINES:]
        for line in lines:
            self._note("job.output", stream="stderr", line=line)

    def _heard(self) -> None:
        if self._channel is None:
            return
        try:
            frames = self._channel.receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except (OSError, CodecError):
            frames = None
        if frames is None:
            self._down()
            return
        for message in frames:
            self._obey(message)

    def _obey(self, message: list[Any]) -> None:
        match message:
            case [FromTemplate.READY, specs, int(threads)]:
                self._ready(specs, threads)
            case [FromTemplate.FAILED, [str(kind), str(text), str(traceback)]]:
                tail = "\n".join(traceback.strip().splitlines()[-_TAIL_LINES:])
                self._failed(f"{kind}: {text}\n{tail}")
            case [FromTemplate.FORKED, int(ident), int(pid), int(fds)]:
                self._forked(ident, pid, fds)
            case [FromTemplate.NOT_FORKED, int(ident), str(why)]:
                self._exited(ident, None, why)
            case [FromTemplate.EXITED, int(ident), int(_), int(status)]:
                self._exited(ident, status)
            case _:
                self._down()

    def _ready(self, specs: Any, threads: int) -> None:
        try:
            self._specs = specs_of(specs)
        except CodecError as error:
            self._failed(str(error))
            return
        self._failures = 0
        self.up = True
        self._imported.set()
        self._note("template.started")
        if threads > 1:
            self._note("template.threads", threads=threads)
        for pool in self._pools:
            pool.nursery.tend()

    def _failed(self, why: str) -> None:
        if not self._imported.is_set():
            self._error = AppImportFailed(f"{', '.join(self.app)} can't be imported: {why}")
            self._imported.set()

    def _forked(self, ident: int, pid: int, fds: int) -> None:
        pidfd = self._channel.fds.popleft() if fds and self._channel is not None else -1
        found = self._links.get(ident)
        if found is None:
            if pidfd >= 0:
                os.close(pidfd)
            return
        pool, link = found
        link.pid, link.pidfd = pid, pidfd
        pool.nursery.forked(link)

    def _exited(self, ident: int, status: int | None, why: str = "") -> None:
        pool, link = self._links.pop(ident, (None, None))
        if pool is None or link is None:
            return
        if why:
            self._note("child.died", reason=f"it could not be forked: {why}"[:300])
        pool.nursery.exited(link, status)

    def _down(self) -> None:
        """The template is dead: so are its children, or will be in an instant."""
        channel, self._channel = self._channel, None
        if channel is None or self._process is None:
            return
        self.up = False
        self.pump.watch(channel.sock.fileno(), None)
        channel.sock.close()
        self._process.kill()
        status = self._process.wait()
        for output in self._outputs:
            output.close()
        self._outputs = []
        self._failed(f"its process ended with status {status}\n" + "\n".join(self._tail))
        if self._stopping:
            return
        self._note("template.died", status=status)
        for ident, (_, link) in list(self._links.items()):
            self._orphaned(ident, link)
        low_s, high_s = _BACKOFF_S
        self.pump.later(self.clock.boot_s() + min(low_s * 2 ** min(self._failures, 10), high_s), self._launch)
        self._failures += 1

    def _orphaned(self, ident: int, link: ChildLink) -> None:
        """The system kills a child when its template dies; its end is seen by its pidfd."""
        if not link.pid:
            self._exited(ident, None)
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(link.pid, signal.SIGKILL)  # what it started in its group, before its pid is used again
        if link.pidfd >= 0:
            self.pump.watch(link.pidfd, lambda: self._exited(ident, None))
        else:
            self._poll_death(ident, link.pid)

    def _poll_death(self, ident: int, pid: int) -> None:
        """Where the system has no pidfd."""
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, PermissionError):  # gone; or the pid is another user's by now
            self._exited(ident, None)
        else:
            self.pump.later(self.clock.boot_s() + _POLL_S, lambda: self._poll_death(ident, pid))

    def _say_stop(self) -> None:
        self._send(ToTemplate.STOP)

    def _tick(self) -> None:
        """Four times a second: see to children with a lone job, for which nobody woke this thread."""
        if self._stopping:
            return
        for pool in self._pools:
            pool.watch.tick()
        self.pump.later(self.clock.boot_s() + _TICK_S, self._tick)

    def _note(self, event: str, **fields: str | float) -> None:
        """The first pool that has somebody to tell tells what concerns all."""
        self._untold.append((event, fields))
        self.announce()

    def announce(self) -> None:
        """Tell what nobody could be told of yet; in the pump's thread."""
        for pool in [pool for pool in self._pools if pool.started][:1]:
            with pool.lock:
                for event, fields in self._untold:
                    pool.note(event, None, None, **fields)
            self._untold.clear()
            pool.deliver()


def _timeval(seconds: float) -> bytes:
    """A struct timeval."""
    import struct  # noqa: PLC0415 - for this alone

    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))

"""A server's process: started and waited for, killed, stopped, resumed, started again on the same data and port."""

from __future__ import annotations

import os
import pwd
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kit import eventually

from servers import folders

if TYPE_CHECKING:
    from servers.packages import Programs

HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)
"""Below those that systems give to outgoing connections: after a kill the port must be free for the same server."""
_TRIES = 5
_READY_S = 60.0
_END_S = 30.0
_LOG_TAIL_BYTES = 4_000
_LAUNCH = Path(__file__).with_name("launch.py")


class Broken(Exception):
    """Raised when a server does not start, stop or answer; ends with the end of its log."""


class Server:
    """A server of the test's own, on a free port of 127.0.0.1, with its data in a temporary folder.

    A kind of server says how its data begin (`prepare`), its command line (`command`), whether it answers (`answers`).
    It must be made and started in the main thread: it dies with the thread that started it.

    Attributes:
        port: the same through all restarts.
        password: of its one user.
        variables: of its environment, on top of what its programs need.
        ours: whether it can be killed and stopped; False for a server that the environment named.
    """

    name = "server"
    stop_signal = signal.SIGTERM
    death_signal = signal.SIGKILL
    ours = True

    def __init__(self, programs: Programs) -> None:
        self.programs = programs
        self.variables: dict[str, str] = {}
        self.password = secrets.token_hex(16)
        self.port = 0
        self.pid = 0
        self._account = _account()
        self._home = folders.Home(self._account)
        self.folder = self._home.path
        self.log = self.folder / "log"
        self._popen: subprocess.Popen[bytes] | None = None
        try:
            self.prepare()
        except BaseException:
            self._home.remove()
            raise

    @property
    def url(self) -> str:
        """Its address, with user and password."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make the data; once."""

    def command(self) -> list[str]:
        """Its command line."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Connect and ask something; False, or any driver's error, while it is not ready."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start it, again on the same data and port, and wait until it answers.

        Raises:
            Broken: Raised when it ends instead, or takes too long.
        """
        for _ in range(_TRIES if not self.port else 1):
            first, self.port = not self.port, self.port or free_port()
            try:
                self._start()
            except Broken as error:
                if first and "in use" in str(error).lower():  # someone took the port in between
                    self.port = 0
                    continue
                raise
            return self
        raise Broken(f"{self.name}: no free port in {_TRIES} tries")

    def _start(self) -> None:
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it and wait for nothing: one of an ensemble answers when others run, too."""
        if self.alive:
            raise Broken(f"{self.name} runs already")
        self.port = self.port or free_port()
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._launched(self.command(), self.death_signal),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                env={**self._environment(), **self.variables},
            )
        self.pid = self._popen.pid

    def wait_ready(self) -> None:
        """Wait until it answers.

        Raises:
            Broken: Raised when it ends instead, or takes too long.
        """
        end_s, last = time.monotonic() + _READY_S, ""
        while True:
            if self._popen.poll() is not None:
                raise self._broken(f"ended with {self._popen.returncode} instead of starting")
            try:
                if self.answers():
                    return
            except ImportError:  # no driver: no wait will help
                self.kill()
                raise
            except Exception as error:  # noqa: BLE001 - each driver has its own; told when time is up
                last = repr(error)
            if time.monotonic() > end_s:
                self.kill()
                raise self._broken(f"not ready within {_READY_S} s ({last})")
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(0.01)  # what else could end the wait; readiness tells no event

    def _launched(self, command: list[str], death_signal: int) -> list[str]:
        if threading.current_thread() is not threading.main_thread():
            raise Broken(f"{self.name} would die with a thread other than the main one: start it there")
        uid, gid = self._account
        start = [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), str(uid), str(gid), str(int(death_signal))]
        return [*start, *command]

    def _environment(self) -> dict[str, str]:
        """For its programs. Servers that share a folder for temporary files remove each other's."""
        return {**self.programs.environment(), "TMPDIR": str(self.folder)}

    def run(self, command: list[str]) -> str:
        """Run a program of the server's, as the server's user, to its end; its output.

        Raises:
            Broken: Raised when it fails.
        """
        done = subprocess.run(
            self._launched(command, signal.SIGKILL), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            cwd=self.folder, env=self._environment(), timeout=_READY_S, check=False,
        )
        if done.returncode:
            raise Broken(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-_LOG_TAIL_BYTES:]}")
        return done.stdout

    def write(self, name: str, text: str) -> Path:
        """Put a file into its folder, for its user alone."""
        path = self.folder / name
        path.touch(mode=0o600)
        os.chown(path, *self._account)
        path.write_text(text)
        return path

    @property
    def alive(self) -> bool:
        """Whether its process is there, be it stopped."""
        return self._popen is not None and self._popen.poll() is None

    def kill(self) -> None:
        """Kill -9 it and all that it started, as a power cut would, and wait until they are gone."""
        if not self.alive:
            return
        everyone = self.stop_all()
        _signal(everyone, signal.SIGKILL)
        self._gone(everyone)

    def pause(self) -> None:
        """SIGSTOP it and all that it started: connections stay open, nothing is answered."""
        self.stop_all()

    def resume(self) -> None:
        """SIGCONT all of it."""
        _signal(_family(self.pid), signal.SIGCONT)

    def stop_all(self) -> list[int]:
        """Stop the whole family, those too that were born meanwhile; their ids."""
        everyone: list[int] = []
        while born := [pid for pid in _family(self.pid) if pid not in everyone]:
            _signal(born, signal.SIGSTOP)
            eventually(lambda born=born: all(_state(pid) in "TZX" for pid in born), _END_S, f"{self.name} has stopped")
            everyone += born
        return everyone

    def stop(self) -> None:
        """End it as an operator would, and wait for that.

        Raises:
            Broken: Raised when it does not end; it is killed then.
        """
        if not self.alive:
            return
        everyone = _family(self.pid)
        _signal(everyone, signal.SIGCONT)
        _signal([self.pid], self.stop_signal)
        try:
            self._popen.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._broken(f"did not stop within {_END_S} s") from None
        self._gone(everyone)

    def _gone(self, everyone: list[int]) -> None:
        self._popen.wait(_END_S)
        eventually(lambda: all(_state(pid) in "ZX" for pid in everyone), _END_S, f"all of {self.name} has ended")

    def close(self) -> None:
        """Kill it if it runs, and remove its data: nothing of it stays."""
        try:
            self.kill()
            self.tidy()
        finally:
            self._home.remove()

    def tidy(self) -> None:
        """Remove what it left elsewhere."""

    def __enter__(self) -> Self:
        return self if self.alive else self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def log_tail(self) -> str:
        """The end of its log."""
        return self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace") if self.log.exists() else ""

    def _broken(self, what: str) -> Broken:
        return Broken(f"{self.name} (port {self.port}) {what}; the end of its log:\n{self.log_tail()}")


def _account() -> tuple[int, int]:
    """Who runs the servers: ourselves, but as root the least of all users, for some servers refuse root."""
    if os.getuid():
        return os.getuid(), os.getgid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def free_port() -> int:
    """One that nobody has now."""
    for port in random.SystemRandom().sample(_PORTS, 100):
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise Broken(f"no free port among 100 of {_PORTS}")


def _family(pid: int) -> list[int]:
    """A process and its descendants; Linux only (elsewhere the process alone)."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    family = [pid]
    for member in family:  # grows as it goes
        family += [child for child, parent in parents.items() if parent == member]
    return family


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _signal(pids: list[int], which: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, which)



"""A node's socket without its node: a real ControlServer before an actor that answers as the test says."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pykka

from callboard.actors.base import DISPATCHER, Directory
from callboard.backends.clock import SystemClock
from callboard.control import ControlServer
from callboard.core.frames import HEADER_BYTES
from callboard.core.messages import Done, decode_message
from callboard.core.runs import JobSpec
from callboard.logs import EventLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

SPECS = (JobSpec("send_email", "emails", ("to", "n"), ("to",), 3, None, None, has_failed_hook=False, priority=5),)


def short_runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory of the test's own; pytest's paths are too long for sockets. Removed by the caller."""
    folder = Path(tempfile.mkdtemp(prefix="cb", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


class StubDispatcher(pykka.ThreadingActor):
    """Answers with what `answer(message)` returns or raises."""

    use_daemon_thread = True

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        super().__init__()
        self._answer = answer

    def on_receive(self, message: Any) -> Any:
        return self._answer(message)


class Events:
    """A node's events, and waiting for one."""

    def __init__(self, log: EventLog) -> None:
        self.seen: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        log.follow(self._add)

    def _add(self, line: dict[str, Any]) -> None:
        with self._changed:
            self.seen.append(line)
            self._changed.notify_all()

    def wait(self, event: str, timeout_s: float = 10.0, **fields: Any) -> dict[str, Any]:
        """The first event of that name with these fields."""
        def found() -> dict[str, Any] | None:
            return next((line for line in self.seen if line["event"] == event and fields.items() <= line.items()), None)

        with self._changed:
            assert self._changed.wait_for(found, timeout_s), f"no {event} {fields} in {self.seen[-20:]}"
            line = found()
        assert line is not None
        return line


class Served:
    """A running server, and how to speak to it by hand."""

    def __init__(self, server: ControlServer, log: EventLog, path: str, directory: Directory) -> None:
        self.server, self.log, self.path, self.directory = server, log, path, directory
        self.events = Events(log)

    def connect(self, timeout_s: float = 10.0) -> socket.socket:
        """A raw connection."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(timeout_s)
        client.connect(self.path)
        return client


@contextmanager
def serving(answer: Callable[[Any], Any] = lambda _message: Done(), node: str = "n1", clock: Any = None,
            ) -> Iterator[Served]:
    """A server of node `node` on the store "test"."""
    clock = clock or SystemClock()
    log = EventLog(node, clock, style="off")
    directory = Directory()
    dispatcher = StubDispatcher.start(answer)
    directory.add(DISPATCHER, dispatcher)
    server = ControlServer(log, clock, directory, lambda: SPECS)
    path = server.open("test", node)
    try:
        yield Served(server, log, path, directory)
    finally:
        server.close()
        dispatcher.stop()


def receive(client: socket.socket) -> Any:
    """The next message, or None at the end."""
    header = exactly(client, HEADER_BYTES)
    if header is None:
        return None
    body = exactly(client, int.from_bytes(header, "big"))
    assert body is not None
    return decode_message(body)


def exactly(client: socket.socket, count: int) -> bytes | None:
    """So many bytes, or None at the end."""
    data = b""
    while len(data) < count:
        try:
            more = client.recv(count - len(data))
        except ConnectionResetError:
            return None
        if not more:
            return None
        data += more
    return data


def rss_kib(pid: int | None = None) -> int:
    """Resident memory of a process, in KiB."""
    for line in Path(f"/proc/{pid or os.getpid()}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")

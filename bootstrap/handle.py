"""A handle to a node that a program starts: in this process for a memory store, else as a process of its own.

The process is started by exec, never by fork: the program may have threads. Parent and node speak JSON lines over the
node's standard input and output; when the parent dies, the node sees the end of its input and stops gracefully.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from callboard.actors.base import DISPATCHER, WORKER
from callboard.core.errors import AppImportFailed, QueueError, Unavailable
from callboard.core.messages import Adjust, AskStatus, NodeStatus
from callboard.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.ports import ClusterBackend, JobStore
    from callboard.settings import NodeSettings

READY_TIMEOUT_S = 60.0
"""How long a node may take from start to ready: mostly the import of the user's modules."""
ASK_TIMEOUT_S = 5.0

OnEvent = "Callable[[dict[str, Any]], None]"


class NodeHandle(Protocol):
    """What Worker and DistributedQueue need of the node that they started."""

    def start(self) -> None:
        """Start the node; returns when it works. Raises AppImportFailed, Unavailable."""
        ...

    def stop(self, grace_s: float) -> int:
        """Stop the node gracefully and wait for its end; its exit code."""
        ...

    def adjust(self, slots: int | None = None, timeout_s: float | None = None) -> None:
        """Change the slots or the time limit of the node's pools, for its life."""
        ...

    def status(self) -> NodeStatus:
        """The node's view of itself. Raises Unavailable."""
        ...


class InProcessNode:
    """A node on threads of this process, for a memory store."""

    def __init__(self, settings: NodeSettings, store: JobStore, cluster: ClusterBackend,
                 on_event: Callable[[dict[str, Any]], None] | None) -> None:
        """Nothing runs yet."""
        self._node = Node(settings, store=store, cluster=cluster)
        self._on_event = on_event
        self._unfollow: Callable[[], None] = _nothing

    def start(self) -> None:
        """Start the actors."""
        if self._on_event is not None:
            self._unfollow = self._node.log.follow(self._on_event)
        self._node.start()

    def stop(self, grace_s: float) -> int:
        """Stop the actors."""
        self._node.stop(grace_s)
        code = self._node.wait(grace_s + 30.0)
        self._unfollow()
        return 1 if code is None else code

    def adjust(self, slots: int | None = None, timeout_s: float | None = None) -> None:
        """Tell every Worker."""
        self._node.parts.directory.tell_all(WORKER, Adjust(slots, timeout_s))

    def status(self) -> NodeStatus:
        """Ask the Dispatcher."""
        return ask_status(self._node)


def ask_status(node: Node) -> NodeStatus:
    """A node's view of itself. Raises Unavailable when it does not answer."""
    ref = node.parts.directory.ref(DISPATCHER)
    answer = None if ref is None else ref.ask(AskStatus(), timeout=ASK_TIMEOUT_S)
    if not isinstance(answer, NodeStatus):
        raise Unavailable("the node does not answer: its dispatcher is being restarted")
    return answer


class ProcessNode:
    """A node as a process of its own."""

    def __init__(self, settings: NodeSettings, on_event: Callable[[dict[str, Any]], None] | None) -> None:
        """Nothing runs yet."""
        self._settings = settings
        self._on_event = on_event
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._changed = threading.Condition()
        self._state = "starting"
        self._error: QueueError | None = None
        self._answers: dict[int, NodeStatus] = {}
        self._asked = 0

    def start(self) -> None:
        """Start the process and wait until the node works."""
        command = [sys.executable, "-m", "callboard.handle_node"]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self._send({"settings": asdict(self._settings), "path": sys.path, "events": self._on_event is not None})
        self._reader = threading.Thread(target=self._read, name="callboard-node-reader", daemon=True)
        self._reader.start()
        with self._changed:
            self._changed.wait_for(lambda: self._state != "starting", READY_TIMEOUT_S)
            if self._state == "ready":
                return
        self.stop(0.0)
        raise self._error or Unavailable(f"the node was not ready within {READY_TIMEOUT_S:g} s")

    def stop(self, grace_s: float) -> int:
        """Ask it to stop, and wait; past the grace and a margin it is killed."""
        process = self._process
        if process is None:
            return 0
        self._send({"stop": grace_s})
        try:
            code = process.wait(grace_s + 15.0)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join(5.0)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what it did not read any more is still in our buffer
                    pipe.close()
        self._process = None
        return code

    def adjust(self, slots: int | None = None, timeout_s: float | None = None) -> None:
        """Tell the node."""
        self._send({"slots": slots, "timeout_s": timeout_s})

    def status(self) -> NodeStatus:
        """Ask the node."""
        with self._changed:
            self._asked += 1
            number = self._asked
        self._send({"status": number})
        with self._changed:
            self._changed.wait_for(lambda: number in self._answers or self._state != "ready", ASK_TIMEOUT_S)
            answer = self._answers.pop(number, None)
            ended = None if self._state == "ready" else self._error or Unavailable("the node has ended")
        if answer is None:
            raise ended or Unavailable("the node does not answer")
        return answer

    def _send(self, line: dict[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise Unavailable("the node has not been started")
        try:
            process.stdin.write(json.dumps(line) + "\n")
            process.stdin.flush()
        except (BrokenPipeError, ValueError):  # it has ended: the reader says so, and wait() tells the code
            return

    def _read(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            return
        for text in process.stdout:
            line = json.loads(text)
            if "event" in line:
                if self._on_event is not None:
                    self._on_event(line)
                continue
            with self._changed:
                if "ready" in line:
                    self._state = "ready"
                elif "failed" in line:
                    kind = AppImportFailed if line["kind"] == "AppImportFailed" else Unavailable
                    self._state, self._error = "failed", kind(line["failed"])
                elif "answer" in line:
                    self._answers[line["answer"]] = status_from(line["status"])
                self._changed.notify_all()
        with self._changed:
            self._state = "ended" if self._state != "failed" else "failed"
            self._changed.notify_all()


def status_from(fields: dict[str, Any]) -> NodeStatus:
    """A NodeStatus from the plain data that crossed the pipe."""
    import msgspec  # noqa: PLC0415 - only where a node was started

    return msgspec.convert(fields, NodeStatus)


def _nothing() -> None:
    """No event is followed."""

"""The node process behind a handle (`callboard.handle`): settings on standard input, events on standard output."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

import msgspec

from callboard.actors.base import WORKER
from callboard.core.errors import QueueError
from callboard.core.messages import Adjust
from callboard.handle import ask_status
from callboard.logs import to_json
from callboard.node import Node
from callboard.serve import serve
from callboard.settings import NodeSettings

FOLLOWED = ("job.", "node.")
"""What the parent is told: its callbacks speak of jobs."""


def main() -> int:
    """Run the node that the parent describes; its exit code."""
    first = json.loads(sys.stdin.readline())
    sys.path[:] = first["path"]
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whoever prints here must not disturb the protocol
    lock = threading.Lock()

    def say(line: dict[str, Any]) -> None:
        try:
            with lock:
                out.write(to_json(line) + "\n")
        except (BrokenPipeError, ValueError):  # the parent is gone: the end of our input stops the node
            return

    class HandledNode(Node):
        """Says when it works, and does what its program asks."""

        def start(self) -> None:
            if first["events"]:
                self.log.follow(lambda line: say(line) if line["event"].startswith(FOLLOWED) else None)
            works = threading.Event()
            threading.Thread(target=_listen, args=(self, works, say), name="callboard-parent", daemon=True).start()
            super().start()
            works.set()
            say({"ready": True})

    try:
        return serve(msgspec.convert(first["settings"], NodeSettings), make_node=HandledNode)
    except QueueError as error:
        say({"failed": error.message, "kind": type(error).__name__})
        return error.exit_code


def _listen(node: Node, works: threading.Event, say: Any) -> None:
    """Do what the program asks; while the node starts, which may take long, that is to stop."""
    for text in sys.stdin:
        line = json.loads(text)
        if "stop" in line:
            _stop(node, works, float(line["stop"]), "its program asked")
        elif not works.is_set():
            continue
        elif "status" in line:
            try:
                say({"answer": line["status"], "status": msgspec.to_builtins(ask_status(node))})
            except QueueError:
                continue  # the parent's wait runs out and says so
        else:
            node.parts.directory.tell_all(WORKER, Adjust(line.get("slots"), line.get("timeout_s")))
    _stop(node, works, None, "its program ended")


def _stop(node: Node, works: threading.Event, grace_s: float | None, reason: str) -> None:
    if works.is_set():
        node.stop(grace_s, reason)
    else:  # the main thread starts the node, and only a signal interrupts that
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())

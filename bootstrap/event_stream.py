"""Events of several nodes as one stream."""

from __future__ import annotations

import json
import queue
import threading
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from callboard.core.errors import QueueError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from callboard.core.messages import EventLine, FollowEvents
    from callboard.core.records import SessionView

LOOK_AGAIN_S: Final = 2.0
"""How often a stream that follows looks for nodes that joined."""
LINES_MAX: Final = 10_000
"""Events that wait here for who reads the stream; then the nodes' own bounds hold."""


class Source(Protocol):
    """One node's events: by its socket, or by broadcast."""

    def follow(self, wanted: FollowEvents) -> Iterator[EventLine]:
        """Events as they come. Raises QueueError when the node went away."""
        ...

    def close(self) -> None:
        """End it, from any thread. Harmless when repeated."""
        ...


def kept(sessions: Sequence[SessionView], wanted: FollowEvents,
         connect: Callable[[SessionView], Source]) -> list[dict[str, Any]]:
    """The last events that the nodes kept, by time.

    Raises:
        QueueError: Raised when not one of them answered; the last one's.
    """
    lines: list[dict[str, Any]] = []
    error, silent = QueueError("no node"), 0
    for view in sessions:
        try:
            with closing(connect(view)) as link:
                lines += [line for came in link.follow(wanted) for line in lines_of(came, view.info.node)]
        except QueueError as found:  # it went away between the look at the store and now
            error, silent = found, silent + 1
    if silent == len(sessions):
        raise error
    lines.sort(key=lambda line: str(line.get("time", "")))
    return lines[-wanted.last:] if wanted.last > 0 else []


def lines_of(came: EventLine, node: str) -> list[dict[str, Any]]:
    """An event as a dict, and before it one that says how many were lost."""
    try:
        line: Any = json.loads(came.line)
    except ValueError:
        line = None
    if not isinstance(line, dict):
        line = {"level": "error", "event": "control.unreadable", "actor": "control", "node": node}
    lost: dict[str, Any] = {"time": line.get("time", ""), "level": "warning", "event": "control.lines_lost",
                            "actor": "control", "node": node, "lines": came.lost}
    return [lost, line] if came.lost else [line]


class Following:
    """Follows every node that it can find, until it is closed. A thread a node, ended by closing its connection."""

    def __init__(self, find: Callable[[], Sequence[SessionView]], wanted: FollowEvents,
                 connect: Callable[[SessionView], Source]) -> None:
        """`find` gives the live nodes, it is called again and again; `connect` a way to one of them."""
        self._find = find
        self._connect = connect
        self._wanted = wanted
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue(LINES_MAX)
        self._links: dict[str, Source] = {}
        self._threads: list[threading.Thread] = []
        self._closed = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Events as they come."""
        try:
            while True:
                self._look()
                look_again_s = time.monotonic() + LOOK_AGAIN_S
                while (left_s := look_again_s - time.monotonic()) > 0:
                    with suppress(queue.Empty):
                        yield self._lines.get(timeout=left_s)
        finally:
            self.close()

    def close(self) -> None:
        """Close every connection and wait for the threads. Harmless when repeated."""
        self._closed = True
        for link in list(self._links.values()):
            link.close()
        while self._threads:
            thread = self._threads.pop()
            while thread.is_alive():
                with suppress(queue.Empty):  # it may wait for room
                    self._lines.get_nowait()
                thread.join(0.05)

    def _look(self) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        try:
            found = self._find()
        except Unavailable:  # the store is away: those that are followed go on
            return
        for view in found:
            boot_id = view.info.boot_id
            if boot_id in self._links:
                continue
            try:
                link = self._connect(view)
            except QueueError:  # starting or ending: looked at again
                continue
            self._links[boot_id] = link
            thread = threading.Thread(target=self._read, args=(boot_id, view.info.node, link), daemon=True,
                                      name=f"callboard-events-{view.info.node}")
            self._threads.append(thread)
            thread.start()

    def _read(self, boot_id: str, node: str, link: Source) -> None:
        try:
            for came in link.follow(self._wanted):
                for line in lines_of(came, node):
                    self._put(line)
        except QueueError:  # the node went away, or close() closed the link
            pass
        link.close()
        self._links.pop(boot_id, None)

    def _put(self, line: dict[str, Any]) -> None:
        if not self._closed:
            self._lines.put(line)

"""One node: puts store, cluster backend, executors and actors together, and takes them apart again."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from typing import TYPE_CHECKING

from callboard.actors.base import CLUSTER, SUPERVISOR, Directory, Parts, start_actor
from callboard.actors.supervisor import Supervisor
from callboard.actors.timers import Timers
from callboard.backends.clock import SystemClock
from callboard.cluster_key import key_of_environment
from callboard.control import ControlServer
from callboard.core.envelope import ClusterKeys
from callboard.core.errors import QueueError
from callboard.core.messages import Hello, Message, StopNode
from callboard.core.records import NodeInfo
from callboard.logs import EventLog
from callboard.node_answers import node_answers
from callboard.stores import canonical_url, mask_url, open_cluster, open_store
from callboard.version import callboard_version

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from callboard.core.ports import Clock, ClusterBackend, ExecutorHost, JobStore
    from callboard.core.runs import JobSpec
    from callboard.settings import NodeSettings

ACTOR_STOP_S = 10.0
"""How long the end of one actor is waited for when the node ends."""
START_TIMEOUT_S = 30.0
"""How long the actors may take to start; they only start threads."""


class Node:
    """A node in this process. `start`, then `wait` or `stop`; not to be started twice.

    Args:
        settings: what the node is to be.
        store, cluster: opened ones to use instead of the settings' addresses; they are not closed with the node.
        clock: the machine's clock, unless a test says otherwise.
        log: where events go; else made from the settings.
        log_stream: where that writes; standard error unless given.
    """

    def __init__(self, settings: NodeSettings, *, store: JobStore | None = None, cluster: ClusterBackend | None = None,
                 clock: Clock | None = None, log: EventLog | None = None, log_stream: TextIO | None = None,
                 roundtrip_messages: bool = False) -> None:
        """Check the settings; nothing is opened yet. Raises UsageError."""
        self.settings = settings
        self.config = settings.config()
        self.keys = ClusterKeys.of(settings.cluster_key or key_of_environment())
        if roundtrip_messages:
            from dataclasses import replace  # noqa: PLC0415 - tests only

            self.config = replace(self.config, roundtrip_messages=True)
        self.clock: Clock = clock or SystemClock()
        self._epoch = [0]
        self.log = log or EventLog(self.config.node, self.clock, level=settings.log_level, style=settings.log_style,
                                   stream=log_stream, epoch=lambda: self._epoch[0])
        self._given = (store, cluster)
        self._ended = threading.Event()
        self._exit: tuple[int, str] = (0, "stopped")
        self._closed = False
        self._parts: Parts | None = None
        self._control: ControlServer | None = None
        self.specs: tuple[JobSpec, ...] = ()

    @property
    def parts(self) -> Parts:
        """The running node's parts. Raises RuntimeError before start."""
        if self._parts is None:
            raise RuntimeError("the node has not been started")
        return self._parts

    def start(self) -> None:
        """Open everything, import the app, start the actors. Returns when the node works.

        Raises:
            UsageError: Raised when an address is wrong or the app can't be imported.
            Unavailable: Raised when the store or cluster can't be reached.
        """
        settings = self.settings
        self.log.emit("node", "node.starting", store=mask_url(settings.store),
                      cluster=mask_url(settings.cluster or settings.store), pid=os.getpid(),
                      executor=settings.executor, pools={p.name: p.slots for p in self.config.pools})
        directory = Directory(roundtrip=self.config.roundtrip_messages)
        self._control = ControlServer(self.log, self.clock, directory, lambda: self.specs)
        try:
            path = self._control.open(canonical_url(settings.store), self.config.node)
            parts = self._parts = self._assemble(directory, path)
            self.specs = parts.host.start()
            parts.timers.start()
            supervisor = start_actor(Supervisor, SUPERVISOR, parts)
            supervisor.ask(Hello("node"), timeout=START_TIMEOUT_S)  # answered once Begin has started everyone
        except BaseException as error:
            code = error.exit_code if isinstance(error, QueueError) else 1
            self._exit = (code, f"it did not start: {type(error).__name__}: {str(error).partition(chr(10))[0]}"[:500])
            self.close()
            raise
        self.log.emit("node", "node.ready", jobs=len(self.specs))

    def _assemble(self, directory: Directory, control_path: str) -> Parts:
        settings = self.settings
        store = self._given[0] or open_store(settings.store, self.clock)
        cluster = self._given[1] or open_cluster(settings.cluster or settings.store, self.clock)
        return Parts(
            config=self.config, info=self._info(store, control_path), store=store, cluster=cluster,
            host=self._make_host(), clock=self.clock, timers=Timers(self.clock, directory), directory=directory,
            emit=self.log.emit, wants_jobs=self.log.wants_jobs, exit_node=self._exit_node, epoch=self._epoch,
            keys=self.keys, answer=node_answers(self.log, lambda: self.specs),
        )

    def _make_host(self) -> ExecutorHost:
        from callboard.hosts import make_host  # noqa: PLC0415 - keeps importing this module light

        return make_host(self.settings, self.clock)

    def _info(self, store: JobStore, control_path: str) -> NodeInfo:
        return NodeInfo(
            node=self.config.node, boot_id=secrets.token_hex(8), host=socket.gethostname()[:255], pid=os.getpid(),
            version=callboard_version(), socket=control_path, started_ms=store.store_now_ms(),
        )

    @property
    def reason(self) -> str:
        """Why the node ended."""
        return self._exit[1]

    def tell(self, actor: str, message: Message) -> bool:
        """Hand a message to an actor of this node by name."""
        return self.parts.directory.tell(actor, message)

    def stop(self, grace_s: float | None = None, reason: str = "asked") -> None:
        """Begin a graceful stop; `wait` tells when it is done. A second call with 0 kills what runs."""
        grace = self.settings.stop_grace_s if grace_s is None else grace_s
        if not self.tell(SUPERVISOR, StopNode(grace, reason)):
            self._exit_node(self._exit[0], "the supervisor is gone")

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait until the node has ended, then close what it opened; its exit code, or None when the time ran out."""
        if not self._ended.wait(timeout_s):
            return None
        self.close()
        return self._exit[0]

    def _exit_node(self, code: int, reason: str) -> None:
        """From any actor's thread."""
        if not self._ended.is_set():
            self._exit = (code, reason)
            self._ended.set()

    def close(self) -> None:
        """Take apart what `start` opened, at once: `wait` does this after a stop. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        if self._parts is not None:
            self._take_apart(self._parts)
        self.log.emit("node", "node.stopped", code=self._exit[0], reason=self._exit[1])
        if self._control is not None:
            self._control.close()

    def _take_apart(self, parts: Parts) -> None:
        _stop_actors(parts.directory, [SUPERVISOR])  # it restarts the others
        _stop_actors(parts.directory, [name for name in parts.directory.names() if name != CLUSTER])
        _stop_actors(parts.directory, [CLUSTER])  # behind what the others told it last, such as to resign
        parts.timers.stop()
        parts.host.stop()
        if self._given[1] is None:
            parts.cluster.close()
        if self._given[0] is None:
            parts.store.close()


def _stop_actors(directory: Directory, names: Sequence[str]) -> None:
    """Stop actors, and wait until they have closed what they held. Harmless for those that have ended."""
    for name in names:
        if (ref := directory.ref(name)) is not None:
            ref.stop(block=False)
    for name in names:
        directory.wait_released(name, ACTOR_STOP_S)

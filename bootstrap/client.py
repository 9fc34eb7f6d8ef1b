"""The Client: how programs and the command line talk to a running cluster."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Self

from callboard import event_stream
from callboard.actors.commands import act_on
from callboard.core.commandcheck import SLOTS_MAX, check_command
from callboard.core.errors import (
    CodecError,
    InvalidArgument,
    NotFound,
    PayloadTooLarge,
    QueueError,
    Unavailable,
    UnknownJob,
)
from callboard.core.messages import (
    CLIENT_MESSAGES,
    AskStatus,
    CancelJob,
    Done,
    DrainNode,
    FollowEvents,
    Message,
    NodeStatus,
    PurgeQueue,
    Pushed,
    PushJobs,
    Scale,
    SetPaused,
)
from callboard.core.options import did_you_mean, whole
from callboard.core.records import CancelResult, JobState
from callboard.core.registry import registry
from callboard.core.shares import shares
from callboard.core.socketmessages import AskJobs, KnownJobs
from callboard.link import ASK_S, Link, ask
from callboard.logs import level_number
from callboard.pushing import job_of_spec
from callboard.queue import connect
from callboard.settings import DEFAULT_STORE
from callboard.status import RUNNING_MAX, Status, status_of
from callboard.stores import mask_url, scheme_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from callboard.core.job import Job
    from callboard.core.ports import JobStore
    from callboard.core.records import NewJob, SessionView
    from callboard.core.runs import JobSpec
    from callboard.jobs import BoundJob
    from callboard.queue import Queue

ORDER_S: Final = 5.0
"""How long a node may take for an order; after that it is written into the store from here."""
STATUS_S: Final = 2.0
"""How long a node may take to tell its status; after that it is shown as the store knows it."""
ASKED_AT_ONCE: Final = 16
NODES_MAX: Final = 1_000


class Client:
    """Talks to the nodes of a cluster by their sockets, to the store where none can be reached. Safe between threads.

    Args:
        store: the cluster's store, as its nodes have it.
        cluster: its cluster backend, if it is not the store's own database.
    """

    def __init__(self, store: str = DEFAULT_STORE, cluster: str | None = None) -> None:
        """Check the addresses; the store is opened when it is first needed. Raises UnknownOption."""
        scheme_of(store, "store")
        if cluster is not None:
            scheme_of(cluster, "cluster")
        self.url = store
        self.cluster = cluster
        self.dispatcher = DispatcherHandle(self)
        self._lock = threading.Lock()
        self._queue: Queue | None = None

    @property
    def queue(self) -> Queue:
        """The default queue of this store. Raises StoreUnavailable."""
        with self._lock:
            if self._queue is None:
                self._queue = connect(self.url)
            return self._queue

    @property
    def store(self) -> JobStore:
        """The store itself: the operators' reads, and what no node has to be asked for. Raises StoreUnavailable."""
        return self.queue.store

    # Pushing

    def push(self, job: Job | BoundJob, **options: Any) -> str:
        """Push a job; durable when this returns. Options and errors are those of `Queue.push`. The job's id."""
        return self._push(self.queue.prepare(job, options))

    def push_named(self, name: str, arguments: Mapping[str, Any], **options: Any) -> str:
        """Push a job by its registered name: known in this process, or to a live node of this machine.

        Args:
            name: the job's registered name.
            arguments: by name; plain data.
            options: those of `Queue.push`.

        Returns:
            The job's id.

        Raises:
            UnknownJob: Raised when nobody knows the name; says "did you mean" where one is near.
            InvalidArgument: Raised when arguments or options do not fit.
        """
        definition = registry.find(name)
        spec = self.job_spec(name) if definition is None else definition.spec()
        return self._push(job_of_spec(spec, arguments, options))

    def job_spec(self, name: str) -> JobSpec:
        """What the nodes tell of a job. Raises UnknownJob."""
        near, asked = did_you_mean(name, registry.names()), 0
        for view in self.reachable():
            try:
                answer = self._ask(view, AskJobs(name))
            except (Unavailable, CodecError):
                continue
            if isinstance(answer, KnownJobs):
                asked += 1
                if answer.jobs:
                    return answer.jobs[0]
                near = near or answer.near
        if asked:
            raise UnknownJob(f"no job is named {name!r}{near} on the {asked} node(s) that answered", job=name)
        raise UnknownJob(f"nobody here knows a job {name!r}{near}: no node of {mask_url(self.url)} answers on this "
                         "machine; name the module that defines it (--app), or start a node", job=name)

    def _push(self, job: NewJob) -> str:
        answer = self._command(PushJobs((job,)))
        return answer.ids[0] if isinstance(answer, Pushed) else job.id

    # Orders

    def scale(self, queue: str, slots: int, node: str | None = None) -> None:
        """Set how many jobs of a queue run side by side: on one node, or on every node, late joiners too. Durable."""
        self._command(Scale(queue, slots, node))

    def scale_total(self, queue: str, total: int) -> dict[str, int]:
        """Divide slots among the live nodes that serve a queue and are not draining; what each got. Durable.

        These are orders for those nodes by name: a node that joins later has its own number, until this is said again.

        Raises:
            NotFound: Raised when no live node serves the queue.
        """
        whole(total, "slots", 0, SLOTS_MAX * NODES_MAX)
        serving = [view.info.node for view in self.store.sessions() if not view.draining
                   and any(share.queue == queue for pool in view.pools for share in pool.report.queues)]
        if not serving:
            raise NotFound(f"no live node serves queue {queue!r}: there is nobody to divide {total} slots among")
        orders = shares(total, serving)
        for node, slots in orders.items():
            self.scale(queue, slots, node)
        return orders

    def pause(self, queue: str) -> None:
        """Have nothing of this queue started; what runs goes on. Durable."""
        self._command(SetPaused(queue, paused=True))

    def resume(self, queue: str) -> None:
        """End a pause."""
        self._command(SetPaused(queue, paused=False))

    def cancel(self, job_id: str) -> CancelResult:
        """Cancel a job that waits, or have the node that runs it stop it. Raises NotFound."""
        return CancelResult(self._done(CancelJob(job_id)).count)

    def purge(self, queue: str) -> int:
        """Forget what waits in a queue; what runs is left alone. How many."""
        return self._done(PurgeQueue(queue)).count

    def drain(self, node: str, *, draining: bool = True) -> None:
        """Give a node nothing new, or again. Durable, by the node's name."""
        self._command(DrainNode(node, draining))

    def _done(self, message: Message) -> Done:
        answer = self._command(message)
        if not isinstance(answer, Done):
            raise QueueError(f"a node answered {type(answer).__name__} to {type(message).__name__}")
        return answer

    def _command(self, message: Message) -> Message:
        """Have a node carry out a command, or do it here: orders are rows of the store, and every push has its id."""
        check_command(message)
        for view in self.reachable():
            try:
                return self._ask(view, message, ORDER_S)
            except (Unavailable, PayloadTooLarge, CodecError):  # the store itself will say what is wrong
                break
        return act_on(self.store, message)

    # Looking

    def status(self) -> Status:
        """Nodes, leader and epoch, queues with counts, slots, what runs, health. Raises StoreUnavailable."""
        store = self.store
        sessions = store.sessions()
        told = self._statuses(self._here(sessions))
        return status_of(mask_url(self.url), store.fence(), sessions, store.counts(),
                         store.jobs(JobState.RUNNING, None, RUNNING_MAX), told)

    def _statuses(self, sessions: list[SessionView]) -> dict[str, NodeStatus]:
        def ask_status(view: SessionView) -> NodeStatus | None:
            try:
                answer = self._ask(view, AskStatus(), STATUS_S)
            except (Unavailable, CodecError):
                return None
            return answer if isinstance(answer, NodeStatus) and answer.boot_id == view.info.boot_id else None

        if not sessions:
            return {}
        with ThreadPoolExecutor(min(len(sessions), ASKED_AT_ONCE), "callboard-status") as pool:
            return {answer.boot_id: answer for answer in pool.map(ask_status, sessions) if answer is not None}

    def events(self, *, follow: bool = False, actor: str = "", job: str = "", event: str = "", level: str = "debug",
               last: int = 100) -> Iterator[dict[str, Any]]:
        """The events of all nodes of this machine: those kept, by time; then, if `follow`, what comes, without an end.

        Args:
            follow: go on until the iterator is closed; nodes that join are followed, too.
            actor: only events of actors whose name begins so.
            job: only events of this job's id.
            event: only events whose name begins so.
            level: this level and above.
            last: at most so many kept ones.

        Raises:
            UsageError: Raised when there is no such level.
            Unavailable: Raised when no node answers.
        """
        level_number(level)
        if last < 0:
            raise InvalidArgument(f"last must be 0 or more, not {last!r}")
        wanted = FollowEvents(actor, job, event, level, last, follow)
        sessions = self.reachable()
        if not sessions:
            raise Unavailable(f"no node of {mask_url(self.url)} runs on this machine under this user; events are read "
                              "from the nodes themselves")
        if follow:
            return iter(event_stream.Following(self.reachable, wanted))
        return iter(event_stream.kept(sessions, wanted))

    # Nodes

    def reachable(self) -> list[SessionView]:
        """Live nodes whose sockets are on this machine, the leader's first. Raises StoreUnavailable."""
        store = self.store
        here = self._here(store.sessions())
        if len(here) > 1:
            owner = store.fence().owner
            here.sort(key=lambda view: (view.info.boot_id != owner, view.info.node))
        return here

    def _here(self, sessions: tuple[SessionView, ...]) -> list[SessionView]:
        host = socket.gethostname()[:255]
        return [view for view in sessions if view.info.host == host and view.info.socket]

    def _ask(self, view: SessionView, message: Message, timeout_s: float = ASK_S) -> Message:
        return ask(view.info.socket, message, timeout_s)

    def close(self) -> None:
        """Let go of the store; its connections are shared within the process, as those of `callboard.connect`."""
        with self._lock:
            self._queue = None

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """The address without its password."""
        return f"<Client of {mask_url(self.url)}>"


class DispatcherHandle:
    """The Dispatcher actor of the leader's node, or of another that can be reached: takes `callboard.messages`."""

    def __init__(self, client: Client) -> None:
        """Find it when it is needed."""
        self._client = client

    def tell(self, message: Message) -> None:
        """Hand a message over, and wait for nothing: whether it was carried out, `ask` tells.

        Where no node can be reached, an order is written into the store itself. Raises as ask, but for refusals.
        """
        self._check(message)
        for view in self._client.reachable():
            try:
                with Link(view.info.socket) as link:
                    link.tell(message)
            except Unavailable:
                continue
            return
        act_on(self._client.store, message)

    def ask(self, message: Message, timeout: float = ASK_S) -> Message:
        """Ask, and wait for the answer up to `timeout` seconds.

        Raises:
            InvalidArgument: Raised when it is no message for a Dispatcher, or out of its limits.
            Unavailable: Raised when no node can be reached, or none answers in time.
            QueueError: Raised when it was refused; of the class that says why.
        """
        self._check(message)
        last: Unavailable | None = None
        for view in self._client.reachable():
            try:
                return self._client._ask(view, message, timeout)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - a part of the client
            except Unavailable as error:
                last = error
        raise Unavailable(f"no node of {mask_url(self._client.url)} can be asked on this machine"
                          f"{'' if last is None else f': {last.message}'}", cause=last)

    def _check(self, message: Message) -> None:
        if not isinstance(message, CLIENT_MESSAGES):
            raise InvalidArgument(f"{type(message).__name__} is no message for a dispatcher; callboard.messages has "
                                  f"{', '.join(kind.__name__ for kind in CLIENT_MESSAGES)}")
        check_command(message)

"""The Client: how programs and the command line talk to a running cluster."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from callboard import event_stream
from callboard.actors.commands import act_on
from callboard.broadcast_link import BroadcastEvents, BroadcastLink
from callboard.cluster_key import key_of_environment
from callboard.core.commandcheck import ORDERS, SLOTS_MAX, check_command
from callboard.core.envelope import ClusterKeys
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
from callboard.link import ASK_S, Link, ask, is_ours
from callboard.logs import level_number
from callboard.pushing import job_of_spec
from callboard.queue import connect
from callboard.settings import DEFAULT_STORE
from callboard.status import RUNNING_MAX, Status, status_of
from callboard.stores import mask_url, scheme_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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
    """Talks to the nodes of a cluster: by their sockets, else through the cluster backend. Safe between threads.

    Args:
        store: the cluster's store, as its nodes have it.
        cluster: its cluster backend, if it is not the store's own database.
        cluster_key: the key of the nodes' messages, if they have one; else the environment's (CALLBOARD_CLUSTER_KEY).
    """

    def __init__(self, store: str = DEFAULT_STORE, cluster: str | None = None, *,
                 cluster_key: str | None = None) -> None:
        """Check the addresses; store and cluster are opened when they are first needed. Raises UsageError."""
        scheme_of(store, "store")
        if cluster is not None:
            scheme_of(cluster, "cluster")
        self.url = store
        self.cluster = cluster
        keys = ClusterKeys.of(key_of_environment() if cluster_key is None else cluster_key)
        self._broadcasts = BroadcastLink(cluster or store, keys)
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
        """Push a job by its registered name: known in this process, or to a live node.

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
        for answer in self._ask_each(self.live(), AskJobs(name)).values():
            if isinstance(answer, KnownJobs):
                asked += 1
                if answer.jobs:
                    return answer.jobs[0]
                near = near or answer.near
        if asked:
            raise UnknownJob(f"no job is named {name!r}{near} on the {asked} node(s) that answered", job=name)
        raise UnknownJob(f"nobody here knows a job {name!r}{near}: no node of {mask_url(self.url)} answers; "
                         "name the module that defines it (--app), or start a node", job=name)

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
                return self.ask_node(view, message, ORDER_S)
            except (Unavailable, PayloadTooLarge, CodecError):  # the store itself will say what is wrong
                break
        return self._order(message)

    def _order(self, message: Message) -> Message:
        """Write it into the store, and have nodes elsewhere look at once."""
        answer = act_on(self.store, message)
        if isinstance(message, ORDERS) and self.store.sessions():
            with suppress(Unavailable):  # the store's bell may reach them; the next beat does
                self._broadcasts.nudge()
        return answer

    # Looking

    def status(self) -> Status:
        """Nodes, leader and epoch, queues with counts, slots, what runs, health. Raises StoreUnavailable."""
        store = self.store
        sessions = store.sessions()
        told = {boot_id: answer for boot_id, answer in self._ask_each(sessions, AskStatus()).items()
                if isinstance(answer, NodeStatus) and answer.boot_id == boot_id}
        return status_of(mask_url(self.url), store.fence(), sessions, store.counts(),
                         store.jobs(JobState.RUNNING, None, RUNNING_MAX), told)

    def _ask_each(self, views: Sequence[SessionView], message: Message) -> dict[str, Message]:
        """What nodes answer, by boot id: each asked by its socket, all that are elsewhere by one broadcast."""
        here = [view for view in views if self._is_here(view)]
        away = [view.info.boot_id for view in views if view not in here]
        told: dict[str, Message] = {}
        with ThreadPoolExecutor(min(len(here) + 1, ASKED_AT_ONCE), "callboard-ask") as pool:
            answers = {view.info.boot_id: pool.submit(ask, view.info.socket, message, STATUS_S) for view in here}
            with suppress(Unavailable):
                told.update(self._broadcasts.ask_each(away, message, STATUS_S) if away else {})
            for boot_id, answer in answers.items():
                with suppress(Unavailable, CodecError):
                    told[boot_id] = answer.result()
        return told

    def events(self, *, follow: bool = False, actor: str = "", job: str = "", event: str = "", level: str = "debug",
               last: int = 100) -> Iterator[dict[str, Any]]:
        """The events of all nodes: those kept, by time; then, if `follow`, what comes, without an end.

        Nodes that can be reached only through the cluster backend are asked once a second.

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
        sessions = self.live()
        if not sessions:
            raise Unavailable(f"no node of {mask_url(self.url)} runs; events are read from the nodes themselves")
        if follow:
            return iter(event_stream.Following(self.live, wanted, self._event_source))
        return iter(event_stream.kept(sessions, wanted, self._event_source))

    def _event_source(self, view: SessionView) -> event_stream.Source:
        """Raises Unavailable."""
        if self._is_here(view):
            return Link(view.info.socket)
        return BroadcastEvents(self._broadcasts, view.info.boot_id)

    # Nodes

    def live(self) -> list[SessionView]:
        """Live nodes: those whose sockets can be reached before others, the leader's first. Raises StoreUnavailable."""
        store = self.store
        found = list(store.sessions())
        if len(found) > 1:
            owner = store.fence().owner
            found.sort(key=lambda view: (not self._is_here(view), view.info.boot_id != owner, view.info.node))
        return found

    def reachable(self) -> list[SessionView]:
        """Live nodes whose sockets can be reached from here, the leader's first. Raises StoreUnavailable."""
        return [view for view in self.live() if self._is_here(view)]

    def _candidates(self) -> list[tuple[SessionView, float]]:
        """Whom to ask in turn, with a share of the time: a dead node's socket says so, a broadcast does not."""
        live = self.live()
        here, away = [v for v in live if self._is_here(v)], [v for v in live if not self._is_here(v)][:2]
        return [(view, 1.0) for view in here] + [(view, 1.0 / len(away)) for view in away]

    @staticmethod
    def _is_here(view: SessionView) -> bool:
        """On this machine, and of this user."""
        return view.info.host == socket.gethostname()[:255] and bool(view.info.socket) and is_ours(view.info.socket)

    def ask_node(self, view: SessionView, message: Message, timeout_s: float = ASK_S) -> Message:
        """Ask one node: by its socket, else through the cluster backend. Raises as `Link.ask`."""
        if self._is_here(view):
            return ask(view.info.socket, message, timeout_s)
        return self._broadcasts.ask(view.info.boot_id, message, timeout_s)

    def close(self) -> None:
        """Let go of the store, whose connections are shared within the process, and close the cluster backend."""
        with self._lock:
            self._queue = None
        self._broadcasts.close()

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

        Where no socket can be reached, an order is written into the store itself, and nodes elsewhere are told to look.
        Raises as ask, but for refusals.
        """
        self._check(message)
        for view in self._client.reachable():
            try:
                with Link(view.info.socket) as link:
                    link.tell(message)
            except Unavailable:
                continue
            return
        self._client._order(message)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - a part of the client

    def ask(self, message: Message, timeout: float = ASK_S) -> Message:
        """Ask, and wait for the answer up to `timeout` seconds: the leader's node, then one other.

        A node that can be reached only through the cluster backend takes messages of up to 62 KiB.

        Raises:
            InvalidArgument: Raised when it is no message for a Dispatcher, or out of its limits.
            Unavailable: Raised when no node can be reached, or none answers in time.
            QueueError: Raised when it was refused; of the class that says why.
        """
        self._check(message)
        last: Unavailable | None = None
        for view, share in self._client._candidates():  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - a part of the client
            try:
                return self._client.ask_node(view, message, timeout * share)
            except Unavailable as error:
                last = error
        raise Unavailable(f"no node of {mask_url(self._client.url)} can be asked"
                          f"{'' if last is None else f': {last.message}'}", cause=last)

    def _check(self, message: Message) -> None:
        if not isinstance(message, CLIENT_MESSAGES):
            raise InvalidArgument(f"{type(message).__name__} is no message for a dispatcher; callboard.messages has "
                                  f"{', '.join(kind.__name__ for kind in CLIENT_MESSAGES)}")
        check_command(message)

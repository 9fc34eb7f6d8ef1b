"""Coordination for programs: members, locks, an election and broadcasts, on every cluster backend."""

from __future__ import annotations

import secrets
import socket
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from callboard.backends.clock import SystemClock
from callboard.core.codec import BROADCAST_MAX_BYTES
from callboard.core.config import LEASE_TTL_S, SESSION_TTL_S
from callboard.core.envelope import PROGRAM_MARK
from callboard.core.errors import ClusterUnavailable, InvalidArgument, PayloadTooLarge, QueueError, UnknownOption
from callboard.core.options import did_you_mean, name_of, seconds, text
from callboard.core.records import LockToken, NodeInfo, Term
from callboard.distributed.election import Candidacy, LockTerms
from callboard.settings import default_node_name
from callboard.stores import canonical_url, mask_url, open_cluster, scheme_of
from callboard.version import callboard_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta
    from types import TracebackType

    from callboard.core.ports import Bell, ClusterBackend
    from callboard.core.records import Characteristics

MEMBER_TTL_S: Final = SESSION_TTL_S
"""How long a member that says nothing stays one; it says so three times within that."""
MESSAGE_MAX_BYTES: Final = BROADCAST_MAX_BYTES - len(PROGRAM_MARK)
ELECTION_KEYS: Final = "callboard/election/"
"""Begins the keys of the locks that elections are held with."""
INFO_FIELDS: Final = ("boot_id", "host", "pid", "version", "socket", "started_ms")


class Cluster:
    """One program's way to a cluster backend; opened when it is first used. Safe between threads; a context manager.

    Args:
        url: the backend's address.
        node_id: this program's name, as the owner of terms; host and process id unless given.

    Each method raises ClusterUnavailable when the backend can't be reached, InvalidArgument for values out of range.
    """

    def __init__(self, url: str, node_id: str = "") -> None:
        """Check the address. Raises UnknownOption."""
        scheme = scheme_of(url, "cluster")
        self.url = canonical_url(url) if scheme == "sqlite" else url
        self.node_id = name_of(node_id or default_node_name(), "node_id")
        self._in_process = scheme == "memory"
        self._clock = SystemClock()
        self._lock = threading.RLock()
        self._opened: ClusterBackend | None = None
        self._members: dict[str, _Membership] = {}
        self._bells: list[Bell] = []
        self._candidacy: tuple[Candidacy, ClusterBackend] | None = None
        self._closed = False

    @property
    def characteristics(self) -> Characteristics:
        """What the backend guarantees, and what not."""
        return self._backend().characteristics

    # Members

    def register(self, node_id: str, info: NodeInfo | Mapping[str, Any] | None = None) -> None:
        """Be a member until `unregister` or `close`; a program that dies is one for 10 seconds more.

        Args:
            node_id: the member's name; registered again, its info is replaced.
            info: a NodeInfo, or some of its fields: host, pid, version, socket, started_ms, boot_id.
        """
        made = _info(name_of(node_id, "node_id"), info)
        backend = self._backend()
        with self._lock:
            old = self._members.pop(node_id, None)
            boot_id = made.boot_id or (old.info.boot_id if old else secrets.token_hex(8))
            made = NodeInfo(made.node, boot_id, made.host, made.pid, made.version, made.socket, made.started_ms)
            if old is not None:
                old.end(leave=old.info.boot_id != boot_id)
            backend.register(made, MEMBER_TTL_S)
            self._members[node_id] = _Membership(backend, made)

    def unregister(self, node_id: str) -> None:
        """Leave at once. Only what this object registered can leave; harmless for any other name."""
        with self._lock:
            member = self._members.pop(node_id, None)
        if member is not None:
            member.end(leave=True)

    def nodes(self) -> tuple[NodeInfo, ...]:
        """The members now: callboard's nodes, and what programs registered."""
        return self._backend().nodes()

    # Locks

    def acquire_lock(self, key: str, ttl: float | timedelta) -> LockToken | None:
        """Take a lock for `ttl` seconds, or None when it is held, also by this program. Never waits.

        A lock ends by its ttl whatever its holder does: write with `token.number`, which only grows for the key, and
        have what is written to refuse a lower one.
        """
        if text(key, "lock key", 255).startswith(ELECTION_KEYS):
            raise InvalidArgument(f"keys that begin with {ELECTION_KEYS!r} belong to elections")
        return self._backend().acquire_lock(key, secrets.token_hex(16), seconds(ttl, "ttl", above_zero=True))

    def release_lock(self, token: LockToken) -> bool:
        """Release exactly this lock; False when it had ended, or passed on to another: nothing is changed then."""
        return self._backend().release_lock(token)

    # Election

    def start_election(self, callback: Callable[[Term | None], None], *, name: str = "main",
                       ttl: float | timedelta = LEASE_TTL_S) -> None:
        """Stand for election, until `stop_election`. One at a time for each object.

        Args:
            callback: called with a Term when this program leads, and with None when it does no longer: before another
                can lead, unless the process itself stood still. Called by one thread in order, and to return soon:
                while it has not returned, the term is not renewed. One that raises for a Term resigns it.
            name: elections of other names are apart. None of them is the nodes' own.
            ttl: what a leader that was killed costs the others, in seconds.

        Raises:
            QueueError: Raised when this object stands already.
        """
        key = f"{ELECTION_KEYS}{name_of(name, 'election')}"
        with self._lock:
            if self._candidacy is not None:
                raise QueueError("this cluster object stands for election already: stop_election() first")
            backend = self._open()  # connections of its own: what members and locks wait for holds no renewal up
            try:
                made = Candidacy(LockTerms(backend, key), self.node_id, seconds(ttl, "ttl"), callback, self._clock)
            except InvalidArgument:
                self._close(backend)
                raise
            self._candidacy = made, backend
        made.start()

    def stop_election(self) -> None:
        """Stand no longer, resign at once if leading; returns when the callback knows. Harmless when repeated."""
        with self._lock:
            candidacy, self._candidacy = self._candidacy, None
        if candidacy is not None:
            candidacy[0].stop()
            self._close(candidacy[1])

    def trust_left_s(self) -> float:
        """Seconds for which this program may act as leader without another renewal; 0.0 when it does not lead."""
        candidacy = self._candidacy
        return 0.0 if candidacy is None else candidacy[0].trust_left_s()

    # Messages

    def broadcast(self, message: bytes) -> None:
        """Send to every subscriber, this program's own too.

        Raises:
            PayloadTooLarge: Raised when it is longer than 65,521 bytes.
        """
        if len(message) > MESSAGE_MAX_BYTES:
            raise PayloadTooLarge(f"a broadcast is at most {MESSAGE_MAX_BYTES:,} bytes, this one has {len(message):,}")
        self._backend().broadcast(PROGRAM_MARK + bytes(message))

    def subscribe(self, callback: Callable[[bytes], None]) -> Bell:
        """Call back with each broadcast of a program from now on, on a thread of the backend's; `close()` ends it."""
        def take(message: bytes) -> None:
            if not message.startswith(PROGRAM_MARK):
                return
            try:
                callback(message.removeprefix(PROGRAM_MARK))
            except Exception:  # noqa: BLE001 - the program's error is shown, and the next message comes all the same
                traceback.print_exc()

        bell = self._backend().subscribe(take)
        with self._lock:
            self._bells.append(bell)
        return bell

    # The end

    def close(self) -> None:
        """Stop the election, leave, close connections. Harmless when repeated."""
        self.stop_election()
        with self._lock:
            self._closed = True
            members, self._members = list(self._members.values()), {}
            backend, self._opened = self._opened, None
            bells, self._bells = self._bells, []
        for bell in bells:
            bell.close()
        for member in members:
            with suppress(ClusterUnavailable):  # membership ends by its ttl
                member.end(leave=True)
        if backend is not None:
            self._close(backend)

    def __enter__(self) -> Self:
        """The cluster itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """The address without its password."""
        return f"<{type(self).__name__} {self.node_id!r} on {mask_url(self.url)}>"

    def _backend(self) -> ClusterBackend:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> ClusterBackend:
        if self._closed:
            raise ClusterUnavailable("this cluster object was closed; make another")
        return open_cluster(self.url, self._clock)

    def _close(self, backend: ClusterBackend) -> None:
        """The memory cluster belongs to the process: its nodes use the same object."""
        if not self._in_process:
            backend.close()


class _Membership:
    """Registers again before the ttl ends, on a thread of its own."""

    def __init__(self, backend: ClusterBackend, info: NodeInfo) -> None:
        """Already registered."""
        self.info = info
        self._backend = backend
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"callboard-member-{info.node}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(MEMBER_TTL_S / 3):
            with suppress(ClusterUnavailable):  # an outage is waited for: nodes() shows who is missing
                self._backend.register(self.info, MEMBER_TTL_S)

    def end(self, *, leave: bool) -> None:
        """Register no more."""
        self._ended.set()
        self._thread.join()
        if leave:
            self._backend.unregister(self.info.boot_id)


def _info(node_id: str, info: NodeInfo | Mapping[str, Any] | None) -> NodeInfo:
    if isinstance(info, NodeInfo):
        return NodeInfo(node_id, info.boot_id, info.host, info.pid, info.version, info.socket, info.started_ms)
    given = dict(info or {})
    for name, value in given.items():
        if name not in INFO_FIELDS:
            raise UnknownOption(f"a node's info has no field {name!r}{did_you_mean(name, INFO_FIELDS)}; it has "
                                f"{', '.join(INFO_FIELDS)}")
        kind = type(getattr(NodeInfo("", ""), name))
        if type(value) is not kind:
            raise InvalidArgument(f"a node's {name} must be of type {kind.__name__}, not {value!r}")
    ours: dict[str, Any] = {"boot_id": "", "host": socket.gethostname()[:255], "version": callboard_version()}
    return NodeInfo(node_id, **{**ours, **given})


def cluster_from_url(url: str, node_id: str = "") -> Cluster:
    """A cluster by its backend's address: that of a store, or etcd://, consul://, zookeeper://. Nothing is opened yet.

    Raises:
        UnknownOption: Raised when the address is none of ours.
    """
    return Cluster(url, node_id)

"""The cluster on etcd: every act one transaction that compares what it rests on; whatever ends has a lease.

Numbers that fence are etcd's own revisions, which grow with every write for the life of its data. The leases are
etcd's, too: of whole seconds, and no shorter than its own elections allow, so more may be granted than was asked.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.cluster.checks import (
    LOCK_TTL_MAX_S,
    LOCKS_MAX,
    NODES_MAX,
    info_of,
    is_lock,
    key_of,
    message_of,
    ttl_of,
)
from callboard.backends.cluster.follow import Follower
from callboard.backends.cluster.nodeinfo import pack_info, unpack_info
from callboard.core.codec import BROADCAST_MAX_BYTES
from callboard.core.errors import ClusterUnavailable
from callboard.core.records import Characteristics, LockToken

from . import requests as ask
from .acts import ROUNDS, sent_before, whole_s
from .address import parse_address
from .bells import EtcdBells
from .link import AnswerTooLarge, LeaseGone, Link, Login
from .terms import EtcdTerms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.ports import Bell
    from callboard.core.records import NodeInfo

TIMEOUT_S: Final = 2.0
POLL_S: Final = 1.0
MESSAGES_MAX: Final = 1_000
MESSAGES_AGE_S: Final = 120
"""How long a broadcast is kept at most, and half of it at least."""
_TRIM: Final = 50  # deleted beyond the bound at once, so that not each broadcast has to
_DELETES_MAX: Final = 100  # etcd takes 128 parts in a transaction
_LARGE: Final = 10  # what others wrote is 1.5 MiB at most: so many fit into an answer
_LOG: Final = logging.getLogger(__name__)


class EtcdCluster(EtcdTerms):
    """`callboard.core.ports.ClusterBackend` on etcd; see `open_etcd_cluster`."""

    def __init__(self, link: Link, renewals: Link, hearing: Link) -> None:
        """Serve from these: for renewals and for bells each a connection of its own."""
        super().__init__(link, renewals)
        self._hearing = hearing
        self._nodes, self._locks = self._at + b"node/", self._at + b"lock/"
        self._messages, self._sent = self._at + b"message/", self._at + b"sent"
        self._lock = threading.Lock()
        self._leases: dict[str, tuple[int, int]] = {}  # by boot id: the seconds that were asked for, and the lease
        self._message_lease = (0, 0.0)  # and until when new messages go there
        self._follower = Follower(self, "callboard-etcd-cluster", POLL_S)
        watched = [ask.watch(self._term_key, prefix=False), ask.watch(self._nodes, prefix=True),
                   ask.watch(self._sent, prefix=False)]
        self._bells = EtcdBells(hearing, watched, self._follower.ring)

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        return Characteristics(
            name="etcd",
            durable="numbers are etcd's revisions, on the disks of most of its servers before they are given",
            shared="by all machines that reach etcd",
            limits=(
                "leases last whole seconds, 1.5 election timeouts of etcd at least, and may end half a second late",
                "when etcd's own leader changes, every lease begins anew: a failover may then take a ttl longer",
                "a snapshot of etcd's that is restored may give numbers twice: the store refuses older terms",
                f"broadcasts: the last {MESSAGES_MAX:,} or {MESSAGES_AGE_S // 2} s; who is further behind misses some",
                f"{LOCKS_MAX:,} locks, {NODES_MAX:,} nodes",
            ),
        )

    # Members

    def register(self, info: NodeInfo, ttl_s: float) -> None:
        """Make the node a member until ttl_s after the last call; while nothing changes, nothing is written."""
        info_of(info)
        ttl_of(ttl_s, "the membership's ttl")
        key, said = self._nodes + info.boot_id.encode(), pack_info(info)
        for _ in range(ROUNDS):
            try:
                lease = self._members_lease(info.boot_id, key, whole_s(ttl_s))
                if not self._act(ask.has_value(key, said), ask.has_lease(key, lease)).held:
                    before = self._act(do=[ask.put(key, said, lease)]).parts[0].prev_kv.lease
                    self._revoke(0 if before == lease else before)
            except LeaseGone:
                self._forget(info.boot_id)
                continue
            return
        raise ClusterUnavailable(f"the membership's lease on {self._shown} ended at every try")

    def _members_lease(self, boot_id: str, key: bytes, seconds: int) -> int:
        """The lease that it has, kept; or a new one."""
        with self._lock:
            asked, lease = self._leases.get(boot_id, (0, 0))
        if lease and asked == seconds and self._link.keep(lease):
            return lease
        known = self._act(do=[ask.get(key), ask.count(self._nodes)])
        if known.found() is None and known.parts[1].count >= NODES_MAX:
            raise ClusterUnavailable(f"the cluster has {NODES_MAX:,} nodes, which is its limit")
        lease, _ = self._link.grant(seconds)
        with self._lock:
            if len(self._leases) >= NODES_MAX:
                self._leases.clear()  # theirs are granted anew
            self._leases[boot_id] = (seconds, lease)
        return lease

    def _forget(self, boot_id: str) -> None:
        with self._lock:
            self._leases.pop(boot_id, None)

    def unregister(self, boot_id: str) -> None:
        """Leave at once."""
        key_of(boot_id, "boot id")
        self._forget(boot_id)
        for gone in self._act(do=[ask.delete(self._nodes + boot_id.encode())]).parts[0].prev_kvs:
            self._revoke(gone.lease)

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Members now, by name; what is none of ours is left out."""
        found = self._act(do=[ask.scan(self._nodes, NODES_MAX)]).parts[0].kvs
        infos = [info for kv in found if (info := self._node_of(kv)) is not None]
        return tuple(sorted(infos, key=lambda info: (info.node, info.boot_id)))

    def _node_of(self, kv: Any) -> NodeInfo | None:
        info = unpack_info(bytes(kv.value))
        if info is not None and (not kv.lease or kv.key != self._nodes + info.boot_id.encode()):
            _LOG.warning("a node on etcd stands in the place of another, or for ever: left out: %s", info.boot_id)
            return None
        return info

    # Locks

    def acquire_lock(self, key: str, holder: str, ttl_s: float) -> LockToken | None:
        """Take a lock for at most what its token says; its holder gets the same lock again, for ttl_s from now."""
        at = self._locks + key_of(key).encode()
        key_of(holder, "lock holder")
        ttl_of(ttl_s, "the lock's ttl", LOCK_TTL_MAX_S)
        for _ in range(ROUNDS):
            seen = self._act(do=[ask.get(at), ask.count(self._locks)])
            kv = seen.found()
            if kv is not None and not kv.lease:
                self._remove(kv, "a lock without an end")
                continue
            if kv is not None and kv.value != holder.encode():
                return None
            if kv is None and seen.parts[1].count >= LOCKS_MAX:
                raise ClusterUnavailable(f"{LOCKS_MAX:,} locks are held, which is the limit")
            got = self._lock_as(at, holder, whole_s(ttl_s), kv)
            if got is not None:
                return LockToken(key, holder, *got)
        return None  # others took it and gave it back between every two looks

    def _lock_as(self, at: bytes, holder: str, seconds: int, kv: Any) -> tuple[int, float] | None:
        """Take a lock that is free, or its own again with a new lease: number and ttl; None where it changed."""
        lease, granted_s = self._link.grant(seconds)
        same = ask.created(at, 0) if kv is None else ask.modified(at, kv.mod_revision)
        done = self._act(same, do=[ask.put(at, holder.encode(), lease)], other=[ask.get(at)])
        number = done.revision if kv is None else int(kv.create_revision)
        if not done.held:
            number = sent_before(done.found(), lease)
        if not number:
            self._revoke(lease)
            return None
        self._revoke(0 if kv is None else kv.lease)
        return number, granted_s

    def release_lock(self, token: LockToken) -> bool:
        """Release exactly this lock."""
        if not is_lock(token):
            return False
        at = self._locks + token.key.encode()
        done = self._act(ask.created(at, token.number), ask.has_value(at, token.holder.encode()), do=[ask.delete(at)])
        for gone in done.parts[0].prev_kvs if done.held else ():
            self._revoke(gone.lease)
        return done.held

    # Broadcast

    def broadcast(self, message: bytes) -> None:
        """Send to every subscriber."""
        body, at = message_of(message), self._messages + secrets.token_hex(16).encode()
        for _ in range(ROUNDS):
            lease = self._lease_of_messages()
            try:
                done = self._act(ask.created(at, 0), do=[ask.put(at, body, lease), ask.put(self._sent, b""),
                                                         ask.count(self._messages)])
            except LeaseGone:
                self._message_lease = (0, 0.0)
                continue
            if done.held:  # else an earlier sending of this call had arrived
                self._trim(int(done.parts[2].count) - MESSAGES_MAX)
            return
        raise ClusterUnavailable(f"the broadcasts' lease on {self._shown} ended at every try")

    def _lease_of_messages(self) -> int:
        """One lease for all that is sent within a while: a grant for each would cost more than the message."""
        lease, until_s = self._message_lease
        if not lease or time.monotonic() >= until_s:
            until_s = time.monotonic() + MESSAGES_AGE_S / 2
            lease, _ = self._link.grant(MESSAGES_AGE_S)
            self._message_lease = (lease, until_s)
        return lease

    def _trim(self, over: int) -> None:
        if over <= 0:
            return
        limit = min(over + min(_TRIM, MESSAGES_MAX // 2), _DELETES_MAX)
        old = self._act(do=[ask.oldest(self._messages, limit, keys_only=True)]).parts[0].kvs
        self._act(do=[ask.delete(kv.key) for kv in old])

    def subscribe(self, callback: Callable[[bytes], None]) -> Bell:
        """Call back with each broadcast sent from now on."""
        self._bells.listen()
        return self._follower.subscribe(callback, self._act(do=[ask.get(self._sent)]).revision)

    def watch(self, callback: Callable[[], None]) -> Bell:
        """Call back when leadership or membership may have changed, and once soon."""
        self._bells.listen()
        return self._follower.watch(callback)

    # For the follower

    def messages_after(self, number: int, limit: int) -> Sequence[tuple[int, bytes | None]]:
        """Up to `limit` broadcasts whose revision is above `number`; None for one that is too large to be of ours."""
        last = self._act(do=[ask.get(self._sent)]).found()
        if last is not None and last.mod_revision <= number:
            return ()  # so a poll that finds nothing costs etcd no look at what it keeps
        try:
            found = self._act(do=[ask.oldest(self._messages, limit, number)]).parts[0].kvs
        except AnswerTooLarge:
            found = self._act(do=[ask.oldest(self._messages, min(limit, _LARGE), number)]).parts[0].kvs
            self._follower.ring()  # for the rest
        return [(int(kv.create_revision), bytes(kv.value) if len(kv.value) <= BROADCAST_MAX_BYTES else None)
                for kv in found]

    def look(self) -> tuple[object, float | None]:
        """What a watch compares; etcd tells when time has changed it."""
        done = self._act(do=[ask.get(self._term_key), ask.newest(self._nodes)])
        term, last = done.found(), done.found(1)
        return (term and term.create_revision, done.parts[1].count, last and last.mod_revision), None

    def close(self) -> None:
        """Close connections and end the threads; harmless when repeated."""
        self._bells.close()
        self._follower.close()
        for link in (self._hearing, self._renewals, self._link):
            link.close()


def open_etcd_cluster(url: str, timeout_s: float = TIMEOUT_S) -> EtcdCluster:
    """Open the cluster on etcd; make it where there is none.

    Args:
        url: see `callboard.backends.cluster.etcd.address.parse_address`.
        timeout_s: how long an answer may take, at all servers together.

    Raises:
        InvalidArgument: Raised when the address is none of etcd's, or a certificate's file can't be read.
        ClusterUnavailable: Raised when no server can be reached, or it refuses; the message says why.
    """
    login = Login(parse_address(url))
    links: list[Link] = []
    try:
        links += [Link(login, timeout_s) for _ in range(3)]
        return EtcdCluster(*links)
    except BaseException:
        for link in links:
            link.close()
        raise

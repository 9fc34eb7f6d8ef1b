"""The `store` cluster on a database server: nodes that share a job store's database elect, lock and broadcast there.

Leases count on the server's clock. Each act is one statement or block that the server runs to its end, so a client that
is stopped holds nothing up. The numbers that fence are in a row that is never deleted.
"""

from __future__ import annotations

import logging
import secrets
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.cluster.checks import (
    LOCK_TTL_MAX_S,
    LOCKS_MAX,
    NODES_MAX,
    info_of,
    is_lock,
    is_term,
    key_of,
    message_of,
    ttl_of,
)
from callboard.backends.cluster.follow import POLL_S, Follower
from callboard.core.codec import BROADCAST_MAX_BYTES
from callboard.core.errors import ClusterUnavailable, InvalidArgument, StoreError, StoreReset, StoreUnavailable
from callboard.core.records import Characteristics, LockToken, NodeInfo, Term

from .link import Link
from .statements import MESSAGES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from callboard.backends.store.sql.store import StoreBells
    from callboard.core.ports import Bell

    from .link import Connection

_LOG: Final = logging.getLogger(__name__)
TIMEOUT_S: Final = 2.0


class ServerCluster:
    """`callboard.core.ports.ClusterBackend` in a server's database, for all who can reach it."""

    _bell: Mapping[str, object] = {}
    """Values for the acts' statements: what the server rings with, if it does."""
    _bells: StoreBells
    """The server's own, which each kind of server sets up once it knows its cluster."""

    def __init__(
        self, name: str, connect: Callable[[float], Connection], *, timeout_s: float = TIMEOUT_S, poll_s: float = POLL_S
    ) -> None:
        """Connect, and read which cluster it is.

        Args:
            name: the database's, for messages, without a password.
            connect: opens a connection.
            timeout_s: how long a call may take; well below the terms' ttl.
            poll_s: how late a change is seen that no bell told of.

        Raises:
            ClusterUnavailable: Raised when the server can't be reached, or has no cluster's tables.
        """
        self._name = name
        self._acts = Link(name, connect, timeout_s)
        self._renewals = Link(name, connect, timeout_s)  # a connection that nothing else keeps busy
        self._cluster_id = ""
        try:
            [[cluster_id, *_]] = self._checked(self._acts.ask("cluster"))
        except BaseException:
            self._acts.close()
            raise
        self._cluster_id = str(cluster_id)
        self._starting = threading.Lock()
        self._listening = False
        self._follower = Follower(self, "callboard-store-cluster", poll_s)

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        return Characteristics(
            name="store",
            durable="as durable as the database's commits",
            shared="by all who reach the database",
            limits=(
                "leases count on the server's clock: where it is set, a term can end early (the epoch fences)",
                "a failover of the database that loses commits can give a number again",
                f"broadcasts: the last {MESSAGES_MAX:,}, 64 MiB or 10 minutes; who is further behind misses some",
                f"{LOCKS_MAX:,} locks, {NODES_MAX:,} nodes",
            ),
        )

    @property
    def cluster_id(self) -> str:
        """Random, kept in the database."""
        return self._cluster_id

    # Members

    def register(self, info: NodeInfo, ttl_s: float) -> None:
        """Make the node a member until ttl_s after the last call."""
        info_of(info)
        ttl_of(ttl_s, "the membership's ttl")
        put, changed, *_ = self._act(
            "register", boot_id=info.boot_id, node=info.node, host=info.host, pid=info.pid, version=info.version,
            socket=info.socket, started_ms=info.started_ms, ttl_s=float(ttl_s),
        )
        if changed:
            self._changed()
        if not put:
            raise ClusterUnavailable(f"the cluster has {NODES_MAX:,} nodes, which is its limit")

    def unregister(self, boot_id: str) -> None:
        """Leave at once."""
        if self._act("unregister", boot_id=key_of(boot_id, "boot id"))[0]:
            self._changed()

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Members now, by name; rows that are none of ours are left out."""
        rows = self._checked(self._acts.ask("nodes"))
        return tuple(info for row in rows if row[3] is not None and (info := _node_of(row[2:])) is not None)

    # Locks

    def acquire_lock(self, key: str, holder: str, ttl_s: float) -> LockToken | None:
        """Take a lock for at most ttl_s; its holder gets the same lock again, for ttl_s from now."""
        key_of(key)
        key_of(holder, "lock holder")
        ttl_of(ttl_s, "the lock's ttl", LOCK_TTL_MAX_S)
        for _ in range(2):
            number, full = self._act("acquire_lock", key=key, holder=holder, ttl_s=float(ttl_s))
            if not full:
                break
            self._act("drop_expired_locks")
        else:
            raise ClusterUnavailable(f"{LOCKS_MAX:,} locks are held, which is the limit")
        return None if number is None else LockToken(key, holder, int(number), ttl_s)

    def release_lock(self, token: LockToken) -> bool:
        """Release exactly this lock."""
        if not is_lock(token):
            return False
        return bool(self._act("release_lock", key=token.key, holder=token.holder, number=token.number)[0])

    # Election

    def campaign(self, owner: str, ttl_s: float) -> Term | None:
        """Become leader, or None while any term is in force."""
        key_of(owner, "owner")
        ttl_of(ttl_s, "the term's ttl")
        handle = secrets.token_hex(16)
        number = self._act("campaign", owner=owner, handle=handle, ttl_s=float(ttl_s))[0]
        if number is None:
            return None
        self._changed()
        return Term(int(number), owner, ttl_s, handle)

    def renew(self, term: Term, ttl_s: float) -> bool:
        """Keep exactly this term."""
        ttl_of(ttl_s, "the term's ttl")
        return is_term(term) and self._end_or_keep("renew", term, ttl_s=float(ttl_s))

    def resign(self, term: Term) -> None:
        """End exactly this term."""
        if is_term(term) and self._end_or_keep("resign", term):
            self._changed()

    def _end_or_keep(self, act: str, term: Term, **more: object) -> bool:
        done = self._act(act, self._renewals, number=term.number, owner=term.owner, handle=term.handle, **more)
        return bool(done[0])

    def leader(self) -> Term | None:
        """The term in force now, or None."""
        in_force, number, owner, ttl_s, handle = self._checked(self._acts.ask("leader"))[0][2:]
        return Term(int(number), owner, ttl_s, handle) if in_force else None

    def watch(self, callback: Callable[[], None]) -> Bell:
        """Call back when leadership or membership may have changed, and once soon."""
        self._listen()
        return self._follower.watch(callback)

    # Broadcast

    def broadcast(self, message: bytes) -> None:
        """Send to every subscriber."""
        body = message_of(message)
        number = self._act("broadcast", body=body, size=len(body))[0]
        if number is None:
            raise ClusterUnavailable(f"{self._name}: the broadcasts' numbers were deleted; restore them from a copy")
        self._changed()

    def subscribe(self, callback: Callable[[bytes], None]) -> Bell:
        """Call back with each broadcast sent from now on."""
        self._listen()
        newest = self._checked(self._acts.ask("newest_message"))[0][2]
        return self._follower.subscribe(callback, int(newest or 0))

    # For the follower

    def messages_after(self, number: int, limit: int) -> Sequence[tuple[int, bytes | None]]:
        """Up to `limit` broadcasts numbered above `number`; None for one that is too large to be of ours."""
        rows = self._checked(self._acts.ask("messages", after=number, limit=limit))
        found = [(int(n), body) for *_, n, body in rows if n is not None]
        if any(body is None for _, body in found):
            _LOG.warning("a broadcast in the cluster's table is over %s bytes: left out", BROADCAST_MAX_BYTES)
        return found

    def look(self) -> tuple[object, float | None]:
        """What a watch compares."""
        in_force, number, version, live, term_s, first_s = self._checked(self._acts.ask("look"))[0][2:]
        ends = [float(term_s)] if in_force else []
        ends += [] if first_s is None else [float(first_s)]
        return (number if in_force else None, version, live), min(ends, default=None)

    def _listen(self) -> None:
        """Have the server tell of others' changes, from the first follower on."""
        with self._starting:
            if not self._listening:
                self._listening = True
                self._bells.listen("cluster", self._follower.ring)

    def _changed(self) -> None:
        """Our own change: others hear of it by what the act rang."""
        self._follower.ring()

    def close(self) -> None:
        """Close connections and end the threads; harmless when repeated."""
        self._bells.close()
        self._follower.close()
        self._renewals.close()
        self._acts.close()

    # Acts

    def _act(self, act: str, link: Link | None = None, **values: object) -> Sequence[Any]:
        """What an act gave, after the cluster's id and state."""
        rows = (link or self._acts).ask(act, cluster_id=self._cluster_id, **self._bell, **values)
        return self._checked(rows)[0][2:]

    def _checked(self, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        """Refuse a cluster's row that is none of ours."""
        if not rows:
            raise ClusterUnavailable(f"{self._name}: the cluster's row was deleted; restore the database from a copy")
        cluster_id, sound = rows[0][:2]
        if not sound:
            raise ClusterUnavailable(f"{self._name}: the cluster's row is damaged; restore the database from a copy")
        if self._cluster_id not in {"", cluster_id}:
            raise ClusterUnavailable(f"{self._name}: the cluster was replaced by another; start the node again")
        return rows


@contextmanager
def guarded() -> Generator[None]:
    """The store's errors are the cluster's here."""
    try:
        yield
    except (StoreUnavailable, StoreReset, StoreError) as error:
        raise ClusterUnavailable(str(error).replace("job store", "cluster in", 1), cause=error) from error


def _node_of(row: Sequence[Any]) -> NodeInfo | None:
    info = NodeInfo(*row)
    try:
        return info_of(info)
    except InvalidArgument as error:
        _LOG.warning("a node in the cluster's table is none of ours, left out: %s", error)
        return None

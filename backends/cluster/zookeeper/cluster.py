"""The cluster on ZooKeeper: nodes that reach one ensemble elect, lock and broadcast through it."""

from __future__ import annotations

import logging
import secrets
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
from callboard.backends.cluster.follow import Follower
from callboard.backends.cluster.nodeinfo import pack_info, unpack_info
from callboard.core.errors import ClusterUnavailable
from callboard.core.records import Characteristics, LockToken, NodeInfo, Term

from .address import Address, parse_address
from .election import Election
from .layout import AREAS, ID, Paths, hashed, read_grant
from .leases import Alarms, Leases, close_all
from .messages import MESSAGES_MAX, Messages
from .requests import NoNodeError, change, children, create, emptied, exists, failure, get, sync
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.ports import Bell

    from .requests import Request

TIMEOUT_S: Final = 2.0
MAIN_S: Final = 4.0
"""Timeout of the session that holds nothing: how soon a dead connection is given up."""
_OPEN_TRIES: Final = 5
_LOG: Final = logging.getLogger(__name__)


class ZookeeperCluster:
    """`callboard.core.ports.ClusterBackend` on a ZooKeeper ensemble."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        """Serve from this ensemble; see `open_zookeeper_cluster`."""
        self._follower = Follower(self, "callboard-zookeeper-cluster")
        self._main = Session(address, MAIN_S, timeout_s, self._follower.ring)
        try:
            self._cluster_id = _open(self._main, address)
        except BaseException:
            close_all([self._main])
            raise
        self._paths = Paths(address.base, self._cluster_id)
        self._alarms = Alarms()

        self._closed = False

        def open_session(asked_s: float) -> Session:
            if self._closed:
                raise ClusterUnavailable("this cluster backend was closed; open another")
            return Session(address, asked_s, timeout_s)

        self._leases = Leases(self._paths, open_session, self._alarms)
        self._election = Election(self._paths, self._main, open_session, self._alarms)
        self._messages = Messages(self._paths, self._main)

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        return Characteristics(
            name="zookeeper",
            durable="numbers are the ensemble's transaction ids, on the disks of most of its servers (forceSync=yes)",
            shared="by all machines that reach the ensemble",
            limits=(
                "what a dead process held ends up to a tick of the ensemble late, after 1 s and two ticks at least",
                "locks and memberships end early when their holder closes, or reaches no server for 30 s or less",
                f"broadcasts: the last {MESSAGES_MAX:,} or 10 minutes; who is further behind misses some",
                f"{LOCKS_MAX:,} locks, {NODES_MAX:,} nodes",
            ),
        )

    @property
    def cluster_id(self) -> str:
        """Random, kept in the ensemble."""
        return self._cluster_id

    # Members

    def register(self, info: NodeInfo, ttl_s: float) -> None:
        """Make the node a member until ttl_s after the last call."""
        info_of(info)
        ttl_of(ttl_s, "the membership's ttl")

        def full(count: int) -> None:
            if count >= NODES_MAX:
                raise ClusterUnavailable(f"the cluster has {NODES_MAX:,} nodes, which is its limit")

        self._leases.take(self._paths.named(self._paths.members, info.boot_id), pack_info(info), ttl_s, full,
                          lambda _: True)

    def unregister(self, boot_id: str) -> None:
        """Leave at once."""
        key_of(boot_id, "boot id")
        self._leases.drop(self._paths.named(self._paths.members, boot_id), lambda _: True)

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Members now, by name; what is none of ours is left out."""
        folder = self._paths.members
        _, listed = self._main.ask(sync(folder), children(folder))
        if isinstance(listed, Exception):
            raise emptied()
        names = listed[0][:NODES_MAX]
        found = self._main.ask(*(get(f"{folder}/{name}") for name in names))
        infos = [info for name, one in zip(names, found, strict=True) if (info := _info_of(name, one)) is not None]
        return tuple(sorted(infos, key=lambda info: (info.node, info.boot_id)))

    # Locks

    def acquire_lock(self, key: str, holder: str, ttl_s: float) -> LockToken | None:
        """Take a lock for at most ttl_s; its holder gets the same lock again, for ttl_s from now.

        The token's ttl_s is what can be trusted: not longer than the session that holds the lock.
        """
        key_of(key)
        key_of(holder, "lock holder")
        ttl_of(ttl_s, "the lock's ttl", LOCK_TTL_MAX_S)
        body = holder.encode()

        def full(count: int) -> None:
            if count >= LOCKS_MAX:
                raise ClusterUnavailable(f"{LOCKS_MAX:,} locks are held, which is the limit")

        held = self._leases.take(self._paths.named(self._paths.locks, key), body, ttl_s, full,
                                 lambda grant: grant.body == body)
        return None if held is None else LockToken(key, holder, *held)

    def release_lock(self, token: LockToken) -> bool:
        """Release exactly this lock."""
        if not is_lock(token):
            return False
        whose = (token.holder.encode(), token.number)
        return self._leases.drop(self._paths.named(self._paths.locks, token.key),
                                 lambda grant: (grant.body, grant.number) == whose)

    # Election

    def campaign(self, owner: str, ttl_s: float) -> Term | None:
        """Become leader, or None while any term is in force. The term's ttl_s is what the ensemble granted."""
        key_of(owner, "owner")
        return self._election.campaign(owner, ttl_of(ttl_s, "the term's ttl"))

    def renew(self, term: Term, ttl_s: float) -> bool:
        """Keep exactly this term; only who won it can, by the session that holds it."""
        ttl_of(ttl_s, "the term's ttl")
        return is_term(term) and self._election.renew(term, ttl_s)

    def resign(self, term: Term) -> None:
        """End exactly this term."""
        if is_term(term):
            self._election.resign(term)

    def leader(self) -> Term | None:
        """The term in force now, or None."""
        return self._election.leader()

    def watch(self, callback: Callable[[], None]) -> Bell:
        """Call back when leadership or membership may have changed, and once soon."""
        return self._follower.watch(callback)

    # Broadcast

    def broadcast(self, message: bytes) -> None:
        """Send to every subscriber."""
        self._messages.send(message_of(message))

    def subscribe(self, callback: Callable[[bytes], None]) -> Bell:
        """Call back with each broadcast sent from now on."""
        return self._follower.subscribe(callback, self._messages.newest())

    # For the follower

    def messages_after(self, number: int, limit: int) -> Sequence[tuple[int, bytes | None]]:
        """Up to `limit` broadcasts numbered above `number`; None for one that is too large to be of ours."""
        return self._messages.after(number, limit, self._changed)

    def look(self) -> tuple[object, float | None]:
        """What a watch compares; it is told of changes, none comes by time alone."""
        found = self._main.ask(*(children(one, self._changed) for one in (self._paths.term, self._paths.members)))
        if any(isinstance(one, Exception) for one in found):
            raise emptied()
        return tuple((stat.pzxid, stat.cversion, stat.numChildren) for _, stat in found), None

    def _changed(self, _event: object) -> None:
        """What a watch calls, once; also when the connection was lost, for then it tells no more."""
        self._follower.ring()

    def close(self) -> None:
        """End the sessions, and so all that they hold, and the threads; harmless when repeated."""
        self._closed = True
        self._follower.close()
        self._alarms.close()
        self._election.close()
        self._leases.close()
        close_all([self._main])


def open_zookeeper_cluster(url: str, timeout_s: float = TIMEOUT_S) -> ZookeeperCluster:
    """Open the cluster on a ZooKeeper ensemble; make it where there is none.

    Args:
        url: see `callboard.backends.cluster.zookeeper.address.parse_address`.
        timeout_s: how long connecting, and each answer, may take.

    Raises:
        InvalidArgument: Raised when the address is none of ZooKeeper.
        ClusterUnavailable: Raised when the ensemble can't be reached, or may not be used; the message says why.
    """
    return ZookeeperCluster(parse_address(url), timeout_s)


def _open(session: Session, address: Address) -> str:
    """The cluster's id; a new one where there is no cluster."""
    for parent in address.parents:
        [there] = session.ask(exists(parent))  # asked first: to create what is there already can need more rights
        if there is None:
            session.ask(create(parent))  # if another did meanwhile, that is as good
    for _ in range(_OPEN_TRIES):
        _, found = session.ask(sync(address.base), get(address.base))
        data = b"" if isinstance(found, Exception) else found[0]
        if data and not ID.match(data):
            raise ClusterUnavailable(f"{address.shown} holds something that is no cluster of callboard's; name another")
        cluster_id = data.decode()
        if cluster_id and _is_whole(session, Paths(address.base, cluster_id)):
            return cluster_id
        made = secrets.token_hex(16)
        [done] = session.ask(_making(address.base, made, None if isinstance(found, Exception) else found[1].version))
        problem = failure(done)
        if not problem:
            return made
        _LOG.debug("another made the cluster: %s", problem)
    raise ClusterUnavailable(f"the cluster on {address.shown} could not be made: its nodes change too fast")


def _is_whole(session: Session, paths: Paths) -> bool:
    [listed] = session.ask(children(paths.root))
    return not isinstance(listed, Exception) and set(AREAS) <= set(listed[0])


def _making(base: str, cluster_id: str, version: int | None) -> Request:
    """All of a cluster's folders in one act; version: of the node that is there already."""

    def fill(act: Any) -> None:
        if version is None:
            act.create(base, cluster_id.encode())
        else:
            act.set_data(base, cluster_id.encode(), version)
        root = f"{base}/{cluster_id}"
        act.create(root)
        for area in AREAS:
            act.create(f"{root}/{area}")

    return change(fill)


def _info_of(name: str, found: Any) -> NodeInfo | None:
    if isinstance(found, NoNodeError):
        return None  # it left meanwhile
    grant = read_grant(found)
    info = None if grant is None else unpack_info(grant.body)
    if info is None or hashed(info.boot_id) != name:
        _LOG.warning("a node in the cluster is none of ours, left out: %s", name[:64])
        return None
    return info

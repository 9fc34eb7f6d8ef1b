"""The cluster on Consul: nodes that reach agents of one datacenter elect, lock and broadcast through it.

A lease is a session that ends with a TTL check; see leases.py. What is held is a key; see keys.py.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from callboard.backends.clock import SystemClock
from callboard.backends.cluster.checks import (
    LOCK_TTL_MAX_S,
    NODES_MAX,
    info_of,
    is_lock,
    is_term,
    key_of,
    message_of,
    ttl_of,
)
from callboard.backends.cluster.follow import Follower
from callboard.core.errors import ClusterUnavailable
from callboard.core.records import Characteristics, LockToken, NodeInfo, Term

from .address import parse_address
from .bells import HOLD_S, Bells
from .bus import MESSAGES_KEPT, Bus
from .keys import Held, Keys, held_of
from .leases import Lease, Leases
from .link import OK, Link
from .members import Members

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.ports import Bell, Clock

    from .address import Address

TIMEOUT_S: Final = 2.0
POLL_S: Final = 1.0
TERMS_MAX: Final = 64
"""Terms of this client's own that it remembers; it holds one at a time."""


@dataclass
class _Own:
    """A term that this client was granted.

    Attributes:
        sure_s: until when, on this machine's clock, its check can't have ended.
    """

    term: Term
    lease: Lease
    ttl_s: float
    sure_s: float


class ConsulCluster:
    """`callboard.core.ports.ClusterBackend` on Consul."""

    def __init__(self, link: Link, renewals: Link, bells: Link, clock: Clock) -> None:
        """Serve from these agents; see `open_consul_cluster`."""
        self._link, self._renewals = link, renewals
        self._clock = clock
        self._keys = Keys(link)
        self._leases = Leases(link, renewals)
        self._members = Members(link)
        self._bus = Bus(self._keys)
        self._follower = Follower(self, "callboard-consul-cluster", poll_s=POLL_S)
        self._bells = Bells(bells, self._follower.ring)
        self._own: dict[str, _Own] = {}
        self._lock = threading.Lock()

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        return Characteristics(
            name="consul",
            durable="yes, where its servers have a data directory: most of them have written a change before it counts",
            shared="by all machines with an agent of the datacenter",
            limits=(
                "a term or lock ends with its TTL check, which an agent counts; if that dies too, 5 to 10 s later",
                "a term is renewed only through the agent that it was made at: a leader needs its agent",
                f"broadcasts: the last {MESSAGES_KEPT:,}; who is further behind misses some; each is a write of Raft's",
                f"{NODES_MAX:,} nodes; locks are not counted, each that is held is a service with a check",
                "what was held stays on the agent as a service in the state critical for 1 to 1.5 minutes",
            ),
        )

    @property
    def cluster_id(self) -> str:
        """Random, kept in a key."""
        return self._keys.cluster_id

    # Members

    def register(self, info: NodeInfo, ttl_s: float) -> None:
        """Make the node a member until ttl_s after the last call."""
        info_of(info)
        ttl_of(ttl_s, "the membership's ttl")
        self._keys.state(consistent=False)  # raises if Consul was emptied
        self._members.register(info, ttl_s)

    def unregister(self, boot_id: str) -> None:
        """Leave at once."""
        self._members.unregister(key_of(boot_id, "boot id"))

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Members now, by name; what is none of ours is left out."""
        return self._members.nodes()

    # Locks

    def acquire_lock(self, key: str, holder: str, ttl_s: float) -> LockToken | None:
        """Take a lock for at most ttl_s; its holder gets the same lock again, for ttl_s from now."""
        key_of(key)
        key_of(holder, "lock holder")
        ttl_of(ttl_s, "the lock's ttl", LOCK_TTL_MAX_S)
        path = self._path(key)
        row = self._keys.row(path)
        old = held_of(row, key) if row is not None else None
        if row is not None and row.session and (old is None or old.holder != holder):
            return None
        held, _ = self._take(path, key, holder, ttl_s, old)
        if held is None:
            return None
        if old is not None:
            self._leases.drop(old.session, old.handle)
        return LockToken(key, holder, held.number, ttl_s)

    def release_lock(self, token: LockToken) -> bool:
        """Release exactly this lock."""
        if not is_lock(token):
            return False
        path = self._path(token.key)
        row = self._keys.row(path)
        held = held_of(row, token.key) if row is not None else None
        if held is None or held.holder != token.holder or held.number != token.number:
            return False
        freed = self._keys.free(path, held)
        self._leases.drop(held.session, held.handle)
        return freed

    def _path(self, key: str) -> str:
        """A lock's key: any characters may be in its name, so that is kept inside."""
        return f"{self._keys.root}locks/{hashlib.sha256(key.encode()).hexdigest()}"

    def _take(self, path: str, key: str, holder: str, ttl_s: float, old: Held | None = None,
              ) -> tuple[Held | None, Lease]:
        """Hold a key by a new lease. One that holds nothing, or may not, is ended."""
        lease = self._leases.make(ttl_s)
        held = None
        try:
            held = self._keys.take(path, key, holder, ttl_s, lease, old)
        finally:
            if held is None:  # somebody was faster, or nobody knows: then it must not hold the key for its ttl
                self._leases.drop(lease.session, lease.handle, lease.endpoint)
        return held, lease

    # Election

    def campaign(self, owner: str, ttl_s: float) -> Term | None:
        """Become leader, or None while any term is in force."""
        key_of(owner, "owner")
        ttl_of(ttl_s, "the term's ttl")
        if self._keys.state().term is not None:
            return None
        begun_s = self._clock.boot_s()
        held, lease = self._take(self._keys.term, "", owner, ttl_s)
        if held is None:
            return None
        term = Term(held.number, owner, ttl_s, lease.handle)
        if self._clock.boot_s() - begun_s >= ttl_s:
            self._leases.drop(lease.session, lease.handle, lease.endpoint)  # won too late to be trusted
            return None
        with self._lock:
            while len(self._own) >= TERMS_MAX:
                self._own.pop(next(iter(self._own)))
            self._own[term.handle] = _Own(term, lease, ttl_s, begun_s + ttl_s)
        return term

    def renew(self, term: Term, ttl_s: float) -> bool:
        """Keep exactly this term; by the client that was granted it."""
        ttl_of(ttl_s, "the term's ttl")
        own = self._own.get(term.handle)
        if own is None or (own.term.number, own.term.owner) != (term.number, term.owner):
            return False
        begun_s = self._clock.boot_s()
        known = self._leases.keep(own.lease, ttl_s, changed=ttl_s != own.ttl_s)
        # Later than that the agent may have let the check end, and be telling the servers so while they still show it.
        kept = known and self._clock.boot_s() < own.sure_s and self._holds(own)
        if kept:
            own.ttl_s, own.sure_s = ttl_s, begun_s + ttl_s
            return True
        with self._lock:
            self._own.pop(term.handle, None)
        self._leases.drop(own.lease.session, own.lease.handle, own.lease.endpoint)
        return False

    def _holds(self, own: _Own) -> bool:
        """Whether the key is held by exactly this term's session."""
        held = self._keys.state(self._renewals).term
        return held is not None and (held.session, held.number) == (own.lease.session, own.term.number)

    def resign(self, term: Term) -> None:
        """End exactly this term."""
        if not is_term(term):
            return
        own = self._own.get(term.handle)
        if own is not None and own.term[:2] == term[:2]:
            with self._lock:
                self._own.pop(term.handle, None)
            self._leases.end(own.lease.session, own.lease.handle, own.lease.endpoint)
            return
        held = self._keys.state(self._renewals).term
        if held is not None and (held.number, held.holder, held.handle) == (term.number, term.owner, term.handle):
            self._leases.end(held.session, held.handle)

    def leader(self) -> Term | None:
        """The term in force now, or None."""
        held = self._keys.state().term
        return Term(held.number, held.holder, held.ttl_s, held.handle) if held is not None else None

    def watch(self, callback: Callable[[], None]) -> Bell:
        """Call back when leadership or membership may have changed, and once soon."""
        self._listen()
        self._bells.listen(f"health/service/{self._members.service}", ("filter", 'Service.ID == "-"'))
        return self._follower.watch(callback)

    # Broadcast

    def broadcast(self, message: bytes) -> None:
        """Send to every subscriber."""
        self._bus.send(message_of(message))

    def subscribe(self, callback: Callable[[bytes], None]) -> Bell:
        """Call back with each broadcast sent from now on."""
        self._listen()
        return self._follower.subscribe(callback, self._bus.newest())

    # For the follower

    def messages_after(self, number: int, limit: int) -> Sequence[tuple[int, bytes | None]]:
        """Up to `limit` broadcasts numbered above `number`; None for one that is too large to be of ours."""
        return self._bus.after(number, limit)

    def look(self) -> tuple[object, float | None]:
        """What a watch compares. Time alone changes nothing: Consul deletes what has ended."""
        term = self._keys.state().term
        return (term.number if term is not None else 0, self._members.version()), None

    def _listen(self) -> None:
        self._bells.listen(f"kv/{self._keys.root}state/", ("recurse", ""))

    def close(self) -> None:
        """Close connections and end the threads; harmless when repeated."""
        self._leases.close()
        self._members.close()
        self._bells.close()
        self._follower.close()
        self._link.close()
        self._renewals.close()


def open_consul_cluster(url: str, timeout_s: float = TIMEOUT_S, clock: Clock | None = None) -> ConsulCluster:
    """Open the cluster of an installation in a Consul datacenter; make it where there is none.

    Args:
        url: see `callboard.backends.cluster.consul.address.parse_address`.
        timeout_s: how long connecting, and each answer, may take.
        clock: this machine's.

    Raises:
        InvalidArgument: Raised when the address is none of Consul.
        ClusterUnavailable: Raised when no agent can be reached, or it may not be used; the message says why.
    """
    address = parse_address(url)
    link, renewals = Link(address, timeout_s), Link(address, timeout_s)
    bells = Link(address, timeout_s, hold_s=HOLD_S, connections=2)
    try:
        _check_datacenter(link, address)
        return ConsulCluster(link, renewals, bells, clock or SystemClock())
    except BaseException:
        for each in (link, renewals, bells):
            each.close()
        raise


def _check_datacenter(link: Link, address: Address) -> None:
    """Sessions belong to an agent's own datacenter: another one's keys can't be held by them."""
    if not address.dc:
        return
    answer = link.get("catalog/datacenters")
    own = answer.data[0] if answer.status == OK and isinstance(answer.data, list) and answer.data else ""
    if own != address.dc:
        raise ClusterUnavailable(f"cluster on {address.shown}: its agents are not in the datacenter {address.dc}: "
                                 "name agents that are")

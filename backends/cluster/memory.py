"""The cluster that lives in one process's memory: for the memory store, and for tests."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from callboard.backends.clock import SystemClock
from callboard.core.errors import ClusterUnavailable
from callboard.core.records import Characteristics, LockToken, NodeInfo, Term

from .checks import LOCK_TTL_MAX_S, LOCKS_MAX, NODES_MAX, info_of, is_lock, is_term, key_of, message_of, ttl_of
from .follow import Follower

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from callboard.core.ports import Bell, Clock

MESSAGES_MAX: Final = 10_000
MESSAGES_MAX_BYTES: Final = 64 << 20


class _Held(NamedTuple):
    """A lock and when it ends."""

    token: LockToken
    ends_s: float


class _Member(NamedTuple):
    """A node and when its membership ends."""

    info: NodeInfo
    ends_s: float


class _Message(NamedTuple):
    """A broadcast."""

    number: int
    body: bytes


class MemoryCluster:
    """`callboard.core.ports.ClusterBackend` for the nodes of one process, who all use this object."""

    def __init__(self, clock: Clock | None = None) -> None:
        """Nobody leads, nothing is locked. clock: None is the machine's."""
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._cluster_id = secrets.token_hex(16)
        self._closed = False
        self._term: Term | None = None
        self._term_ends_s = 0.0
        self._term_number = 0
        self._lock_number = 0
        self._locks: dict[str, _Held] = {}
        self._members: dict[str, _Member] = {}
        self._messages: deque[_Message] = deque()
        self._message_number = 0
        self._message_bytes = 0
        self._follower = Follower(self, "callboard-memory-cluster")

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        return Characteristics(
            name="memory",
            durable="no: it ends with the process",
            shared="no: one process only",
            limits=(f"broadcasts: the last {MESSAGES_MAX:,} or 64 MiB; who is further behind misses some",
                    f"{LOCKS_MAX:,} locks, {NODES_MAX:,} nodes"),
        )

    @property
    def cluster_id(self) -> str:
        """Random, new with each object."""
        return self._cluster_id

    def register(self, info: NodeInfo, ttl_s: float) -> None:
        """Make the node a member until ttl_s after the last call."""
        info_of(info)
        ttl_of(ttl_s, "the membership's ttl")
        with self._lock:
            now_s = self._open()
            self._drop_expired(now_s)
            known = self._members.get(info.boot_id)
            if known is None and len(self._members) >= NODES_MAX:
                raise ClusterUnavailable(f"the cluster has {NODES_MAX:,} nodes, which is its limit")
            self._members[info.boot_id] = _Member(info, now_s + ttl_s)
        if known is None or known.info != info:
            self._follower.ring()

    def unregister(self, boot_id: str) -> None:
        """Leave at once."""
        with self._lock:
            self._open()
            self._members.pop(boot_id, None)
        self._follower.ring()

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Members now, by name."""
        with self._lock:
            now_s = self._open()
            infos = [member.info for member in self._members.values() if now_s < member.ends_s]
        return tuple(sorted(infos, key=lambda info: (info.node, info.boot_id)))

    def acquire_lock(self, key: str, holder: str, ttl_s: float) -> LockToken | None:
        """Take a lock for at most ttl_s; its holder gets the same lock again, for ttl_s from now."""
        key_of(key)
        key_of(holder, "lock holder")
        ttl_of(ttl_s, "the lock's ttl", LOCK_TTL_MAX_S)
        with self._lock:
            now_s = self._open()
            held = self._live(key, now_s)
            if held is not None and held.token.holder != holder:
                return None
            if held is None:
                self._make_room(now_s)
                self._lock_number += 1
            number = self._lock_number if held is None else held.token.number
            token = LockToken(key, holder, number, ttl_s)
            self._locks[key] = _Held(token, now_s + ttl_s)
            return token

    def release_lock(self, token: LockToken) -> bool:
        """Release exactly this lock."""
        with self._lock:
            held = self._live(token.key, self._open()) if is_lock(token) else None
            if held is None or held.token[:3] != token[:3]:
                return False
            del self._locks[token.key]
            return True

    def campaign(self, owner: str, ttl_s: float) -> Term | None:
        """Become leader, or None while any term is in force."""
        key_of(owner, "owner")
        ttl_of(ttl_s, "the term's ttl")
        with self._lock:
            now_s = self._open()
            if self._in_force(now_s) is not None:
                return None
            self._term_number += 1
            self._term = Term(self._term_number, owner, ttl_s, secrets.token_hex(16))
            self._term_ends_s = now_s + ttl_s
            term = self._term
        self._follower.ring()
        return term

    def renew(self, term: Term, ttl_s: float) -> bool:
        """Keep exactly this term."""
        ttl_of(ttl_s, "the term's ttl")
        with self._lock:
            now_s = self._open()
            held = self._in_force(now_s)
            if held is None or not _same(held, term):
                return False
            self._term = held._replace(ttl_s=ttl_s)
            self._term_ends_s = now_s + ttl_s
            return True

    def resign(self, term: Term) -> None:
        """End exactly this term."""
        with self._lock:
            held = self._in_force(self._open())
            if held is None or not _same(held, term):
                return
            self._term = None
        self._follower.ring()

    def leader(self) -> Term | None:
        """The term in force now, or None."""
        with self._lock:
            return self._in_force(self._open())

    def watch(self, callback: Callable[[], None]) -> Bell:
        """Call back when leadership or membership may have changed, and once soon."""
        return self._follower.watch(callback)

    def broadcast(self, message: bytes) -> None:
        """Send to every subscriber."""
        body = message_of(message)
        with self._lock:
            self._open()
            self._message_number += 1
            self._messages.append(_Message(self._message_number, body))
            self._message_bytes += len(body)
            while len(self._messages) > MESSAGES_MAX or self._message_bytes > MESSAGES_MAX_BYTES:
                self._message_bytes -= len(self._messages.popleft().body)
        self._follower.ring()

    def subscribe(self, callback: Callable[[bytes], None]) -> Bell:
        """Call back with each broadcast sent from now on."""
        with self._lock:
            self._open()
            newest = self._message_number
        return self._follower.subscribe(callback, newest)

    def close(self) -> None:
        """End the thread; every later act raises ClusterUnavailable."""
        with self._lock:
            self._closed = True
        self._follower.close()

    # For the follower

    def messages_after(self, number: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Up to `limit` broadcasts numbered above `number`."""
        with self._lock:
            self._open()
            first = self._messages[0].number if self._messages else self._message_number + 1
            skip = max(0, number + 1 - first)
            return list(islice(self._messages, skip, skip + limit))

    def look(self) -> tuple[object, float | None]:
        """What a watch compares."""
        with self._lock:
            now_s = self._open()
            term = self._in_force(now_s)
            live = {boot_id: member for boot_id, member in self._members.items() if now_s < member.ends_s}
            ends = [member.ends_s for member in live.values()] + ([] if term is None else [self._term_ends_s])
            seen = (term and term.number, frozenset(member.info for member in live.values()))
        return seen, min(ends) - now_s if ends else None

    # Under the lock

    def _open(self) -> float:
        """The boot clock, if not closed."""
        if self._closed:
            raise ClusterUnavailable("this memory cluster was closed; open another")
        return self._clock.boot_s()

    def _in_force(self, now_s: float) -> Term | None:
        return self._term if self._term is not None and now_s < self._term_ends_s else None

    def _live(self, key: str, now_s: float) -> _Held | None:
        held = self._locks.get(key)
        return held if held is not None and now_s < held.ends_s else None

    def _make_room(self, now_s: float) -> None:
        if len(self._locks) >= LOCKS_MAX:
            self._locks = {key: held for key, held in self._locks.items() if now_s < held.ends_s}
        if len(self._locks) >= LOCKS_MAX:
            raise ClusterUnavailable(f"{LOCKS_MAX:,} locks are held, which is the limit")

    def _drop_expired(self, now_s: float) -> None:
        for boot_id in [boot_id for boot_id, member in self._members.items() if now_s >= member.ends_s]:
            del self._members[boot_id]


def _same(held: Term, term: Term) -> bool:
    return is_term(term) and (held.number, held.owner, held.handle) == (term.number, term.owner, term.handle)

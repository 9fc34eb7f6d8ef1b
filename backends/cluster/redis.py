"""The cluster on Redis: nodes that reach one server elect, lock and broadcast through it.

Leases count on the server's clock: who holds one trusts it no longer than its own clock says. The numbers that fence
are in a row that is never deleted, and as durable as the server's `appendonly` makes them.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgpack

from callboard.backends.store.redis.address import parse_address
from callboard.backends.store.redis.bells import RedisBells
from callboard.backends.store.redis.link import Link
from callboard.backends.store.redis.opening import inspect
from callboard.backends.store.redis.part import run_script
from callboard.backends.store.redis.scripts import lone_script
from callboard.core.codec import BROADCAST_MAX_BYTES
from callboard.core.errors import ClusterUnavailable, StoreError, StoreUnavailable
from callboard.core.records import Characteristics, LockToken, Term

from .checks import LOCK_TTL_MAX_S, LOCKS_MAX, NODES_MAX, info_of, is_lock, is_term, key_of, message_of, ttl_of
from .follow import Follower
from .nodeinfo import pack_info, unpack_info

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from callboard.core.ports import Bell
    from callboard.core.records import NodeInfo

TIMEOUT_S: Final = 2.0
CONNECTIONS_MAX: Final = 4
"""For everything but renewals and bells, which have one each."""
MESSAGES_MAX: Final = 10_000
_SCRIPT: Final = lone_script(__name__.rpartition(".")[0], "redis")


class RedisCluster:
    """`callboard.core.ports.ClusterBackend` on a Redis server."""

    def __init__(self, link: Link, renewals: Link, durable: str) -> None:
        """Serve from this server; see `open_redis_cluster`."""
        self._link = link
        self._renewals = renewals
        self._durable = durable
        tag = b"{%b}:" % link.address.name.encode()
        self._key = tag + b"cluster"
        self._cluster_id = ""
        self._cluster_id = self._call("open", secrets.token_hex(16))[0].decode()
        self._bells = RedisBells(link, tag + b"bell:")
        self._follower = Follower(self, "callboard-redis-cluster")
        self._listening = False

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        return Characteristics(
            name="redis",
            durable=self._durable,
            shared="by all machines that reach the server",
            limits=(
                "leases follow jumps of the server's clock: two nodes may then lead at once; the store obeys the newer",
                "a replica that takes over may give a number twice: the store's epochs still tell two leaders apart",
                f"broadcasts: the last {MESSAGES_MAX:,} or 64 MiB; who is further behind misses some",
                f"{LOCKS_MAX:,} locks, {NODES_MAX:,} nodes",
            ),
        )

    @property
    def cluster_id(self) -> str:
        """Random, kept on the server."""
        return self._cluster_id

    # Members

    def register(self, info: NodeInfo, ttl_s: float) -> None:
        """Make the node a member until ttl_s after the last call."""
        info_of(info)
        ttl_of(ttl_s, "the membership's ttl")
        (accepted,) = self._call("register", info.boot_id, pack_info(info), _ms(ttl_s))
        if not accepted:
            raise ClusterUnavailable(f"the cluster has {NODES_MAX:,} nodes, which is its limit")

    def unregister(self, boot_id: str) -> None:
        """Leave at once."""
        key_of(boot_id, "boot id")
        self._call("unregister", boot_id)

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Members now, by name; what is none of ours is left out."""
        (found,) = self._call("nodes")
        infos = [info for data in found if (info := unpack_info(data)) is not None]
        return tuple(sorted(infos, key=lambda info: (info.node, info.boot_id)))

    # Locks

    def acquire_lock(self, key: str, holder: str, ttl_s: float) -> LockToken | None:
        """Take a lock for at most ttl_s; its holder gets the same lock again, for ttl_s from now."""
        key_of(key)
        key_of(holder, "lock holder")
        ttl_of(ttl_s, "the lock's ttl", LOCK_TTL_MAX_S)
        (number,) = self._call("acquire", key, holder, _ms(ttl_s))
        if number < 0:
            raise ClusterUnavailable(f"{LOCKS_MAX:,} locks are held, which is the limit")
        return LockToken(key, holder, number, ttl_s) if number else None

    def release_lock(self, token: LockToken) -> bool:
        """Release exactly this lock."""
        return is_lock(token) and bool(self._call("release", *token[:3])[0])

    # Election

    def campaign(self, owner: str, ttl_s: float) -> Term | None:
        """Become leader, or None while any term is in force."""
        key_of(owner, "owner")
        ttl_of(ttl_s, "the term's ttl")
        handle = secrets.token_hex(16)
        (number,) = self._call("campaign", owner, handle, _ms(ttl_s))
        return Term(number, owner, ttl_s, handle) if number else None

    def renew(self, term: Term, ttl_s: float) -> bool:
        """Keep exactly this term."""
        ttl_of(ttl_s, "the term's ttl")
        if not is_term(term):
            return False
        (kept,) = self._call("renew", term.number, term.owner, term.handle, _ms(ttl_s), link=self._renewals)
        return bool(kept)

    def resign(self, term: Term) -> None:
        """End exactly this term."""
        if is_term(term):
            self._call("resign", term.number, term.owner, term.handle, link=self._renewals)

    def leader(self) -> Term | None:
        """The term in force now, or None."""
        number, owner, handle, ttl_ms = self._call("leader")
        return Term(number, owner.decode(), ttl_ms / 1000, handle.decode()) if number else None

    def watch(self, callback: Callable[[], None]) -> Bell:
        """Call back when leadership or membership may have changed, and once soon."""
        self._listen()
        return self._follower.watch(callback)

    # Broadcast

    def broadcast(self, message: bytes) -> None:
        """Send to every subscriber."""
        self._call("broadcast", message_of(message))

    def subscribe(self, callback: Callable[[bytes], None]) -> Bell:
        """Call back with each broadcast sent from now on."""
        self._listen()
        (newest,) = self._call("newest")
        return self._follower.subscribe(callback, newest)

    # For the follower

    def messages_after(self, number: int, limit: int) -> Sequence[tuple[int, bytes | None]]:
        """Up to `limit` broadcasts numbered above `number`; None for one that is too large to be of ours."""
        (found,) = self._call("messages", number, limit)
        return [(number, body if len(body) <= BROADCAST_MAX_BYTES else None) for number, body in found]

    def look(self) -> tuple[object, float | None]:
        """What a watch compares."""
        number, version, live, left_ms = self._call("look")
        return (number, version, live), None if left_ms < 0 else left_ms / 1000

    def _listen(self) -> None:
        """Hear the bells of other clients; without them, the follower's poll must do."""
        if not self._listening:
            self._listening = True
            self._bells.listen("cluster", self._follower.ring)

    def close(self) -> None:
        """Close connections and end the threads; harmless when repeated."""
        self._follower.close()
        self._bells.close()
        self._link.close()
        self._renewals.close()

    def _call(self, act: str, *arguments: object, link: Link | None = None) -> Any:
        with guarded():
            answer = run_script(link or self._link, _SCRIPT, self._key, act.encode(), self._cluster_id.encode(),
                                msgpack.packb(arguments, use_bin_type=False))
        if answer[0] != 0:
            raise ClusterUnavailable(f"the cluster on {self._link.address.shown} was emptied or replaced; "
                                     "start the node again")
        return answer[2:]


def open_redis_cluster(url: str, timeout_s: float = TIMEOUT_S) -> RedisCluster:
    """Open the cluster on a Redis server; make it where there is none.

    Args:
        url: see `callboard.backends.store.redis.address.parse_address`.
        timeout_s: how long connecting, and each answer, may take.

    Raises:
        InvalidArgument: Raised when the address is none of Redis.
        ClusterUnavailable: Raised when the server can't be reached, or may not be used; the message says why.
    """
    address = parse_address(url)
    link = Link(address, connect_s=timeout_s, answer_s=timeout_s, most=CONNECTIONS_MAX)
    renewals = Link(address, connect_s=timeout_s, answer_s=timeout_s, most=1)
    try:
        with guarded():
            return RedisCluster(link, renewals, inspect(link))
    except BaseException:
        link.close()
        renewals.close()
        raise


def _ms(ttl_s: float) -> int:
    return max(1, round(ttl_s * 1000))


@contextmanager
def guarded() -> Generator[None]:
    """The store's errors are the cluster's here."""
    try:
        yield
    except (StoreUnavailable, StoreError) as error:
        raise ClusterUnavailable(str(error).replace("job store", "cluster on", 1), cause=error) from error

"""The `store` cluster on SQLite: nodes that share a job store's file elect, lock and broadcast through that same file.

Leases count on the machine's CLOCK_BOOTTIME and name the boot they were written in, so no wall clock moves one, and
none outlives a reboot. The numbers that fence are in a row that is never deleted.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from callboard.backends.clock import SystemClock, machine_boot_id
from callboard.backends.socket_bells import SocketBells
from callboard.backends.store.sql.sqlite.database import Database
from callboard.backends.store.sql.sqlite.dialect import sqlite_dialect
from callboard.backends.store.sql.sqlite.schema import prepare
from callboard.backends.store.sql.statements import PREFIX
from callboard.core.codec import BROADCAST_MAX_BYTES
from callboard.core.errors import ClusterUnavailable, InvalidArgument, StoreError, StoreReset, StoreUnavailable
from callboard.core.records import Characteristics, LockToken, NodeInfo, Term

from .checks import (
    LEASE_TTL_MAX_S,
    LOCK_TTL_MAX_S,
    LOCKS_MAX,
    NODES_MAX,
    NUMBER_MAX,
    info_of,
    is_lock,
    is_term,
    key_of,
    message_of,
    ttl_of,
)
from .follow import Follower

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Generator, Mapping, Sequence

    from callboard.backends.store.sql.dialect import Connection, Fence
    from callboard.core.ports import Bell, Clock

_LOG: Final = logging.getLogger(__name__)
TIMEOUT_S: Final = 2.0
MIGRATION_S: Final = 15.0
"""How long opening waits for another process that creates or migrates the file."""
MESSAGES_MAX: Final = 10_000
MESSAGES_MAX_BYTES: Final = 64 << 20
MESSAGES_AGE_S: Final = 600.0
_TRIM: Final = 200  # messages that one broadcast looks at, to drop those that are over a bound
_SLACK_S: Final = 1.0  # a lease that begins later than this from now was written by another clock: void


class _Row(NamedTuple):
    """The one row of `callboard_cluster`."""

    cluster_id: str
    number: int
    owner: str
    handle: str
    machine: str
    start_s: float
    ttl_s: float
    lock_number: int
    members_version: int
    message_bytes: int


class _Tx(NamedTuple):
    """A transaction under way: its statements, the row as it found it, and the boot clock since it has its turn."""

    connection: sqlite3.Connection
    statements: Mapping[str, str]
    row: _Row
    now_s: float

    def run(self, statement: str, *values: object) -> sqlite3.Cursor:
        """Run a named statement."""
        return self.connection.execute(self.statements[f"cluster.{statement}"], values)


class SqliteCluster:
    """`callboard.core.ports.ClusterBackend` in a SQLite file, for all processes of one user on one machine."""

    def __init__(
        self, path: str, *, clock: Clock | None = None, timeout_s: float = TIMEOUT_S, machine: str | None = None,
        prefix: str = PREFIX,
    ) -> None:
        """Open the file; create or migrate it where needed.

        Args:
            path: the job store's file; its directory must exist.
            clock: None is the machine's.
            timeout_s: how long a call may wait for its turn to write, and again for other processes.
            machine: names this boot of the machine; None asks the kernel.
            prefix: what the tables' names begin with, as the job store's.

        Raises:
            ClusterUnavailable: Raised when the file can't be opened, or is locked, full or read-only.
        """
        self._clock = clock or SystemClock()
        self._statements = sqlite_dialect(prefix).statements
        self._machine = machine_boot_id() if machine is None else machine
        with _guarded():
            prepare(path, max(timeout_s, MIGRATION_S), prefix)
            self._database = Database(path, timeout_s, self._greet)
            self._renewals = Database(path, timeout_s, self._greet)  # a connection that nothing else keeps busy
            with self._database.read() as (_, row):
                self._cluster_id: str = row.cluster_id
        self._bells = SocketBells(self._database.turn.path)
        self._listening = False
        self._follower = Follower(self, "callboard-store-cluster")

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        return Characteristics(
            name="store",
            durable="numbers of terms and locks are synced to the disk before they are given; leases end with the boot",
            shared="by all processes of one user on one machine; never over a network file system",
            limits=(
                "a process that is stopped inside a write transaction stops the file's cluster",
                f"broadcasts: the last {MESSAGES_MAX:,}, 64 MiB or 10 minutes; who is further behind misses some",
                "a power loss may lose the last broadcasts",
                f"{LOCKS_MAX:,} locks, {NODES_MAX:,} nodes",
            ),
        )

    @property
    def cluster_id(self) -> str:
        """Random, kept in the file."""
        return self._cluster_id

    # Members

    def register(self, info: NodeInfo, ttl_s: float) -> None:
        """Make the node a member until ttl_s after the last call."""
        info_of(info)
        ttl_of(ttl_s, "the membership's ttl")
        with self._write() as tx:
            gone = tx.run("drop_expired_nodes", self._machine, tx.now_s).rowcount
            known = tx.run("node", info.boot_id).fetchone()
            if known is None and tx.run("count_nodes", self._machine, tx.now_s).fetchone()[0] >= NODES_MAX:
                raise ClusterUnavailable(f"the cluster has {NODES_MAX:,} nodes, which is its limit")
            tx.run("put_node", info.boot_id, info.node, info.host, info.pid, info.version, info.socket, info.started_ms,
                   self._machine, tx.now_s, ttl_s)
            changed = bool(gone) or known is None or NodeInfo(*known) != info
            if changed:
                tx.run("members_changed")
        if changed:
            self._bells.ring("cluster")

    def unregister(self, boot_id: str) -> None:
        """Leave at once."""
        key_of(boot_id, "boot id")
        with self._write() as tx:
            gone = tx.run("drop_node", boot_id).rowcount
            if gone:
                tx.run("members_changed")
        if gone:
            self._bells.ring("cluster")

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Members now, by name; rows that are none of ours are left out."""
        with self._read() as tx:
            rows = tx.run("nodes", self._machine, tx.now_s, NODES_MAX).fetchall()
        return tuple(info for row in rows if (info := _node_of(row)) is not None)

    # Locks

    def acquire_lock(self, key: str, holder: str, ttl_s: float) -> LockToken | None:
        """Take a lock for at most ttl_s; its holder gets the same lock again, for ttl_s from now."""
        key_of(key)
        key_of(holder, "lock holder")
        ttl_of(ttl_s, "the lock's ttl", LOCK_TTL_MAX_S)
        with self._write(durable=True) as tx:
            held = self._live_lock(tx, key)
            if held is not None and held[0] != holder:
                return None
            if held is None:
                self._make_room(tx)
                tx.run("set_lock_number", tx.row.lock_number + 1)
            number = tx.row.lock_number + 1 if held is None else held[1]
            tx.run("put_lock", key, holder, number, self._machine, tx.now_s, ttl_s)
            return LockToken(key, holder, number, ttl_s)

    def release_lock(self, token: LockToken) -> bool:
        """Release exactly this lock."""
        if not is_lock(token):
            return False
        with self._write() as tx:
            if self._live_lock(tx, token.key) != (token.holder, token.number):
                return False
            tx.run("drop_lock", token.key)
            return True

    def _live_lock(self, tx: _Tx, key: str) -> tuple[str, int] | None:
        """Holder and number of a lock that is held now."""
        found = tx.run("lock", key).fetchone()
        if found is None:
            return None
        holder, number, machine, start_s, ttl_s = found
        return (holder, number) if self._counts(machine, start_s, ttl_s, tx.now_s, LOCK_TTL_MAX_S) else None

    def _make_room(self, tx: _Tx) -> None:
        if tx.run("count_locks").fetchone()[0] < LOCKS_MAX:
            return
        tx.run("drop_expired_locks", self._machine, tx.now_s)
        if tx.run("count_locks").fetchone()[0] >= LOCKS_MAX:
            raise ClusterUnavailable(f"{LOCKS_MAX:,} locks are held, which is the limit")

    # Election

    def campaign(self, owner: str, ttl_s: float) -> Term | None:
        """Become leader, or None while any term is in force."""
        key_of(owner, "owner")
        ttl_of(ttl_s, "the term's ttl")
        with self._read() as tx:  # most campaigns are lost: they need not wait for a turn to write
            if self._in_force(tx) is not None:
                return None
        with self._write(durable=True) as tx:
            if self._in_force(tx) is not None:
                return None
            term = Term(tx.row.number + 1, owner, ttl_s, secrets.token_hex(16))
            tx.run("win", term.number, owner, term.handle, self._machine, tx.now_s, ttl_s)
        self._bells.ring("cluster")
        return term

    def renew(self, term: Term, ttl_s: float) -> bool:
        """Keep exactly this term."""
        ttl_of(ttl_s, "the term's ttl")
        with self._write(self._renewals) as tx:
            if not self._holds(tx, term):
                return False
            tx.run("renew", tx.now_s, ttl_s)
            return True

    def resign(self, term: Term) -> None:
        """End exactly this term."""
        with self._write(self._renewals) as tx:
            if not self._holds(tx, term):
                return
            tx.run("resign")
        self._bells.ring("cluster")

    def leader(self) -> Term | None:
        """The term in force now, or None."""
        with self._read() as tx:
            return self._in_force(tx)

    def watch(self, callback: Callable[[], None]) -> Bell:
        """Call back when leadership or membership may have changed, and once soon."""
        self._listen()
        return self._follower.watch(callback)

    def _in_force(self, tx: _Tx) -> Term | None:
        row = tx.row
        if not self._counts(row.machine, row.start_s, row.ttl_s, tx.now_s, LEASE_TTL_MAX_S):
            return None
        return Term(row.number, row.owner, row.ttl_s, row.handle)

    def _holds(self, tx: _Tx, term: Term) -> bool:
        held = self._in_force(tx) if is_term(term) else None
        return held is not None and (held.number, held.owner, held.handle) == (term.number, term.owner, term.handle)

    def _counts(self, machine: str, start_s: float, ttl_s: float, now_s: float, limit_s: float) -> bool:
        """Whether a lease holds now: of this boot, within limits, not of another clock, not over."""
        ours = machine == self._machine and start_s <= now_s + _SLACK_S and 0.0 < ttl_s <= limit_s
        return ours and now_s < start_s + ttl_s

    # Broadcast

    def broadcast(self, message: bytes) -> None:
        """Send to every subscriber."""
        body = message_of(message)
        with self._write() as tx:
            newest = tx.run("send", self._machine, tx.now_s, body).lastrowid or 0
            message_bytes = tx.row.message_bytes + len(body)
            drop = 0
            for number, machine, sent_s, size in tx.run("oldest_messages", _TRIM).fetchall():
                old = machine != self._machine or not tx.now_s - MESSAGES_AGE_S < sent_s <= tx.now_s + _SLACK_S
                over = newest - number >= MESSAGES_MAX or message_bytes > MESSAGES_MAX_BYTES
                if number == newest or not (old or over):
                    break
                drop, message_bytes = number, message_bytes - size
            if drop:
                tx.run("drop_messages", drop)
            tx.run("set_message_bytes", message_bytes)
        self._bells.ring("cluster")

    def subscribe(self, callback: Callable[[bytes], None]) -> Bell:
        """Call back with each broadcast sent from now on."""
        self._listen()
        with self._read() as tx:
            newest = int(tx.run("newest_message").fetchone()[0])
        return self._follower.subscribe(callback, newest)

    # For the follower

    def messages_after(self, number: int, limit: int) -> Sequence[tuple[int, bytes | None]]:
        """Up to `limit` broadcasts numbered above `number`; None for one that is too large to be of ours."""
        with self._read() as tx:
            rows: list[tuple[int, bytes | None]] = tx.run("messages", number, limit, BROADCAST_MAX_BYTES).fetchall()
        if any(body is None for _, body in rows):
            _LOG.warning("a broadcast in the cluster's table is over %s bytes: left out", BROADCAST_MAX_BYTES)
        return rows

    def look(self) -> tuple[object, float | None]:
        """What a watch compares."""
        with self._read() as tx:
            term = self._in_force(tx)
            live, first_end_s = tx.run("count_nodes", self._machine, tx.now_s).fetchone()
        ends = [] if first_end_s is None else [first_end_s]
        ends += [] if term is None else [tx.row.start_s + tx.row.ttl_s]
        seen = (term and term.number, tx.row.members_version, live)
        return seen, min(ends) - tx.now_s if ends else None

    def _listen(self) -> None:
        """Hear the bells of other processes; without them, the follower's poll must do."""
        if self._listening:
            return
        self._listening = True
        try:
            self._bells.listen("cluster", self._follower.ring)
        except StoreUnavailable as error:
            _LOG.warning("no bells between processes, changes are seen by polling: %s", error)

    def close(self) -> None:
        """Close connections and end the thread; harmless when repeated."""
        self._follower.close()
        self._bells.close()
        self._renewals.close()
        self._database.close()

    # Transactions

    def _greet(self, connection: Connection, _fence: Fence) -> _Row:
        """The first thing in each transaction: read the row, and refuse what is none of ours."""
        return _row(connection.run(self._statements["cluster.cluster"]).fetchone())

    @contextmanager
    def _write(self, database: Database | None = None, *, durable: bool = False) -> Generator[_Tx, None, None]:
        with _guarded(), (database or self._database).write(durable=durable) as (connection, row):
            yield self._tx(connection, row)

    @contextmanager
    def _read(self) -> Generator[_Tx, None, None]:
        with _guarded(), self._database.read() as (connection, row):
            yield self._tx(connection, row)

    def _tx(self, connection: sqlite3.Connection, row: _Row) -> _Tx:
        if row.cluster_id != self._cluster_id:
            raise ClusterUnavailable("the cluster's file was replaced by another; start the node again")
        return _Tx(connection, self._statements, row, self._clock.boot_s())


def _row(found: Sequence[object] | None) -> _Row:
    """The row, if it is one of ours."""
    if found is None:
        raise ClusterUnavailable("the cluster's row was deleted; restore the file from a copy")
    row = _Row(*found)  # type: ignore[arg-type]  # STRICT tables keep the types; ranges are checked below
    numbers = (row.number, row.lock_number, row.members_version, row.message_bytes)
    if not row.cluster_id or not all(0 <= number < NUMBER_MAX for number in numbers):
        raise ClusterUnavailable("the cluster's row is damaged; restore the file from a copy")
    return row


def _node_of(row: Sequence[object]) -> NodeInfo | None:
    info = NodeInfo(*row)  # type: ignore[arg-type]  # STRICT tables keep the types; info_of checks the ranges
    try:
        return info_of(info)
    except InvalidArgument as error:
        _LOG.warning("a node in the cluster's table is none of ours, left out: %s", error)
        return None


@contextmanager
def _guarded() -> Generator[None, None, None]:
    """The store's errors are the cluster's here."""
    try:
        yield
    except (StoreUnavailable, StoreReset, StoreError) as error:
        raise ClusterUnavailable(str(error).replace("job store", "cluster in", 1), cause=error) from error

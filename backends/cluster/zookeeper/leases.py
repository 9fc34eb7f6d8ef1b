"""Leases: ephemeral nodes that end with the session that holds them, or by their holder's own clock if that is sooner.

A session lives as long as its process, so a lease that is not renewed is ended by its holder's client. If that is
stopped or cut off, it sends no pings either, and the server ends the session. So no clock of another machine is asked.
"""

from __future__ import annotations

import heapq
import logging
import secrets
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.clock import SystemClock
from callboard.core.errors import ClusterUnavailable

from .layout import Grant, Paths, pack_grant, read_grant
from .requests import NoNodeError, NotEmptyError, change, check, delete, emptied, exists, failure, get, sync

if TYPE_CHECKING:
    from collections.abc import Callable

    from .session import Session

RUNGS_S: Final = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0)
"""Sessions' timeouts: a lease is on the longest that is not longer than its ttl."""
_TRIES: Final = 20
_AGAIN_S: Final = 1.0
_JOIN_S: Final = 5.0
_LOG: Final = logging.getLogger(__name__)
_clock = SystemClock()


@dataclass(slots=True, eq=False)
class Lease:
    """A node that this client holds.

    Attributes:
        ends_s: when to end it, on the boot clock.
        end: ends it; must not block.
        gone: whether its end is under way, or nothing is left to end.
        queued_s: when it is looked at next.
    """

    path: str
    nonce: str
    body: bytes
    session: Session
    ends_s: float
    end: Callable[[Lease], None]
    gone: bool = False
    queued_s: float = 0.0


class Alarms:
    """Ends leases when their time is up, from a thread of its own."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._wake = threading.Condition()
        self._heap: list[tuple[float, int, Lease]] = []
        self._count = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def watch(self, lease: Lease) -> None:
        """End it at its time."""
        with self._wake:
            if self._closed:
                raise ClusterUnavailable("this cluster backend was closed; open another")
            self._push(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="callboard-zookeeper-leases", daemon=True)
                self._thread.start()
            self._wake.notify()

    def extend(self, lease: Lease, ttl_s: float) -> bool:
        """Let it live until ttl_s from now; False when its time was up."""
        with self._wake:
            if lease.gone:
                return False
            lease.ends_s = _clock.boot_s() + ttl_s
            if lease.ends_s < lease.queued_s:
                self._push(lease)
                self._wake.notify()
            return True

    def forget(self, lease: Lease) -> None:
        """It is gone."""
        with self._wake:
            lease.gone = True

    def again(self, lease: Lease) -> None:
        """Its end could not be told: try again."""
        with self._wake:
            if not self._closed:
                lease.gone, lease.ends_s = False, _clock.boot_s() + _AGAIN_S
                self._push(lease)
                self._wake.notify()

    def close(self) -> None:
        """End the thread."""
        with self._wake:
            self._closed = True
            self._heap.clear()
            self._wake.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    def _push(self, lease: Lease) -> None:
        lease.queued_s = lease.ends_s
        self._count += 1
        heapq.heappush(self._heap, (lease.ends_s, self._count, lease))

    def _run(self) -> None:
        while True:
            with self._wake:
                if self._closed:
                    return
                wait_s = self._heap[0][0] - _clock.boot_s() if self._heap else None
                if wait_s is None or wait_s > 0:
                    self._wake.wait(wait_s)
                    continue
                ends_s, _, lease = heapq.heappop(self._heap)
                if lease.gone:
                    continue
                if lease.ends_s > _clock.boot_s():  # it was prolonged
                    if ends_s == lease.queued_s:
                        self._push(lease)
                    continue
                lease.gone = True
            lease.end(lease)


class Leases:
    """Locks and members: one node a name, held by sessions whose timeouts suit the ttls."""

    def __init__(self, paths: Paths, open_session: Callable[[float], Session], alarms: Alarms) -> None:
        """Hold nothing yet.

        Args:
            paths: where.
            open_session: makes a session of a timeout in seconds.
            alarms: ends what is over.
        """
        self._paths = paths
        self._open_session = open_session
        self._alarms = alarms
        self._lock = threading.Lock()
        self._sessions: dict[float, Session] = {}
        self._held: dict[str, Lease] = {}

    def take(self, path: str, body: bytes, ttl_s: float, full: Callable[[int], None],
             free: Callable[[Grant], bool]) -> tuple[int, float] | None:
        """Hold a node for ttl_s from now; its number and for how long that can be trusted, or None if another holds it.

        Args:
            path: of the node.
            body: whose it is; the holder's own call again keeps the number.
            ttl_s: seconds.
            full: told how many there are; raises if one more is too many.
            free: whether a grant may be replaced.
        """
        session = self._session(ttl_s)
        number = self._prolong(path, body, ttl_s, session)
        lacking = ""
        for _ in range(_TRIES):
            if number:
                return number, min(ttl_s, session.granted_s)
            grant, node, stat = self._look(session, path)
            if node is None:
                full(stat.numChildren)
            elif grant is not None and not free(grant):
                return None
            old = grant.nonce if grant is not None and grant.nonce != lacking else ""
            kept = 0 if grant is None else grant.number
            number, lacking = self._create(session, path, body, ttl_s, (node, old, kept))
        raise ClusterUnavailable("the cluster's nodes change too fast; try again")

    def drop(self, path: str, whose: Callable[[Grant], bool]) -> bool:
        """Delete exactly the grant that is now at a path, if it is whose it should be; False: nothing was changed."""
        session = self._session(0.0)
        lacking = ""
        for _ in range(_TRIES):
            grant, node, _ = self._look(session, path)
            if grant is None or not whose(grant):
                return False
            old = "" if grant.nonce == lacking else grant.nonce
            [done] = session.ask(change(partial(self._clear, path=path, old=old, node=node)))
            if not failure(done):
                self._forget(path, grant.nonce)
                return True
            lacking = old if isinstance(done[0], NoNodeError) else ""
        raise ClusterUnavailable("the cluster's nodes change too fast; try again")

    def close(self) -> None:
        """End the sessions, and so all that they hold."""
        with self._lock:
            sessions, self._sessions = list(self._sessions.values()), {}
        close_all(sessions)

    def _session(self, ttl_s: float) -> Session:
        """The one for a ttl; for 0 any will do."""
        rung_s = max((rung for rung in RUNGS_S if rung <= ttl_s), default=RUNGS_S[0])
        with self._lock:
            if not ttl_s:
                rung_s = min(self._sessions, default=RUNGS_S[-1])
            if rung_s not in self._sessions:
                self._sessions[rung_s] = self._open_session(rung_s)
            return self._sessions[rung_s]

    def _look(self, session: Session, path: str) -> tuple[Grant | None, Any, Any]:
        """The grant at a path, the node whatever it is, and how its folder is."""
        folder = path.rpartition("/")[0]
        _, found, stat = session.ask(sync(path), get(path), exists(folder))
        if stat is None:
            raise emptied()
        if isinstance(found, Exception):
            return None, None, stat
        grant = read_grant(found)
        if grant is None:
            _LOG.warning("a node of the cluster is none of ours, left out: %s", path)
        return grant, found, stat

    def _prolong(self, path: str, body: bytes, ttl_s: float, session: Session) -> int:
        """The number, if we hold it already by the same session; it lives until ttl_s from now then."""
        lease = self._held.get(path)
        if lease is None or lease.body != body or lease.session is not session:
            return 0
        if not self._alarms.extend(lease, ttl_s):
            return 0
        checked, found = session.ask(check(self._paths.grant(lease.nonce)), get(path))
        grant = None if failure(checked) or isinstance(found, Exception) else read_grant(found)
        if grant is None or grant.nonce != lease.nonce:
            self._forget(path, lease.nonce)
            return 0
        return grant.number

    def _create(self, session: Session, path: str, body: bytes, ttl_s: float,
                before: tuple[Any, str, int]) -> tuple[int, str]:
        """Create it in the place of what was there; its number, or 0 and the nonce whose node is lacking."""
        node, old, kept = before
        lease = Lease(path, secrets.token_hex(16), body, session, _clock.boot_s() + ttl_s, self._end)
        self._held[path] = lease
        self._alarms.watch(lease)  # first: if the answer is lost, it ends all the same

        def fill(act: Any) -> None:
            if node is not None:
                self._clear(act, path, old, node)
            act.create(path, pack_grant(lease.nonce, kept, body), ephemeral=True)
            act.create(self._paths.grant(lease.nonce), ephemeral=True)

        done, found = session.ask(change(fill), get(path))
        problem = failure(done)
        grant = None if problem or isinstance(found, Exception) else read_grant(found)
        if grant is not None and grant.nonce == lease.nonce:
            return grant.number, ""
        if problem:
            self._forget(path, lease.nonce)
        if isinstance(problem, NotEmptyError):
            raise ClusterUnavailable(f"a node in ZooKeeper is none of ours, and in the way: delete {path}")
        return 0, old if old and isinstance(done[0], NoNodeError) else ""

    def _clear(self, act: Any, path: str, old: str, node: Any) -> None:
        """Delete exactly the node that was seen, if it still is the one."""
        if old:
            act.delete(self._paths.grant(old))
        else:
            act.create(self._paths.cleared(node), ephemeral=True)
        act.delete(path)

    def _end(self, lease: Lease) -> None:
        """Its time is up: delete it; by the session that created it, so behind its creation."""

        def done(result: Any) -> None:
            try:
                result.get_nowait()  # done, or it was gone
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                _LOG.debug("a lease could not be ended, trying again: %s", error)
                self._alarms.again(lease)
            else:
                self._forget(lease.path, lease.nonce)

        if lease.session.id:
            lease.session.send(delete(lease.path, self._paths.grant(lease.nonce)), done)
        else:
            self._alarms.again(lease)

    def _forget(self, path: str, nonce: str) -> None:
        with self._lock:
            lease = self._held.get(path)
            if lease is not None and lease.nonce == nonce:
                del self._held[path]
        if lease is not None and lease.nonce == nonce:
            self._alarms.forget(lease)


def close_all(sessions: list[Session], wait_s: float = _JOIN_S) -> None:
    """End sessions, all at once."""
    threads = [threading.Thread(target=one.close, name="callboard-zookeeper-end", daemon=True) for one in sessions]
    for thread in threads:
        thread.start()
    ends_s = _clock.boot_s() + wait_s
    for thread in threads:
        thread.join(max(0.0, ends_s - _clock.boot_s()))

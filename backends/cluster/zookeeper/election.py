"""The term: one node, held by a session of its own that is made with the term's ttl."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Any, Final

from callboard.backends.clock import SystemClock
from callboard.core.codec import decode, encode
from callboard.core.errors import ClusterUnavailable, CodecError
from callboard.core.records import Term

from .layout import Grant, Paths, pack_grant, read_grant
from .leases import Alarms, Lease, close_all
from .requests import NodeExistsError, change, check, delete, emptied, exists, failure, get, sync
from .session import Session, SessionOver

if TYPE_CHECKING:
    from collections.abc import Callable

_BODY_MAX_BYTES: Final = 2_000
_SILENT_SHARE: Final = 0.7
"""Of its timeout that a session may have been silent for before a renewal: see docs/decisions/0021."""
_DOUBT_SHARE: Final = 0.5
_clock = SystemClock()


class _Held(Lease):
    """The term that this client holds."""

    __slots__ = ("doubted_s", "term")

    term: Term
    doubted_s: float


class Election:
    """Campaigns, renews, resigns."""

    def __init__(self, paths: Paths, main: Session, open_session: Callable[[float], Session], alarms: Alarms) -> None:
        """Hold nothing yet.

        Args:
            paths: where.
            main: the session for what needs none of its own.
            open_session: makes a session of a timeout in seconds.
            alarms: ends what is over.
        """
        self._paths = paths
        self._main = main
        self._open_session = open_session
        self._alarms = alarms
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}

    def leader(self) -> Term | None:
        """The term in force now, or None."""
        grant, _ = self._look()
        return None if grant is None else _term_of(grant)

    def campaign(self, owner: str, ttl_s: float) -> Term | None:
        """Become leader, or None while any term is in force."""
        grant, node = self._look()
        if grant is not None and _term_of(grant) is not None:
            return None
        session = self._open_session(ttl_s)
        try:
            session.start()
            term = self._win(session, owner, node)
        except BaseException:
            _dispose(session)  # whatever was created, late too, ends with it
            raise
        if term is None:
            _dispose(session)
        return term

    def renew(self, term: Term, ttl_s: float) -> bool:
        """Keep exactly this term, if the ensemble's leader says that it is there and this session's."""
        held = self._held.get(term.handle)
        if held is None or held.term[:2] != term[:2] or held.session.over or not self._alarms.extend(held, ttl_s):
            return False
        before_s = held.session.contact_s
        try:
            checked, found = held.session.ask(check(self._paths.grant(term.handle)), get(self._paths.now))
        except SessionOver:
            self._forget(held)
            return False
        now_s = _clock.boot_s()
        grant = None if failure(checked) or isinstance(found, Exception) else read_grant(found)
        ours = grant is not None and (grant.nonce, grant.number, grant.session) == (
            term.handle, term.number, held.session.id)
        if not ours or held.session.over:
            self._forget(held)
            return False
        if now_s - before_s > held.session.granted_s * _SILENT_SHARE:
            held.doubted_s = now_s
        if now_s - held.doubted_s < held.session.granted_s * _DOUBT_SHARE:
            raise ClusterUnavailable("the session was silent for so long that ZooKeeper may be about to end it; the "
                                     "next renewals will tell")
        return True

    def resign(self, term: Term) -> None:
        """End exactly this term."""
        held = self._held.get(term.handle)
        session = self._main if held is None else held.session
        try:
            grant, _ = self._look(session)
            if grant is not None and (grant.nonce, grant.number) == (term.handle, term.number):
                session.ask(delete(self._paths.now, self._paths.grant(term.handle)))
        except SessionOver:
            if held is None:
                raise
        if held is not None and held.term[:2] == term[:2]:
            self._forget(held)

    def close(self) -> None:
        """End the sessions, and so the terms."""
        with self._lock:
            sessions = [held.session for held in self._held.values()]
            self._held.clear()
        close_all(sessions)

    def _look(self, session: Session | None = None) -> tuple[Grant | None, Any]:
        """What is granted now, and the node that says so, or something else."""
        now = self._paths.now
        _, found, folder = (session or self._main).ask(sync(now), get(now), exists(self._paths.term))
        if folder is None:
            raise emptied()
        if isinstance(found, Exception):
            return None, None
        return read_grant(found), found

    def _win(self, session: Session, owner: str, junk: Any) -> Term | None:
        """Create the term's node, in the place of one that is none of ours."""
        handle = secrets.token_hex(16)
        granted_s = session.granted_s
        body = encode([owner, granted_s], max_bytes=_BODY_MAX_BYTES, what="a term")

        def fill(act: Any) -> None:
            if junk is not None:
                act.create(self._paths.cleared(junk), ephemeral=True)
                act.delete(self._paths.now)
            act.create(self._paths.now, pack_grant(handle, 0, body), ephemeral=True)
            act.create(self._paths.grant(handle), ephemeral=True)

        done, found = session.ask(change(fill), get(self._paths.now))
        problem = failure(done)
        if isinstance(problem, NodeExistsError):
            return None
        grant = None if problem or isinstance(found, Exception) else read_grant(found)
        if grant is None or (grant.nonce, grant.session) != (handle, session.id):
            raise ClusterUnavailable(f"the campaign was lost on its way: {type(problem or found).__name__}")
        term = Term(grant.number, owner, granted_s, handle)
        held = _Held(self._paths.now, handle, body, session, _clock.boot_s() + granted_s, self._end)
        held.term, held.doubted_s = term, 0.0
        with self._lock:
            self._held[handle] = held
        self._alarms.watch(held)
        return term

    def _end(self, lease: Lease) -> None:
        """Its time is up: with its session it ends."""
        with self._lock:
            self._held.pop(lease.nonce, None)
        _dispose(lease.session)

    def _forget(self, held: _Held) -> None:
        self._alarms.forget(held)
        self._end(held)


def _dispose(session: Session) -> None:
    """End a session without waiting for it."""
    threading.Thread(target=session.close, name="callboard-zookeeper-end", daemon=True).start()


def _term_of(grant: Grant) -> Term | None:
    """The term that a node tells of; None when it is none of ours."""
    try:
        match decode(grant.body, max_bytes=_BODY_MAX_BYTES):
            case [str(owner), float(ttl_s)] if owner and ttl_s > 0.0:
                return Term(grant.number, owner, ttl_s, grant.nonce)
            case _:
                return None
    except CodecError:
        return None

"""Elections on etcd: the leader's key lives as long as its lease; the revision that made it is the term's number."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from callboard.backends.cluster.checks import LEASE_TTL_MAX_S, is_term, key_of, ttl_of
from callboard.core.codec import decode, encode
from callboard.core.errors import ClusterUnavailable, CodecError
from callboard.core.records import Term

from . import requests as ask
from .acts import ROUNDS, EtcdActs, sent_before, whole_s

if TYPE_CHECKING:
    from .link import Link

_TERM_MAX_BYTES: Final = 4_096
_LOG: Final = logging.getLogger(__name__)


class _Held(NamedTuple):
    """A term in force, its key as it was found, and the term of etcd's own leader then."""

    term: Term
    kv: Any
    raft_term: int


class EtcdTerms(EtcdActs):
    """The election's part of `callboard.core.ports.ClusterBackend`."""

    def __init__(self, link: Link, renewals: Link) -> None:
        """See `EtcdActs`."""
        super().__init__(link, renewals)
        self._term_key = self._at + b"term"
        self._doubtful: set[int] = set()
        self._kept = ("", 0)  # of the last term that was granted or renewed here: its handle and lease

    def campaign(self, owner: str, ttl_s: float) -> Term | None:
        """Become leader, or None while any term is in force."""
        key_of(owner, "owner")
        ttl_of(ttl_s, "the term's ttl")
        for doubtful in tuple(self._doubtful):  # it may have been won unheard: that term would be nobody's
            self._link.revoke(doubtful)
            self._doubtful.discard(doubtful)
        found = self._act(do=[ask.get(self._term_key)]).found()
        if found is not None:
            if _term_of(found) is None:
                self._remove(found, "no term, or one without an end")
            return None
        lease, granted_s = self._link.grant(whole_s(ttl_s))
        handle = secrets.token_hex(16)
        try:
            done = self._act(ask.created(self._term_key, 0), other=[ask.get(self._term_key)],
                             do=[ask.put(self._term_key, _packed(owner, handle, granted_s), lease)])
        except ClusterUnavailable:
            self._doubtful.add(lease)
            raise
        number = done.revision if done.held else sent_before(done.found(), lease)
        if not number:
            self._revoke(lease)
            return None
        self._kept = (handle, lease)
        return Term(number, owner, granted_s, handle)

    def renew(self, term: Term, ttl_s: float) -> bool:
        """Keep exactly this term."""
        ttl_of(ttl_s, "the term's ttl")
        if not is_term(term):
            return False
        lease = self._kept[1] if self._kept[0] == term.handle else 0
        for _ in range(ROUNDS):
            kept = self._renewals.keep(lease) if lease else 0
            held = self._held(term)  # after the lease was kept: else the key could have gone in between
            if held is None or (held.kv.lease == lease and not kept):
                return False
            if held.term.ttl_s != whole_s(ttl_s):
                lease = self._lease_anew(held, ttl_s)
            elif held.kv.lease != lease or held.raft_term != kept:  # a leader that etcd had deposed may have kept it
                lease = 0
            if lease:
                self._kept = (term.handle, lease)
                return True
            lease = held.kv.lease
        raise ClusterUnavailable(f"the term's lease on {self._shown} changed at every look")

    def resign(self, term: Term) -> None:
        """End exactly this term."""
        if not is_term(term):
            return
        for _ in range(ROUNDS):
            held = self._held(term)
            if held is None:
                return
            same = ask.modified(self._term_key, held.kv.mod_revision)
            if self._act(same, do=[ask.delete(self._term_key)], link=self._renewals).held:
                self._revoke(held.kv.lease, self._renewals)
                return
        raise ClusterUnavailable(f"the term's key on {self._shown} changed at every look")

    def leader(self) -> Term | None:
        """The term in force now, or None."""
        found = self._act(do=[ask.get(self._term_key)]).found()
        return None if found is None else _term_of(found)

    def _held(self, term: Term) -> _Held | None:
        """The term, if it is the one in force."""
        done = self._act(do=[ask.get(self._term_key)], link=self._renewals)
        found = done.found()
        held = None if found is None else _term_of(found)
        same = held is not None and (held.number, held.owner, held.handle) == (term.number, term.owner, term.handle)
        return _Held(held, found, done.raft_term) if held is not None and same else None

    def _lease_anew(self, held: _Held, ttl_s: float) -> int:
        """Put the term on a lease of another length; 0 where it changed meanwhile."""
        lease, granted_s = self._renewals.grant(whole_s(ttl_s))
        value = _packed(held.term.owner, held.term.handle, granted_s)
        done = self._act(ask.modified(self._term_key, held.kv.mod_revision), other=[ask.get(self._term_key)],
                         do=[ask.put(self._term_key, value, lease)], link=self._renewals)
        won = done.held or bool(sent_before(done.found(), lease))
        self._revoke(held.kv.lease if won else lease, self._renewals)
        return lease if won else 0


def _packed(owner: str, handle: str, ttl_s: float) -> bytes:
    return encode([owner, handle, ttl_s], max_bytes=_TERM_MAX_BYTES, what="a term")


def _term_of(kv: Any) -> Term | None:
    """The term that a key holds; None, and a warning, for what is none of ours: it holds nobody up."""
    try:
        match decode(kv.value, max_bytes=_TERM_MAX_BYTES):
            case [str(owner), str(handle), float(ttl_s), *_] if 0.0 < ttl_s <= LEASE_TTL_MAX_S and kv.lease:
                term = Term(int(kv.create_revision), owner, ttl_s, handle)
                if is_term(term):
                    return term
            case _:
                pass
    except CodecError:
        pass
    _LOG.warning("the leader's key on etcd is none of callboard's, and counts as none: %r", bytes(kv.value[:60]))
    return None

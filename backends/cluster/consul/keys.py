"""An installation's keys: its id, who holds the term and the locks, and the last broadcasts.

    NAME/cluster/state/id        random; each write checks that it is still there
    NAME/cluster/state/term      held by the leader's session
    NAME/cluster/state/sequence  the number of the last broadcast
    NAME/cluster/locks/HASH      held by the lock's session
    NAME/cluster/bus/BUCKET/N    a broadcast; a bucket has 32

A number that fences is the ModifyIndex of the key when it was taken: an index of Raft's log, which only grows.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from callboard.core.codec import decode, encode
from callboard.core.errors import CodecError

from .link import CONFLICT, OK, Answer, rows

if TYPE_CHECKING:
    from callboard.core.errors import ClusterUnavailable

    from .leases import Lease
    from .link import Link

_HELD_MAX_BYTES: Final = 8_192
_HANDLE: Final = re.compile(r"[0-9a-f]{32}\Z")
_OPENINGS: Final = 8
_ID: Final = 64
_TTL_MAX_MS: Final = 86_400_000
_NUMBER_MAX: Final = 1 << 62
_DIGITS_MAX: Final = 19
_STATE_KEYS_MAX: Final = 100
_LOG: Final = logging.getLogger(__name__)

CONSISTENT: Final = ("consistent", "")


class Row(NamedTuple):
    """A key: what is in it, its last change, and the session that holds it ("" for none)."""

    value: bytes
    modified: int
    session: str


class Held(NamedTuple):
    """A key that a session holds.

    Attributes:
        key: the lock's; "" of the term.
        holder: the lock's, or the term's owner.
        handle: the lease's.
        number: that fences.
        modified: when it was last changed, as an index of the log.
    """

    key: str
    holder: str
    handle: str
    ttl_s: float
    number: int
    session: str
    modified: int


class State(NamedTuple):
    """The term in force, if any, and the last broadcast's number with that key's last change; 0 for none."""

    term: Held | None
    newest: int
    newest_index: int


class Keys:
    """Reads and writes them."""

    def __init__(self, link: Link) -> None:
        """See to it that there is an id.

        Raises:
            ClusterUnavailable: Raised when Consul does not answer or refuses.
        """
        self.link = link
        self.root = f"{link.address.name}/cluster/"
        self.term = f"{self.root}state/term"
        self.sequence = f"{self.root}state/sequence"
        self._id_key = f"{self.root}state/id"
        self.cluster_id, self._id_index = self._open()

    def _open(self) -> tuple[str, int]:
        for _ in range(_OPENINGS):
            row = self.row(self._id_key)
            if row is not None:
                name = row.value.decode("ascii", "replace")
                if not 0 < len(name) <= _ID or not name.isalnum():
                    raise self.link.unavailable(f"the key {self._id_key} is none of ours; delete it, or choose a name=")
                return name, row.modified
            new = {"Verb": "cas", "Key": self._id_key, "Index": 0, "Value": b64(secrets.token_hex(16).encode())}
            self.write([new], checked=False)
        raise self.link.unavailable("its keys change all the time")

    def state(self, link: Link | None = None, *, consistent: bool = True) -> State:
        """What leads and what was sent last.

        Raises:
            ClusterUnavailable: Raised when Consul does not answer, or was emptied.
        """
        answer = (link or self.link).get(f"kv/{self.root}state/", ("recurse", ""), *[CONSISTENT] * consistent)
        found = {key: row for each in rows(answer, self.link, _STATE_KEYS_MAX) if (key := each.get("Key")) is not None
                 and (row := row_of(each)) is not None}
        own = found.get(self._id_key)
        if own is None or own.value != self.cluster_id.encode():
            raise self._replaced()
        self._id_index = own.modified
        term, sequence = found.get(self.term), found.get(self.sequence)
        held = held_of(term, "") if term is not None else None
        return State(held, _number(sequence) if sequence else 0, sequence.modified if sequence else 0)

    def row(self, key: str) -> Row | None:
        """One key, as it is now."""
        found = rows(self.link.get(f"kv/{key}", CONSISTENT), self.link, 1)
        return row_of(found[0]) if found else None

    def take(self, path: str, key: str, holder: str, ttl_s: float, lease: Lease, old: Held | None) -> Held | None:
        """Hold a key that nobody holds, or that `old` holds, whose number it keeps; None if that is not so."""
        said = encode([key, holder, lease.handle, round(ttl_s * 1000), old.number if old else 0])
        lock = {"Verb": "lock", "Key": path, "Value": b64(said), "Session": lease.session}
        operations: list[dict[str, Any]] = [lock]
        if old is not None:
            index = {"Verb": "check-index", "Key": path, "Index": old.modified}
            operations = [index, {"Verb": "unlock", "Key": path, "Value": b64(said), "Session": old.session}, lock]
        done = self.write(operations)
        if done is None:
            return None
        taken = row_of(done[-1])
        if taken is None:
            raise self.link.unavailable("did not say where in its log a key was taken")
        return Held(key, holder, lease.handle, ttl_s, old.number if old else taken.modified, lease.session,
                    taken.modified)

    def free(self, path: str, held: Held) -> bool:
        """Delete a key if it is held exactly so."""
        # delete-cas would be content with a key that is not there
        index = {"Verb": "check-index", "Key": path, "Index": held.modified}
        return self.write([index, {"Verb": "delete", "Key": path}]) is not None

    def write(self, operations: list[dict[str, Any]], *, checked: bool = True) -> list[dict[str, Any]] | None:
        """Do all of it or nothing; what each changed, or None when one could not be done.

        Raises:
            ClusterUnavailable: Raised when Consul was emptied; or it does not answer, and may have done it.
        """
        for _ in range(_OPENINGS):
            check = {"Verb": "check-index", "Key": self._id_key, "Index": self._id_index} if checked else None
            answer = self.link.put("txn", [{"KV": one} for one in [check, *operations] if one])
            if answer.status == OK:
                return _results(answer)[checked:]
            if answer.status != CONFLICT:
                raise self.link.trouble(answer)
            if not checked or _first_failed(answer) != 0:
                return None
            self.state()  # raises unless the id is still ours: somebody wrote it again
        raise self.link.unavailable("its keys change all the time")

    def _replaced(self) -> ClusterUnavailable:
        return self.link.unavailable("was emptied or replaced; start the node again")


def held_of(row: Row, key: str) -> Held | None:
    """Who holds a key; None when nobody does, or something that is none of ours, with a warning."""
    if not row.session:
        return None
    try:
        match decode(row.value, max_bytes=_HELD_MAX_BYTES):
            case [str(its_key), str(holder), str(handle), int(ttl_ms), int(number)] if (
                its_key == key and holder and _HANDLE.match(handle)
                and 0 < ttl_ms <= _TTL_MAX_MS and 0 <= number < _NUMBER_MAX
            ):
                return Held(key, holder, handle, ttl_ms / 1000, number or row.modified, row.session, row.modified)
            case _:
                problem: object = "not what a holder writes"
    except CodecError as error:
        problem = error
    _LOG.warning("a key of the cluster's on Consul is held by something that is none of ours: %s", problem)
    return None


def _number(sequence: Row) -> int:
    """The last broadcast's number. A sequence begins at an index of the log: above all that one before it gave."""
    text = sequence.value
    given = int(text) if text.isdigit() and len(text) <= _DIGITS_MAX else 0
    return given if 0 < given < _NUMBER_MAX else sequence.modified


def row_of(found: dict[str, Any]) -> Row | None:
    """A key out of what Consul says of it; None if that is not it."""
    match found:
        case {"Value": (str() | None) as value, "ModifyIndex": int(index)} if 0 < index < _NUMBER_MAX:
            session = found.get("Session")
            try:
                return Row(base64.b64decode(value or "", validate=True), index,
                           session if isinstance(session, str) else "")
            except (binascii.Error, ValueError):
                return None
        case _:
            return None


def _results(answer: Answer) -> list[dict[str, Any]]:
    match answer.data:
        case {"Results": list(results)}:
            return [kv for one in results if isinstance(one, dict) and isinstance(kv := one.get("KV"), dict)]
        case _:
            return []


def _first_failed(answer: Answer) -> int:
    match answer.data:
        case {"Errors": [{"OpIndex": int(number)}, *_]}:
            return number
        case _:
            return -1


def b64(value: bytes) -> str:
    """As transactions take values."""
    return base64.b64encode(value).decode("ascii")


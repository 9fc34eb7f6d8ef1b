"""Broadcasts: a key each, numbered by a sequence that each sender moves on; the last thousand are kept.

Two identical messages are two keys: Consul wakes nobody for a value that is written again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from callboard.core.codec import BROADCAST_MAX_BYTES

from .keys import Row, b64, row_of
from .link import rows

if TYPE_CHECKING:
    from .keys import Keys

BUCKET: Final = 32
BUCKETS_KEPT: Final = 32
"""Beside the one that is being filled."""
MESSAGES_KEPT: Final = BUCKET * BUCKETS_KEPT
_TRIES: Final = 200


class Bus:
    """Sends and reads broadcasts."""

    def __init__(self, keys: Keys) -> None:
        """Send nothing yet."""
        self._keys = keys
        self._root = f"{keys.root}bus/"
        self._sending = threading.Lock()  # those of one process need not race for a number
        self._last = (0, 0)  # the last one's number and change of the sequence, as far as this client knows

    def send(self, message: bytes) -> None:
        """Give it the next number.

        Raises:
            ClusterUnavailable: Raised when it may not have been sent.
        """
        with self._sending:
            for _ in range(_TRIES):
                number, modified = self._last
                done = self._keys.write(self._operations(number + 1, modified, message)) if number else None
                if done is not None:
                    sequence = row_of(done[0]) if done else None
                    self._last = (number + 1, sequence.modified) if sequence is not None else (0, 0)
                    return
                state = self._keys.state()
                self._last = (state.newest, state.newest_index)
                if not state.newest:
                    self._begin()
        raise self._keys.link.unavailable("so many send at once that this one found no turn")

    def _begin(self) -> None:
        """A new sequence, and no broadcast of one before it."""
        self._keys.write([{"Verb": "cas", "Key": self._keys.sequence, "Index": 0, "Value": b64(b"0")},
                          {"Verb": "delete-tree", "Key": self._root}])

    def _operations(self, number: int, index: int, message: bytes) -> list[dict[str, Any]]:
        operations: list[dict[str, Any]] = [
            {"Verb": "cas", "Key": self._keys.sequence, "Index": index, "Value": b64(b"%d" % number)},
            {"Verb": "set", "Key": f"{self._bucket(number)}{number % BUCKET:02}", "Value": b64(message)},
        ]
        old = number - (BUCKETS_KEPT + 1) * BUCKET
        if number % BUCKET == 0 and old >= 0:
            operations.append({"Verb": "delete-tree", "Key": self._bucket(old)})
        return operations

    def _bucket(self, number: int) -> str:
        return f"{self._root}{number // BUCKET:019}/"

    def newest(self) -> int:
        """The last one's number; there is a sequence from now on."""
        for _ in range(_TRIES):
            if number := self._keys.state().newest:
                return number
            self._begin()
        raise self._keys.link.unavailable("its keys change all the time")

    def after(self, number: int, limit: int) -> list[tuple[int, bytes | None]]:
        """Up to `limit` numbered above `number`, in order; None for one that is too large to be of ours."""
        newest = self._keys.state(consistent=False).newest
        first = max(number + 1, newest - MESSAGES_KEPT + 1)
        found: list[tuple[int, bytes | None]] = []
        while first <= newest and len(found) < limit:
            bucket = self._read(first)
            first_of_next = (first // BUCKET + 1) * BUCKET
            for each in range(first, min(first_of_next, newest + 1)):
                row = bucket.get(f"{self._bucket(each)}{each % BUCKET:02}")
                if row is not None:
                    found.append((each, row.value if len(row.value) <= BROADCAST_MAX_BYTES else None))
            first = first_of_next
        return found[:limit]

    def _read(self, number: int) -> dict[str, Row]:
        answer = self._keys.link.get(f"kv/{self._bucket(number)}", ("recurse", ""))
        found = rows(answer, self._keys.link, BUCKET)
        return {key: row for each in found if isinstance(key := each.get("Key"), str)
                and (row := row_of(each)) is not None}

"""What the parts of a Redis store share: calling a script, and what its refusals mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgpack

from callboard.core.errors import (
    QueueError,
    QueueFull,
    SessionEnded,
    StaleEpoch,
    StoreError,
    StoreReset,
)

from .link import Refused, pack
from .scripts import script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import Epoch

    from .link import Link
    from .options import RedisStoreOptions
    from .scripts import Script

SCHEMA: Final = 1
"""The layout of the keys; a store with a higher one belongs to a newer callboard."""


class Refusal(Exception):
    """Raised when a script refused for a reason that its caller knows."""

    def __init__(self, why: str, details: Sequence[Any]) -> None:
        """Keep both."""
        super().__init__(why)
        self.why = why
        self.details = details


class Part:
    """What the parts of a Redis store share."""

    _link: Link
    _beats: Link
    _options: RedisStoreOptions
    _key: bytes
    _store_id: bytes
    _seen: int

    def _call(self, name: str, *arguments: object, link: Link | None = None) -> Any:
        """Run an act; its answer, strings as bytes.

        Raises:
            StoreUnavailable: Raised when the server can't be reached, or does not answer in time.
            StoreReset: Raised when the store is another, or has lost writes.
            StoreError: Raised when a script fails: its keys were written by something else.
        """
        clock = self._options.clock_ms
        head = msgpack.packb([self._store_id, 0 if clock is None else clock(), self._seen,
                              round(self._options.aging_s * 1000)], use_bin_type=False)
        body = msgpack.packb(arguments, use_bin_type=False)
        answer = run_script(link or self._link, script(name), self._key, head, body)
        self._seen = max(self._seen, answer[1])
        if answer[0] == 0:
            return answer[2:]
        raise self._refusal(answer[0], answer[2:])

    def _refusal(self, why: object, details: Sequence[Any]) -> Exception:  # noqa: PLR0911 - one for each refusal
        shown = self._link.address.shown
        match why:
            case b"reset":
                return StoreReset(f"job store {shown}: it was emptied, or is another than the one that was opened; "
                                  "start the node again")
            case b"rewound":
                return StoreReset(f"job store {shown}: it has lost writes that it had acknowledged: it was at "
                                  f"{details[0]:,} and is at {details[1]:,} (restored, or a replica took over); look "
                                  "at its jobs, then start the node again")
            case b"stale epoch":
                return StaleEpoch(f"the epoch is not the store's epoch {details[0]} of {_text(details[1])}; this node "
                                  "leads no more")
            case b"session":
                return SessionEnded(f"session {details[0]} has ended; the node must drop what it held and open another")
            case b"full":
                return QueueFull(f"queue {_text(details[0])} holds {details[1]:,} of at most {details[2]:,} jobs, and "
                                 f"{details[3]:,} more don't fit; push again later, or raise its bound")
            case bytes():
                return Refusal(why.decode("ascii", "replace"), details)
            case _:
                return StoreError(f"job store {shown}: a script answered with what no script of ours says")

    @staticmethod
    def _fence(epoch: Epoch) -> tuple[int, str]:
        return epoch.number, epoch.owner


def run_script(link: Link, act: Script, key: bytes, *arguments: bytes) -> Any:
    """Run a script, load it first where the server does not know it (any more).

    Raises:
        StoreUnavailable: Raised when the server can't be reached, or does not answer in time.
        StoreError: Raised when the script fails.
    """
    name, packed = act.name, pack(b"EVALSHA", act.sha.encode(), b"1", key, *arguments)
    try:
        try:
            answer = link.call(packed)
        except Refused as error:
            if error.code != "NOSCRIPT":
                raise
            link.call(pack(b"SCRIPT", b"LOAD", act.text.encode()))
            answer = link.call(packed)
        found = msgpack.unpackb(answer, raw=True, strict_map_key=False)
        if not isinstance(found, list) or len(found) < 2 or not isinstance(found[1], int):  # noqa: PLR2004 - see base.lua
            raise StoreError(f"job store {link.address.shown}: {name}: not an answer of ours")
    except Refused as error:
        raise StoreError(f"job store {link.address.shown}: {name}: {str(error)[:300]}; another program may have "
                         "written under the store's keys", cause=error) from error
    except QueueError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, msgpack.StackError) as error:
        raise StoreError(f"job store {link.address.shown}: {name}: not an answer of ours", cause=error) from error
    return found


def _text(value: object) -> str:
    return value.decode("utf-8", "replace")[:255] if isinstance(value, bytes) else str(value)[:255]

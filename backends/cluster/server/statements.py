"""The acts' statements: what both servers say alike, and each one's own."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from callboard.backends.cluster.checks import LEASE_TTL_MAX_S, LOCK_TTL_MAX_S, LOCKS_MAX, NODES_MAX, NUMBER_MAX
from callboard.backends.store.sql.statements import PREFIX, checked_prefix
from callboard.core.codec import BROADCAST_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGES_MAX: Final = 10_000
MESSAGES_MAX_BYTES: Final = 64 << 20
MESSAGES_AGE_S: Final = 600
_TRIM: Final = 200  # messages that one broadcast looks at, to drop those that are over a bound
_NOW: Final = {
    "postgresql": "extract(epoch FROM clock_timestamp())::double precision",
    "mariadb": "CAST(UNIX_TIMESTAMP(SYSDATE(6)) AS DOUBLE)",
}
_MARK: Final = "-- name: "
_WORD: Final = re.compile(r"\{(\w+)(?: (\w+))?\}")


def _lease(table: str, now: str, ttl_max_s: float) -> str:
    """It holds now. One that begins a second or more from now was written by a clock that has been set back: void."""
    return (f"({table}.ttl_s > 0 AND {table}.ttl_s <= {ttl_max_s:.0f} AND {table}.start_s <= {now} + 1"
            f" AND {table}.start_s + {table}.ttl_s > {now})")


def _sound(table: str) -> str:
    numbers = f"{table}.number, {table}.lock_number, {table}.members_version"
    return f"({table}.cluster_id <> '' AND least({numbers}) >= 0 AND greatest({numbers}) < {NUMBER_MAX})"


def _words(server: str, table: str) -> Mapping[str, str]:
    """What stands in braces in the files."""
    now = _NOW[server]
    return {
        "now": now,
        "lease": _lease(table, now, LEASE_TTL_MAX_S),
        "locked": _lease(table, now, LOCK_TTL_MAX_S),
        "sound": _sound(table),
        "ours": f"({table}.cluster_id = %(cluster_id)s AND {_sound(table)})",
        "young": f"({table}.sent_s > {now} - {MESSAGES_AGE_S} AND {table}.sent_s <= {now} + 1)",
        "ring": "pg_notify(%(channel)s, %(payload)s)::text",
        "nodes_max": str(NODES_MAX),
        "locks_max": str(LOCKS_MAX),
        "messages_max": str(MESSAGES_MAX),
        "messages_max_bytes": str(MESSAGES_MAX_BYTES),
        "message_max": str(BROADCAST_MAX_BYTES),
        "trim": str(_TRIM),
    }


def texts(server: str) -> Mapping[str, str]:
    """The statements as the files have them, by name."""
    found: dict[str, str] = {}
    for file in ("common.sql", f"{server}.sql"):
        for part in files(__package__ or "").joinpath(file).read_text(encoding="utf-8").split(_MARK)[1:]:
            name, _, body = part.partition("\n")
            found[name.strip()] = "\n".join(line for line in body.splitlines() if line and not line.startswith("--"))
    return found


@cache
def load(server: str, prefix: str = PREFIX) -> Mapping[str, str]:
    """All statements for a server, by name; values stand as %(name)s.

    Args:
        server: postgresql or mariadb.
        prefix: what the tables' names begin with.
    """
    checked_prefix(prefix)

    def fill(word: re.Match[str]) -> str:
        return _words(server, word[2] or "")[word[1]]

    return {name: _WORD.sub(fill, text).replace(PREFIX, prefix) for name, text in texts(server).items()}

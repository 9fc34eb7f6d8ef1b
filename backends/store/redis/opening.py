"""Looking at a server before it is trusted with jobs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import NoPermissionError

from callboard.core.errors import StoreError, StoreUnavailable

from .link import Refused, info_of, pack

if TYPE_CHECKING:
    from .link import Link

_VERSION_MIN: Final = (6, 2)
_LOG: Final = logging.getLogger(__name__)
_warned: Final[set[str]] = set()


def inspect(link: Link) -> str:
    """Refuse a server that would lose jobs by design; how durable it is, in a sentence.

    Raises:
        StoreUnavailable: Raised when it can't be reached, or is a replica.
        StoreError: Raised when its eviction policy may throw jobs away, or it is too old.
    """
    shown = link.address.shown
    info = info_of(link, (b"server", b"memory", b"persistence", b"replication"))
    version = info.get("redis_version", "0.0")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < _VERSION_MIN:
        raise StoreError(f"job store {shown}: Redis {version} is too old; callboard needs 6.2 or later")
    policy, limit = info.get("maxmemory_policy", "noeviction"), info.get("maxmemory", "0")
    if policy != "noeviction" and limit != "0":
        raise StoreError(f"job store {shown}: its maxmemory-policy is {policy}: it would throw jobs away when its "
                         "memory is full; set it to noeviction")
    if info.get("role", "master") != "master":
        raise link.error("it is a replica and takes no writes; name the primary", OSError("role"))
    if info.get("aof_enabled", "0") != "1":
        _warn(shown, "appendonly is off: jobs pushed since its last snapshot are lost when it stops; set "
              "`appendonly yes` and `appendfsync always`")
        return "no: appendonly is off, so that jobs pushed since the last snapshot are lost when the server stops"
    if not _replays_scripts(link):
        raise StoreError(f"job store {shown}: its default user has not all rights, and so a restart would drop what "
                         "scripts wrote, which is every job: give it `~* &* +@all` (it may stay `off`)")
    fsync = _setting(link, b"appendfsync")
    if fsync == "always":
        return "yes: appendonly is on with appendfsync always, an acknowledged push is on the server's disk"
    _warn(shown, f"appendfsync is {fsync or 'unknown'}: a crash of its machine loses the jobs of the last second or "
          "more; set `appendfsync always`")
    return (f"against the server's death, not against its machine's: appendfsync is {fsync or 'unknown'}, a power "
            "loss takes the last second or more")


def _warn(shown: str, what: str) -> None:
    """Once for each server: a node opens it for its jobs and for its cluster."""
    if (said := f"job store {shown}: {what}") not in _warned:
        _warned.add(said)
        _LOG.warning("%s", said)


def _replays_scripts(link: Link) -> bool:
    """Whether the server writes again what scripts did when it reads its append-only file.

    It does that as its default user, whose rights it checks for transactions (redis issue 14541). Where this user may
    not ask, the answer is yes.
    """
    try:
        found: Any = link.call(pack(b"ACL", b"GETUSER", b"default"))
    except Refused:
        return True
    except StoreUnavailable as error:
        if isinstance(error.cause, NoPermissionError):
            return True
        raise
    rights = dict(zip(found[::2], found[1::2], strict=False))
    commands, keys = rights.get(b"commands", b"+@all"), rights.get(b"keys", b"~*")
    return b"+@all" in commands.split() and (keys in {b"~*", b"allkeys"} if isinstance(keys, bytes) else b"*" in keys)


def _setting(link: Link, name: bytes) -> str:
    """A setting of the server; "" where this user may not ask."""
    try:
        found: Any = link.call(pack(b"CONFIG", b"GET", name))
        return bytes(found[1]).decode() if found else ""
    except Refused:
        return ""
    except StoreUnavailable as error:
        if isinstance(error.cause, NoPermissionError):
            return ""
        raise

"""The Redis store, put together, and opened."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any, Final

from callboard.core.errors import SchemaTooNew, StoreError
from callboard.core.records import Characteristics

from .address import parse_address
from .bells import RedisBells
from .leader import LeaderPart
from .link import Link, Refused, info_of, pack
from .node import NodePart
from .operator import OperatorPart
from .options import RedisStoreOptions
from .part import SCHEMA, run_script
from .producer import ProducerPart
from .reads import ReadPart
from .schedules import SchedulePart

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.ports import Bell

_DEFAULTS: Final = RedisStoreOptions()
_VERSION_MIN: Final = (6, 0)
_LOG: Final = logging.getLogger(__name__)


class RedisStore(LeaderPart, NodePart, OperatorPart, ReadPart, SchedulePart, ProducerPart):
    """`callboard.core.ports.JobStore` on one Redis server, shared by all who reach it.

    Every method may be called from any thread, and after a fork.
    """

    def __init__(self, link: Link, beats: Link, options: RedisStoreOptions, key: bytes, durable: str) -> None:
        """Serve from this server; see `open_redis`."""
        self._link = link
        self._beats = beats
        self._options = options
        self._key = key
        self._durable = durable
        self._seen = 0
        self._bells = RedisBells(link, key.removesuffix(b"store") + b"bell:")
        self._store_id = self._open()

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not."""
        return Characteristics(
            name="redis",
            durable=self._durable,
            shared="by all machines that reach the server",
            limits=(
                "jobs are in the server's memory: about 600 bytes each, and their arguments",
                f"{self._options.queue_max_jobs:,} jobs of a queue that wait or run; a push beyond raises QueueFull",
                "a replica that takes over may lack acknowledged writes: who wrote them notices, nobody repairs it",
                "times are the server's clock: delayed jobs follow its jumps",
            ),
        )

    def listen(self, topic: str, callback: Callable[[], None]) -> Bell:
        """See the port."""
        return self._bells.listen(topic, callback)

    def ring(self, topic: str) -> None:
        """See the port."""
        self._bells.ring(topic)

    def close(self) -> None:
        """See the port."""
        self._bells.close()
        self._link.close()
        self._beats.close()

    def _open(self) -> bytes:
        """The store's id; a new one where the server has no store of this name."""
        import msgpack  # noqa: PLC0415 - a line that only this needs

        asked = msgpack.packb([secrets.token_hex(16), SCHEMA], use_bin_type=False)
        _, self._seen, store_id, schema = run_script(self._link, "open", self._key, asked)
        if schema > SCHEMA:
            raise SchemaTooNew(f"job store {self._link.address.shown}: has schema version {schema}, this callboard "
                               f"knows {SCHEMA}; upgrade callboard on this machine")
        return bytes(store_id)


def open_redis(url: str, options: RedisStoreOptions = _DEFAULTS) -> RedisStore:
    """Open the job store on a Redis server; make it where there is none.

    Args:
        url: see `parse_address`.
        options: settings; every process on the same data should give the same.

    Raises:
        InvalidArgument: Raised when the address is none of Redis.
        StoreUnavailable: Raised when the server can't be reached, or is a replica; the message says which.
        StoreError: Raised when the server may throw jobs away (its eviction policy), or is too old.
        SchemaTooNew: Raised when a newer callboard made the store.
    """
    address = parse_address(url)
    link = Link(address, connect_s=options.connect_s, answer_s=options.act_s, most=options.connections_max)
    beats = Link(address, connect_s=options.connect_s, answer_s=options.beat_s, most=1)
    try:
        durable = _inspect(link)
        return RedisStore(link, beats, options, b"{%b}:store" % address.name.encode(), durable)
    except BaseException:
        link.close()
        beats.close()
        raise


def _inspect(link: Link) -> str:
    """Refuse a server that would lose jobs by design; how durable it is, in a sentence."""
    shown = link.address.shown
    info = info_of(link, (b"server", b"memory", b"persistence", b"replication"))
    version = info.get("redis_version", "0.0")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < _VERSION_MIN:
        raise StoreError(f"job store {shown}: Redis {version} is too old; callboard needs 6.0 or later")
    policy, limit = info.get("maxmemory_policy", "noeviction"), info.get("maxmemory", "0")
    if policy != "noeviction" and limit != "0":
        raise StoreError(f"job store {shown}: its maxmemory-policy is {policy}: it would throw jobs away when its "
                         "memory is full; set it to noeviction")
    if info.get("role", "master") != "master":
        raise link.error("it is a replica and takes no writes; name the primary", OSError("role"))
    if info.get("aof_enabled", "0") != "1":
        _LOG.warning("job store %s: appendonly is off: jobs pushed since its last snapshot are lost when it stops; set "
                     "`appendonly yes` and `appendfsync always`", shown)
        return "no: appendonly is off, so that jobs pushed since the last snapshot are lost when the server stops"
    fsync = _setting(link, b"appendfsync")
    if fsync == "always":
        return "yes: appendonly is on with appendfsync always, an acknowledged push is on the server's disk"
    _LOG.warning("job store %s: appendfsync is %s: a crash of its machine loses the jobs of the last second or more; "
                 "set `appendfsync always`", shown, fsync or "unknown")
    return (f"against the server's death, not against its machine's: appendfsync is {fsync or 'unknown'}, a power "
            "loss takes the last second or more")


def _setting(link: Link, name: bytes) -> str:
    """A setting of the server; "" where this user may not ask."""
    try:
        found: Any = link.call(pack(b"CONFIG", b"GET", name))
        return bytes(found[1]).decode() if found else ""
    except Refused:
        return ""
    except StoreError:
        raise
    except Exception as error:
        if "may not" in str(error):
            return ""
        raise

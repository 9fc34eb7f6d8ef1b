"""The Redis store, put together, and opened."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import msgpack

from callboard.core.errors import SchemaTooNew
from callboard.core.records import Characteristics

from .address import parse_address
from .bells import RedisBells
from .leader import LeaderPart
from .link import Link
from .node import NodePart
from .opening import inspect
from .operator import OperatorPart
from .options import RedisStoreOptions
from .part import SCHEMA, run_script
from .producer import ProducerPart
from .reads import ReadPart
from .schedules import SchedulePart
from .scripts import script

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.ports import Bell

_DEFAULTS: Final = RedisStoreOptions()


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
        asked = msgpack.packb([secrets.token_hex(16), SCHEMA], use_bin_type=False)
        _, self._seen, store_id, schema = run_script(self._link, script("open"), self._key, asked)
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
        durable = inspect(link)
        return RedisStore(link, beats, options, b"{%b}:store" % address.name.encode(), durable)
    except BaseException:
        link.close()
        beats.close()
        raise

"""The job store on a Redis server."""

from __future__ import annotations

from importlib.util import find_spec

from callboard.core.errors import UsageError

if find_spec("redis") is None:
    raise UsageError("an address of Redis needs redis-py, which is not installed: pip install callboard[redis]")

from .options import RedisStoreOptions
from .store import RedisStore, open_redis

__all__ = ["RedisStore", "RedisStoreOptions", "open_redis"]

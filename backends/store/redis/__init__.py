"""The job store on a Redis server."""

from __future__ import annotations

from .options import RedisStoreOptions
from .store import RedisStore, open_redis

__all__ = ["RedisStore", "RedisStoreOptions", "open_redis"]

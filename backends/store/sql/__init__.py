"""The job store on SQL databases; SQLite so far."""

from __future__ import annotations

from .options import SqlStoreOptions
from .sqlite.store import open_sqlite
from .store import SqlStore

__all__ = ["SqlStore", "SqlStoreOptions", "open_sqlite"]

"""The job store on SQL databases; SQLite so far."""

from __future__ import annotations

from .options import SqlStoreOptions
from .store import SqlStore, open_sqlite

__all__ = ["SqlStore", "SqlStoreOptions", "open_sqlite"]

"""Versions of the schema."""

from __future__ import annotations

from typing import Final

SCHEMA_VERSION: Final = 3
"""The newest revision in migrations/versions."""
NEEDS_VERSION: Final = 2
"""The oldest schema version whose code may work beside it: revisions after that one only add."""
VERSION_TABLE: Final = "callboard_schema"
"""Where alembic notes the revision."""

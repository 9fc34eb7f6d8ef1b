"""`import callboard` stays light: no server's client, no ORM, no command line."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {
    "alembic",
    "aiohttp",
    "click",
    "consul",
    "etcd3",
    "grpc",
    "kazoo",
    "psycopg",
    "pymysql",
    "redis",
    "requests",
    "sqlalchemy",
    "starlette",
    "urllib3",
    "uvicorn",
}


def heavy_after(statement: str) -> set[str]:
    """Which of HEAVY a new interpreter has loaded after the statement."""
    program = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return {name.partition(".")[0] for name in done.stdout.split()} & HEAVY


def test_import_callboard_loads_nothing_heavy() -> None:
    assert heavy_after("import callboard") == set()


def test_what_is_heavy_would_be_seen() -> None:
    assert heavy_after("import callboard, sqlalchemy.sql") == {"sqlalchemy"}

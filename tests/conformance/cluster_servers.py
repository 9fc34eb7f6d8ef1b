"""The `store` cluster on PostgreSQL and MariaDB for the conformance suite, in databases of the shared servers."""

from __future__ import annotations

from contextlib import ExitStack, closing
from urllib.parse import unquote, urlsplit

import psycopg
import pymysql
from cluster_kit import COUNT_KEPT, Place
from servers import shared

from callboard.backends.cluster.server.mariadb import MariadbCluster
from callboard.backends.cluster.server.postgresql import PostgresqlCluster

OPEN = {"postgresql": PostgresqlCluster, "mariadb": MariadbCluster}
KINDS = tuple(OPEN)
WIPE = (
    "DELETE FROM callboard_cluster_locks",
    "DELETE FROM callboard_cluster_nodes",
    "UPDATE callboard_cluster SET owner = '', handle = '', ttl_s = 0",
)


def connect(url: str):
    """A connection of somebody else's."""
    if url.startswith("postgresql:"):
        return psycopg.connect(url, autocommit=True)
    at = urlsplit(url)
    return pymysql.connect(
        host=at.hostname, port=at.port, user=unquote(at.username), password=unquote(at.password),
        database=unquote(at.path[1:]), charset="utf8mb4", autocommit=True,
    )  # fmt: skip


def edit(url: str, *statements: str) -> tuple:
    """What somebody else does to the database, one by one; the last one's rows."""
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return tuple(cursor.fetchall()) if cursor.description else ()


def prepare(url: str) -> None:
    """Make the tables."""
    OPEN[url.partition(":")[0]](url).close()


def open_place(kind: str) -> Place:
    """A cluster in a database of its own."""
    database = ExitStack()
    url = database.enter_context(shared.database(kind, prepare))
    def kept() -> int:
        return edit(url, COUNT_KEPT)[0][0]

    return Place(kind, lambda: OPEN[kind](url), 0.6, lambda: edit(url, *WIPE), done=database.close, kept=kept)

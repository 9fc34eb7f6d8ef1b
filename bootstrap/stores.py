"""From addresses to stores and cluster backends: the only place that names their classes."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from callboard.core.errors import UnknownOption
from callboard.core.options import did_you_mean

if TYPE_CHECKING:
    from callboard.core.ports import Clock, ClusterBackend, JobStore

REDIS_SCHEMES: Final = ("redis", "rediss", "unix", "redis+unix")
POSTGRESQL_SCHEMES: Final = ("postgresql", "postgres")
MARIADB_SCHEMES: Final = ("mariadb",)
STORE_SCHEMES: Final = ("memory", "sqlite", *REDIS_SCHEMES, *POSTGRESQL_SCHEMES, *MARIADB_SCHEMES)
SQL_SCHEMES: Final = ("sqlite", *POSTGRESQL_SCHEMES, *MARIADB_SCHEMES)
ETCD_SCHEMES: Final = ("etcd", "etcds")
CONSUL_SCHEMES: Final = ("consul", "consuls")
ZOOKEEPER_SCHEMES: Final = ("zookeeper", "zookeepers")
CLUSTER_SCHEMES: Final = (*STORE_SCHEMES, *ETCD_SCHEMES, *CONSUL_SCHEMES, *ZOOKEEPER_SCHEMES)
"""Each store's own address is one of a cluster, too."""
MEMORY_MAX_JOBS: Final = 1_000
"""Default bound of the memory store, as QUEUE_MEMORY_MAX_JOBS."""

TABLE: Final = "jobs"
"""What `?table=` in a SQL store's address and QUEUE_DATABASE_TABLE are unless they are given: tables callboard_*."""
_TABLE: Final = re.compile(r"[a-z_][a-z0-9_]{0,30}")

_memory: dict[str, tuple[JobStore, ClusterBackend]] = {}
_memory_lock = threading.Lock()


def mask_url(url: str) -> str:
    """The address without its password or token, for logs and messages."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    if at and parts.scheme in CONSUL_SCHEMES:
        return urlunsplit(parts._replace(netloc=f"***@{hosts}"))
    if not at or ":" not in user:
        return url
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{hosts}"))


def scheme_of(url: str, what: str) -> str:
    """The address's scheme, checked.

    Raises:
        UnknownOption: Raised when it is none of ours.
    """
    scheme = url.partition(":")[0] if ":" in url else ""
    known = CLUSTER_SCHEMES if what == "cluster" else STORE_SCHEMES
    if scheme in known:
        return scheme
    if scheme in CLUSTER_SCHEMES and what != "cluster":
        raise UnknownOption(f"{scheme}:// keeps no jobs: give it as the cluster's address, beside a store's such as "
                            "sqlite:///FILE")
    raise UnknownOption(f"{mask_url(url)!r} is no {what} address{did_you_mean(scheme, known)}; "
                        "use sqlite:///FILE or memory://")


def sqlite_path(url: str) -> str:
    """The file of sqlite:///relative.db or sqlite:////absolute.db, made absolute.

    Raises:
        UnknownOption: Raised when the address names no file.
    """
    path = split_table(url)[0].removeprefix("sqlite://").removeprefix("/")
    if not path or not url.startswith("sqlite:///"):
        raise UnknownOption(f"{url!r} names no file: use sqlite:///relative.db or sqlite:////absolute/path.db")
    return str(Path(path).absolute())


def split_table(url: str) -> tuple[str, str]:
    """The address without its `table` parameter, and the table's name: it takes the place of `callboard` in all names.

    Raises:
        UnknownOption: Raised when it is given twice or is no plain name.
    """
    address, _, query = url.partition("?")
    parts = query.split("&")
    found = [part.removeprefix("table=") for part in parts if part.startswith("table=")]
    if not found:
        return url, TABLE
    if len(found) > 1 or not _TABLE.fullmatch(found[0]):
        raise UnknownOption(f"table={'&table='.join(found)} can't begin the names of tables: use up to 31 of a-z, 0-9 "
                            "and _, with no digit at the beginning")
    left = "&".join(part for part in parts if not part.startswith("table="))
    return f"{address}?{left}" if left else address, found[0]


def with_table(url: str, table: str) -> str:
    """The address of the same database's store in other tables.

    Raises:
        UnknownOption: Raised when the store has no tables, or that is no name for them.
    """
    if table == TABLE:
        return url
    if scheme_of(url, "store") not in SQL_SCHEMES:
        raise UnknownOption(f"QUEUE_DATABASE_TABLE={table} is for stores on SQL; {mask_url(url)} has no tables")
    full = f"{split_table(url)[0]}{'&' if '?' in split_table(url)[0] else '?'}table={table}"
    split_table(full)
    return full


def canonical_url(url: str) -> str:
    """The address with its file made absolute, so that it can be given to another process."""
    if scheme_of(url, "store") != "sqlite":
        return url
    return with_table(f"sqlite:///{sqlite_path(url)}", split_table(url)[1])


def _prefix(url: str) -> tuple[str, str]:
    """The address for its driver, and what the tables' names begin with."""
    address, table = split_table(url)
    return address, "callboard_" if table == TABLE else f"{table}_"


def open_store(url: str, clock: Clock, *, max_jobs: int = MEMORY_MAX_JOBS) -> JobStore:
    """Open a store by its address. One `memory://NAME` is the same store within a process.

    Raises:
        UnknownOption: Raised when the address is none of ours.
        StoreUnavailable: Raised when it can't be reached.
    """
    if scheme_of(url, "store") == "memory":
        return _memory_parts(url, clock, max_jobs)[0]
    if scheme_of(url, "store") in REDIS_SCHEMES:
        from callboard.backends.store.redis import open_redis  # noqa: PLC0415 - loaded when used

        return open_redis(url)
    if scheme_of(url, "store") in POSTGRESQL_SCHEMES:
        from callboard.backends.store.sql import SqlStoreOptions, open_postgresql  # noqa: PLC0415 - loaded when used

        address, prefix = _prefix(url)
        return open_postgresql(address, options=SqlStoreOptions(table_prefix=prefix))
    if scheme_of(url, "store") in MARIADB_SCHEMES:
        from callboard.backends.store.sql import SqlStoreOptions, open_mariadb  # noqa: PLC0415 - loaded when used

        address, prefix = _prefix(url)
        return open_mariadb(address, options=SqlStoreOptions(table_prefix=prefix))
    from callboard.backends.store.sql import SqlStoreOptions, open_sqlite  # noqa: PLC0415 - loaded when used

    return open_sqlite(sqlite_path(url), clock=clock, options=SqlStoreOptions(table_prefix=_prefix(url)[1]))


def migrate_store(url: str) -> None:
    """Make a SQL store's tables, or bring them up to date. Raises as `backends.store.sql.migrate_tables`."""
    from callboard.backends.store.sql import migrate_tables  # noqa: PLC0415 - loaded when used

    migrate_tables(*_kind_and_place(url), prefix=_prefix(url)[1])


def migration_sql(url: str) -> str:
    """What `migrate_store` would do, as SQL; "" where there is nothing to do."""
    from callboard.backends.store.sql import migration_sql  # noqa: PLC0415 - loaded when used

    return migration_sql(*_kind_and_place(url), prefix=_prefix(url)[1])


def _kind_and_place(url: str) -> tuple[str, str]:
    scheme = scheme_of(url, "store")
    if scheme == "sqlite":
        return scheme, sqlite_path(url)
    return "postgresql" if scheme in POSTGRESQL_SCHEMES else scheme, _prefix(url)[0]


def open_cluster(url: str, clock: Clock) -> ClusterBackend:
    """Open the cluster backend of a service, or the one that lives in a store's address.

    Raises:
        UnknownOption: Raised when the address is none of ours.
        ClusterUnavailable: Raised when it can't be reached.
    """
    if scheme_of(url, "cluster") not in STORE_SCHEMES:
        return _open_service(url)
    if scheme_of(url, "cluster") == "memory":
        return _memory_parts(url, clock, MEMORY_MAX_JOBS)[1]
    if scheme_of(url, "cluster") in REDIS_SCHEMES:
        from callboard.backends.cluster.redis import open_redis_cluster  # noqa: PLC0415 - loaded when used

        return open_redis_cluster(url)
    if scheme_of(url, "cluster") in POSTGRESQL_SCHEMES:
        from callboard.backends.cluster.server.postgresql import PostgresqlCluster  # noqa: PLC0415 - loaded when used

        address, prefix = _prefix(url)
        return PostgresqlCluster(address, prefix=prefix)
    if scheme_of(url, "cluster") in MARIADB_SCHEMES:
        from callboard.backends.cluster.server.mariadb import MariadbCluster  # noqa: PLC0415 - loaded when used

        address, prefix = _prefix(url)
        return MariadbCluster(address, prefix=prefix)
    from callboard.backends.cluster.sql import SqliteCluster  # noqa: PLC0415 - loaded when used

    return SqliteCluster(sqlite_path(url), clock=clock, prefix=_prefix(url)[1])


def _open_service(url: str) -> ClusterBackend:
    """The cluster of a service that keeps no jobs."""
    if scheme_of(url, "cluster") in CONSUL_SCHEMES:
        from callboard.backends.cluster.consul import open_consul_cluster  # noqa: PLC0415 - loaded when used

        return open_consul_cluster(url)
    if scheme_of(url, "cluster") in ZOOKEEPER_SCHEMES:
        from callboard.backends.cluster.zookeeper import open_zookeeper_cluster  # noqa: PLC0415 - loaded when used

        return open_zookeeper_cluster(url)
    from callboard.backends.cluster.etcd import open_etcd_cluster  # noqa: PLC0415 - loaded when used

    return open_etcd_cluster(url)


def _memory_parts(url: str, clock: Clock, max_jobs: int) -> tuple[JobStore, ClusterBackend]:
    from callboard.backends.cluster.memory import MemoryCluster  # noqa: PLC0415 - loaded when used
    from callboard.backends.store.memory import MemoryStore  # noqa: PLC0415 - loaded when used

    with _memory_lock:
        if url not in _memory:
            _memory[url] = (MemoryStore(max_jobs=max_jobs, clock=clock), MemoryCluster(clock=clock))
        return _memory[url]

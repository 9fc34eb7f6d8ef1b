"""What the acts need of a database: statements in its dialect, transactions, and how it hands out jobs.

The acts are written once, for every dialect. What differs is in the dialect's own folder: its statements where the
common ones do not do, its connections, its errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from .giving import Give
    from .tx import Tx


class Fence(Enum):
    """How a transaction holds the store's row, which says whose epoch counts."""

    LOOK = "row"  # not at all: the act is fenced by a session or by tokens
    SHARE = "row_share"  # no term can begin until this act is committed, and this one waits for a term that begins
    MOVE = "row_update"  # nobody else's act is under way


class Result(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """Rows that were changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left."""
        ...


class Connection(Protocol):
    """One transaction's connection."""

    def run(self, statement: str, values: Sequence[object] = (), /) -> Result:
        """Run a statement of the dialect's."""
        ...

    def do(self, statement: str, values: Sequence[object] = (), /) -> None:
        """Run a statement, at once or some time before the next `run` or the commit: nobody needs its answer."""
        ...

    def many(self, statement: str, rows: Sequence[tuple[object, ...]], /) -> int:
        """Run a statement for each row, in as few round trips as the dialect can, as `do`.

        How many rows were changed, or -1 where that is not known yet.
        """
        ...

    def later(self, statement: str, values: Sequence[object], sink: Callable[[list[Any]], None], /) -> None:
        """Run it in a transaction of its own once this one is committed, and give its rows to `sink`.

        Only where `Dialect.concurrent`. A hint: nothing is raised if it fails.
        """
        ...


@runtime_checkable
class Ahead(Protocol):
    """A connection that runs statements in one round trip."""

    def run_each(self, calls: Sequence[tuple[str, Sequence[object]]], /) -> Sequence[Result]:
        """Run statements in their order; what each gave."""
        ...


class Database(Protocol):
    """Connections to one database. Errors of its driver become StoreUnavailable, StoreReset or StoreError."""

    @property
    def name(self) -> str:
        """For messages: a path, or an address without its password."""
        ...

    def write(
        self, *, durable: bool = False, fence: Fence = Fence.LOOK
    ) -> AbstractContextManager[tuple[Connection, Any]]:
        """A write transaction: committed at the end, rolled back on any exception.

        With it comes the store's row, held as `fence` says.

        Args:
            durable: it survives a power loss when this returns.
            fence: how to hold the row.

        Raises:
            Clash: Raised when others were in the way so that trying again helps; nothing was done.
            CommitUncertain: Raised when nobody knows whether the commit was done.
        """
        ...

    def read(self) -> AbstractContextManager[tuple[Connection, Any]]:
        """A read transaction, and the store's row."""
        ...

    def tidy(self) -> None:
        """After each sweep: what the database's upkeep needs, without waiting; never raises."""
        ...

    def close(self) -> None:
        """Close every connection; harmless when repeated."""
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """One database's way.

    Attributes:
        name: as in addresses: sqlite, postgresql, mariadb.
        statements: `file.name` to its text.
        array: many values as one value of a statement.
        concurrent: transactions go on side by side: bells ring after the commit, and rows are locked.
        give: hands out ready jobs; see `giving.give`.
        insert: writes new jobs; see `giving.insert`.
    """

    name: str
    statements: Mapping[str, str]
    array: Callable[[Sequence[object]], object]
    concurrent: bool
    give: Callable[[Tx, Give], list[tuple[Any, ...]]]
    insert: Callable[[Tx, Sequence[tuple[Any, ...]]], Collection[str]]

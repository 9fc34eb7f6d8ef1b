"""Pushing inside a transaction of the caller's own: what is rolled back was never pushed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from callboard.core.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_WRAPPINGS_MAX: Final = 5


class Seen(NamedTuple):
    """What a push within a caller's transaction must know, as it was seen from outside of it, just before.

    Looked up inside it may be of long ago, and whatever is met by an INSERT stays locked until the caller commits.

    Attributes:
        queues: rows of `producer.queues_of`, one of each of its queues.
        ids: those of its jobs that the store has already.
        holders: by unique key, the job that holds it.
    """

    queues: Sequence[tuple[Any, ...]]
    ids: frozenset[str]
    holders: Mapping[str, str]


def driver_connection(given: object, is_ours: Callable[[object], bool]) -> Any:
    """The driver's connection in a Session or Connection of SQLAlchemy's, Django's wrapper, or itself.

    Where it is SQLAlchemy's, its transaction has begun by then: so its commit commits.

    Args:
        given: what the caller has.
        is_ours: whether it is a connection of the store's driver.

    Raises:
        InvalidArgument: Raised when there is none in it.
    """
    inner: Any = given
    for _ in range(_WRAPPINGS_MAX):
        if is_ours(inner):
            return inner
        if callable(ensure := getattr(inner, "ensure_connection", None)):  # Django's
            ensure()
        if callable(in_transaction := getattr(inner, "in_transaction", None)) and not in_transaction():
            inner.begin()
        held = getattr(inner, "driver_connection", None) or getattr(inner, "connection", None)
        inner = held() if callable(held) and not is_ours(held) else held  # a sqlite3.Connection can be called
        if inner is None:
            break
    raise InvalidArgument(f"{type(given).__module__}.{type(given).__qualname__} is no connection to the job store's "
                          "database: give SQLAlchemy's Session or Connection, Django's connection, or the driver's")

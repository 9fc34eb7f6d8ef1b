"""The store on a SQL database, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .aging import AgingPart
from .assign import AssignPart
from .leader import LeaderPart
from .node import NodePart
from .operator import OperatorPart
from .producer import Bound, ProducerPart
from .reads import ReadPart
from .schedules import SchedulePart
from .sweep import SweepPart

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.ports import Bell
    from callboard.core.records import Characteristics

    from .dialect import Database, Dialect
    from .options import SqlStoreOptions


class StoreBells(Protocol):
    """How clients of one store wake each other."""

    def listen(self, topic: str, callback: Callable[[], None]) -> Bell:
        """Call back at each ring of topic, until the handle is closed."""
        ...

    def ring(self, topic: str) -> None:
        """Wake who listens to topic. Never blocks, never raises."""
        ...

    def close(self) -> None:
        """Ring and listen no more."""
        ...


class SqlStore(
    AssignPart, LeaderPart, SweepPart, NodePart, OperatorPart, AgingPart, ReadPart, SchedulePart, ProducerPart
):
    """`callboard.core.ports.JobStore` on a SQL database; its dialects add their clock and characteristics.

    Every method may be called from any thread, and after a fork.
    """

    def __init__(self, database: Database, dialect: Dialect, bells: StoreBells, options: SqlStoreOptions) -> None:
        """Serve from this database, which has its tables."""
        self._database = database
        self._dialect = dialect
        self._bells = bells
        self._options = options
        self._bound = Bound(options.queue_max_jobs)
        with database.read() as (_, row):
            self._store_id = row.store_id

    @property
    def characteristics(self) -> Characteristics:
        """What it guarantees and what not: the dialect says."""
        raise NotImplementedError

    def listen(self, topic: str, callback: Callable[[], None]) -> Bell:
        """See the port."""
        return self._bells.listen(topic, callback)

    def ring(self, topic: str) -> None:
        """See the port."""
        self._bells.ring(topic)

    def close(self) -> None:
        """See the port."""
        self._bells.close()
        self._database.close()

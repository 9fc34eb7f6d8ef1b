"""A look, now and then, at what slows PostgreSQL down: rows that are dead and can't be cleaned away."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from callboard.core.errors import QueueError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .database import Database

_LOG: Final = logging.getLogger(__name__)
EVERY_S: Final = 60.0
"""How often it looks at most."""
AGAIN_S: Final = 900.0
"""How often it warns at most."""
OLD_S: Final = 300.0
"""A transaction that has been open for so long keeps what died since from being cleaned away."""
DEAD_MAX: Final = 200_000
"""Dead rows among the jobs, and more of them than of the others: assigning has become slow."""


class Upkeep:
    """Looks after the sweeps of one store object."""

    def __init__(self, database: Database, statements: Mapping[str, str]) -> None:
        """Look at this database."""
        self._database = database
        self._statement = statements["sweep.upkeep"]
        self._looked_s = -EVERY_S
        self._warned_s = -AGAIN_S

    def look(self) -> None:
        """Warn where there is a reason. Never raises."""
        now_s = time.monotonic()
        if now_s - self._looked_s < EVERY_S or now_s - self._warned_s < AGAIN_S:
            return
        self._looked_s = now_s
        try:
            with self._database.read() as (link, _):
                pid, what, open_s, dead, live = link.run(self._statement, (OLD_S,)).fetchone()
        except QueueError as error:
            _LOG.info("could not look whether the job tables are cleaned: %s", error)
            return
        if pid is not None:
            self._warned_s = now_s
            _LOG.warning("a transaction on the database server has been open for %d s (process %s, %s): until it ends, "
                         "dead rows can't be cleaned away, and assigning gets slower and slower", open_s, pid, what)
        elif dead > DEAD_MAX and dead > live:
            self._warned_s = now_s
            _LOG.warning("the table of jobs has %d dead rows beside %d live ones: is autovacuum on? Is a transaction "
                         "open, a prepared one or a replication slot left behind?", dead, live)

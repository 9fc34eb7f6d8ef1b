"""Handing out ready jobs in steps: choose, draw tokens, write. A dialect that can do it in one statement does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.core.records import JobState

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from callboard.core.records import IsolatedJob

    from .tx import Tx


class Give(NamedTuple):
    """Jobs that a session is to get.

    Attributes:
        node: the session's.
        queue, at_most: the first so many by rank that have not expired.
        run: they are taken at once: give what a node needs to run them.
        alone: only this one, which must run alone.
    """

    session: int
    node: str
    epoch: int
    queue: str
    at_most: int
    run: bool
    alone: IsolatedJob | None = None

    @property
    def state(self) -> int:
        """The jobs' next state."""
        return int(JobState.RUNNING if self.run else JobState.ASSIGNED)


def give(tx: Tx, order: Give) -> list[tuple[Any, ...]]:
    """Move the jobs, by rank: of each its `TakenColumns` (only n, unless they are to run) and its token's seq."""
    if order.alone is not None:
        rows = tx.run("leader.isolated_job", order.alone.ref, order.alone.id, order.queue, tx.now_ms).fetchall()
    else:
        name = "leader.next_jobs" if order.run else "leader.next_n"
        rows = tx.run(name, order.queue, order.at_most, tx.now_ms).fetchall()
    if not rows:
        return []
    (last,) = tx.run("leader.draw_tokens", len(rows)).fetchone()
    given = [(*row, seq) for seq, row in enumerate(rows, last - len(rows) + 1)]
    taken_ms = tx.now_ms if order.run else None
    tx.many("leader.give", [
        (order.state, order.session, order.epoch, row[-1], order.node, tx.now_ms, taken_ms, row[0]) for row in given])
    return given


def insert(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> Collection[str]:
    """Write new jobs, of which the first value is the id, where one transaction writes at a time; ids that are new."""
    new = tx.many("producer.insert", rows)
    if new == len(rows):
        return [row[0] for row in rows]
    # n only grows, so the new rows are the last ones
    (last,) = tx.run("producer.last_n").fetchone()
    return [job_id for (job_id,) in tx.run("producer.inserted_since", (last or 0) - new)]

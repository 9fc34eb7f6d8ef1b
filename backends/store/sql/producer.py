"""Pushing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from callboard.core.errors import PushOutcomeUnknown, QueueFull
from callboard.core.lifecycle import landing
from callboard.core.rank import rank
from callboard.core.records import JobState, PushReceipt

from .sqlite_errors import CommitUncertain
from .statements import load
from .taken import pack_backoff
from .tx import Part, Tx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import NewJob

_SQL: Final = load("producer.sql")


class ProducerPart(Part):
    """`callboard.core.ports.Producer`."""

    def push(self, jobs: Sequence[NewJob]) -> PushReceipt:
        """See the port. The transaction is synced to the disk before this returns."""
        if not jobs:
            return PushReceipt((), 0, rang=False)
        try:
            with self._act(durable=True) as tx:
                return push_in(tx, jobs, self._options.queue_max_jobs)
        except CommitUncertain as error:
            raise PushOutcomeUnknown(error.message, tuple(job.id for job in jobs), cause=error) from error

    def store_now_ms(self) -> int:
        """See the port."""
        with self._look() as tx:
            return tx.now_ms

def push_in(tx: Tx, jobs: Sequence[NewJob], queue_max_jobs: int) -> PushReceipt:
    """Push within a transaction; raises QueueFull, which must undo it, when a queue would hold too many."""
    aging = {queue: tx.aging_s(queue) for queue in {job.queue for job in jobs}}
    states = [int(landing(JobState.DELAYED, job.delay_s)) for job in jobs]
    rows = [_row(job, state, tx.now_ms, aging[job.queue]) for job, state in zip(jobs, states, strict=True)]
    new = tx.executemany(_SQL["insert"], rows).rowcount
    moved = Counter((job.queue, state) for job, state in zip(jobs, states, strict=True))
    ids = tuple(job.id for job in jobs)
    if new < len(rows):
        # n only grows within a transaction of the one writer, so the new rows are the last ones
        last = tx.execute(_SQL["last_n"]).fetchone()[0] or 0
        moved = Counter({(queue, state): k for queue, state, k in tx.execute(_SQL["inserted_since"], (last - new,))})
        ids = tuple(_stored_id(tx, job) for job in jobs)
    for (queue, state), k in moved.items():
        tx.moved(queue, None, JobState(state), k)
    tx.settle()
    for queue in {queue for queue, _ in moved}:
        (live,) = tx.execute(_SQL["live_jobs"], (queue,)).fetchone()
        if live > queue_max_jobs:
            raise QueueFull(f"queue {queue} would hold {live:,} jobs that are not done, its limit is "
                            f"{queue_max_jobs:,}; push again later")
    rang = tx.became_ready({queue for queue, state in moved if state == JobState.READY})
    return PushReceipt(ids, new, rang)


def _row(job: NewJob, state: int, now_ms: int, aging_s: float) -> tuple[object, ...]:
    due_ms = now_ms + round(job.delay_s * 1000) if job.delay_s > 0 else now_ms
    return (
        job.id, job.queue, state, int(job.has_failed_hook), job.priority,
        rank(job.priority, due_ms, aging_s), due_ms, now_ms, job.name, job.max_attempts, job.timeout_s,
        pack_backoff(job.backoff), job.unique, job.body,
    )


def _stored_id(tx: Tx, job: NewJob) -> str:
    """The id that the job has in the store after its push."""
    if job.unique is None or tx.execute(_SQL["known_id"], (job.id,)).fetchone():
        return job.id
    return str(tx.execute(_SQL["unique_holder"], (job.unique,)).fetchone()[0])

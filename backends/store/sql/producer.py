"""Pushing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from callboard.core.errors import PushOutcomeUnknown, QueueFull
from callboard.core.lifecycle import landing
from callboard.core.rank import rank
from callboard.core.records import JobState, PushReceipt

from .errors import Clash, CommitUncertain
from .taken import pack_backoff
from .tx import Part, Tx, again

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.core.records import NewJob

    from .dialect import Dialect



class ProducerPart(Part):
    """`callboard.core.ports.Producer`."""

    def push(self, jobs: Sequence[NewJob]) -> PushReceipt:
        """See the port. The transaction is synced to the disk before this returns."""
        if not jobs:
            return PushReceipt((), 0, rang=False)
        try:
            return self._push(jobs)
        except CommitUncertain as error:
            raise PushOutcomeUnknown(error.message, tuple(job.id for job in jobs), cause=error) from error

    @again
    def _push(self, jobs: Sequence[NewJob]) -> PushReceipt:
        with self._act(durable=True) as tx:
            ids, new = push_in(tx, self._dialect, jobs, self._options.queue_max_jobs)
        return PushReceipt(ids, new, tx.rang)

    def store_now_ms(self) -> int:
        """See the port."""
        with self._look() as tx:
            return tx.now_ms


def push_in(
    tx: Tx, dialect: Dialect, jobs: Sequence[NewJob], queue_max_jobs: int
) -> tuple[tuple[str, ...], int]:
    """Push within a transaction: the ids in the store, and how many are new.

    Raises:
        QueueFull: Raised, and the transaction must be undone, when a queue would hold too many.
    """
    aging = _aging(tx, sorted({job.queue for job in jobs}))
    states = [landing(JobState.DELAYED, job.delay_s) for job in jobs]
    rows = [_row(job, state, tx.now_ms, aging[job.queue]) for job, state in zip(jobs, states, strict=True)]
    new = set(dialect.insert(tx, rows))
    ids = tuple(job.id if job.id in new else _stored_id(tx, job) for job in jobs)
    left = set(new)
    pushed: Counter[tuple[str, JobState]] = Counter()
    for job, state in zip(jobs, states, strict=True):
        if job.id in left:
            left.discard(job.id)
            pushed[job.queue, state] += 1
    for (queue, state), k in pushed.items():
        tx.moved(queue, None, state, k)
        if state is JobState.READY:
            tx.became_ready(queue)
    for queue in {queue for queue, _ in pushed}:
        found = tx.run("producer.live_jobs", queue).fetchone()
        live = (found[0] if found else 0) + pushed[queue, JobState.READY] + pushed[queue, JobState.DELAYED]
        if live > queue_max_jobs:
            raise QueueFull(f"queue {queue} would hold {live:,} jobs that are not done, its limit is "
                            f"{queue_max_jobs:,}; push again later")
    return ids, len(new)


def _aging(tx: Tx, queues: Sequence[str]) -> dict[str, float]:
    """Seconds by queue; queues that are new are known from now on."""
    found = dict(tx.run("producer.queues_of", tx.array(queues)).fetchall())
    tx.many("node.know_queue", [(queue,) for queue in queues if queue not in found])
    return {queue: tx.know_aging(queue, found.get(queue)) for queue in queues}


def _row(job: NewJob, state: JobState, now_ms: int, aging_s: float) -> tuple[object, ...]:
    due_ms = now_ms + round(job.delay_s * 1000) if job.delay_s > 0 else now_ms
    return (
        job.id, job.queue, int(state), int(job.has_failed_hook), job.priority,
        rank(job.priority, due_ms, aging_s), due_ms, now_ms, job.name, job.max_attempts, job.timeout_s,
        pack_backoff(job.backoff), job.unique, job.body,
    )


def _stored_id(tx: Tx, job: NewJob) -> str:
    """The id that the job has in the store after its push."""
    if job.unique is None or tx.run("producer.known_id", job.id).fetchone():
        return job.id
    holder = tx.run("producer.unique_holder", job.unique).fetchone()
    if holder is None:
        raise Clash(f"the job that held the unique key of {job.id} ended meanwhile; push again")
    return str(holder[0])

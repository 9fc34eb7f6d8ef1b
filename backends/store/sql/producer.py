"""Pushing."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from callboard.core.errors import PushOutcomeUnknown, QueueFull
from callboard.core.lifecycle import landing
from callboard.core.rank import rank
from callboard.core.records import JobState, PushReceipt, UniqueUntil

from .again import again
from .errors import Clash, CommitUncertain
from .guests import Seen
from .taken import pack_backoff
from .tx import Part, Tx

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from callboard.core.records import NewJob

    from .dialect import Dialect



FAR_JOBS: Final = 1_000_000
FAR_S: Final = 1.0
"""Nobody pushes so many jobs in so short a time."""


class ProducerPart(Part):
    """`callboard.core.ports.Producer`."""

    def push(self, jobs: Sequence[NewJob], *, connection: object = None) -> PushReceipt:
        """See the port. The transaction is synced to the disk before this returns.

        Args:
            jobs: what to push.
            connection: with it, the jobs are part of the transaction that this connection is in: they are there when it
                commits, and never were when it is rolled back; nothing is pushed when this raises. It keeps unique keys
                and ids from others until then.

        Raises:
            InvalidArgument: Raised when the connection is to another database, or in no transaction.
        """
        if not jobs:
            return PushReceipt((), 0, rang=False)
        if connection is not None:
            return self.push_within(jobs, connection)
        try:
            return self._push(jobs)
        except CommitUncertain as error:
            raise PushOutcomeUnknown(error.message, tuple(job.id for job in jobs), cause=error) from error

    @again
    def _push(self, jobs: Sequence[NewJob]) -> PushReceipt:
        with self._act(durable=True) as tx:
            ids, new = push_in(tx, self._dialect, jobs, self._bound)
        return PushReceipt(ids, new, tx.rang)

    def push_within(self, jobs: Sequence[NewJob], connection: object) -> PushReceipt:
        """The same as `push` with a connection."""
        seen = self._look_around(jobs) if self._dialect.concurrent else None
        with self._visit(connection) as tx:
            if seen is not None:
                tx.seen = seen._replace(ids=seen.ids | _known_ids(tx, jobs))  # its own, which nobody else sees yet
            ids, new = push_in(tx, self._dialect, jobs, self._bound)
        return PushReceipt(ids, new, rang=False)

    @again
    def _look_around(self, jobs: Sequence[NewJob]) -> Seen:
        """Look from outside the caller's transaction, and leave nothing to it that others would wait for.

        Its queues are made known, and keys that have expired are free afterwards.
        """
        queues = sorted({job.queue for job in jobs})
        keys = sorted({job.unique for job in jobs if job.unique is not None})
        with self._act() as tx:
            tx.many("node.know_queue", [(queue,) for queue in queues])
            found = tx.run("producer.queues_of", tx.array(queues)).fetchall()
            held = tx.run("producer.holders_of", tx.array(keys)).fetchall() if keys else []
            over = {key for key, _, until_ms in held if until_ms is not None and until_ms <= tx.now_ms}
            tx.many("producer.drop_expired_key", [(key, tx.now_ms) for key in sorted(over)])
            return Seen(found, _known_ids(tx, jobs), {key: str(holder) for key, holder, _ in held if key not in over})

    def store_now_ms(self) -> int:
        """See the port."""
        with self._look() as tx:
            return tx.now_ms


class Bound:
    """How many jobs of one queue may wait or run; a queue that is far from it is not counted for each push."""

    def __init__(self, most: int) -> None:
        """No queue was counted yet."""
        self.most = most
        self._far: dict[str, float] = {}

    def is_far(self, queue: str) -> bool:
        """It was far from its bound a moment ago: whatever was pushed since, it has not reached it."""
        return time.monotonic() < self._far.get(queue, 0.0)

    def note(self, queue: str, live: int) -> None:
        """The queue has so many."""
        if self.most - live > FAR_JOBS:
            self._far[queue] = time.monotonic() + FAR_S


def push_in(tx: Tx, dialect: Dialect, jobs: Sequence[NewJob], bound: Bound) -> tuple[tuple[str, ...], int]:
    """Push within a transaction: the ids in the store, and how many are new.

    Raises:
        QueueFull: Raised, and the transaction must be undone, when a queue would hold too many.
    """
    aging, limited = _aging(tx, sorted({job.queue for job in jobs}))
    states = [landing(JobState.DELAYED, job.delay_s) for job in jobs]
    holders, took = _holders(tx, jobs)
    known = set[str]() if tx.seen is None else set(tx.seen.ids)
    rows: list[tuple[object, ...]] = []
    for job, state in zip(jobs, states, strict=True):
        if holders.get(job.id, job.id) == job.id and job.id not in known:
            rows.append(_row(job, state, tx.now_ms, aging[job.queue]))
            if tx.seen is not None:
                known.add(job.id)
    new = set(dialect.insert(tx, rows) if rows else ())
    for job_id, key in took.items():
        if job_id not in new:  # pushed since the look for known ids, and perhaps ended: a key must not outlive its job
            tx.run("producer.drop_key", key, job_id)
    ids = tuple(holders.get(job.id, job.id) for job in jobs)
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
    _refuse_too_many(tx, pushed, bound, limited)
    return ids, len(new)


def _refuse_too_many(
    tx: Tx, pushed: Counter[tuple[str, JobState]], bound: Bound, limited: Collection[str]
) -> None:
    for queue in {queue for queue, _ in pushed}:
        if bound.is_far(queue) and queue not in limited:
            continue
        live, depth, max_depth = tx.run("producer.live_jobs", queue).fetchone() or (0, 0, None)
        more = pushed[queue, JobState.READY] + pushed[queue, JobState.DELAYED]
        bound.note(queue, live + more)
        if live + more > bound.most:
            raise QueueFull(f"queue {queue} would hold {live + more:,} jobs that are not done, its limit is "
                            f"{bound.most:,}; push again later")
        if max_depth is not None and depth + more > max_depth:
            raise QueueFull(f"{depth + more:,} jobs would wait in queue {queue}, its limit is {max_depth:,} "
                            "(`callboard limit`); push again later")


def _aging(tx: Tx, queues: Sequence[str]) -> tuple[dict[str, float], Sequence[str]]:
    """Seconds by queue, and the queues that have a depth; queues that are new are known from now on."""
    found: dict[str, int | None] = {}
    limited: list[str] = []
    rows = tx.run("producer.queues_of", tx.array(queues)) if tx.seen is None else tx.seen.queues
    for queue, aging_ms, max_depth in rows:
        found[queue] = aging_ms
        if max_depth is not None:
            limited.append(queue)
    if limited:  # pushes into them follow each other: each sees what the one before has added
        tx.lock("producer.lock_queues", tx.array(sorted(limited)))
    tx.many("node.know_queue", [(queue,) for queue in queues if queue not in found])
    return {queue: tx.know_aging(queue, found.get(queue)) for queue in queues}, limited


def _row(job: NewJob, state: JobState, now_ms: int, aging_s: float) -> tuple[object, ...]:
    due_ms = now_ms + round(job.delay_s * 1000) if job.delay_s > 0 else now_ms
    return (
        job.id, job.queue, int(state), int(job.has_failed_hook), job.priority,
        rank(job.priority, due_ms, aging_s), due_ms, now_ms, job.name, job.max_attempts, job.timeout_s,
        pack_backoff(job.backoff), job.unique, int(job.unique_until), int(job.at_most_once),
        None if job.expires_s is None else now_ms + round(job.expires_s * 1000), round(job.result_ttl_s * 1000),
        job.body,
    )


def _holders(tx: Tx, jobs: Sequence[NewJob]) -> tuple[dict[str, str], dict[str, str]]:
    """For jobs with a unique key, by id: who holds it now; and the keys that were taken just now.

    An id that the store knows holds nothing anew.
    """
    wishes = [job for job in jobs if job.unique is not None]
    took: dict[str, str] = {}
    if not wishes:
        return {}, took
    known = _known_ids(tx, wishes) if tx.seen is None else tx.seen.ids
    holders: dict[str, str] = {}
    for job in sorted(wishes, key=lambda job: job.unique or ""):  # in one order: no two acts wait for each other
        if job.id not in known and job.id not in holders:
            period = job.unique_until is UniqueUntil.PERIOD
            until_ms = tx.now_ms + round((job.unique_period_s or 0.0) * 1000) if period else None
            holder = take_key(tx, job.unique or "", job.id, until_ms)
            holders[job.id] = job.id if holder is None else holder
            if holder is None:
                took[job.id] = job.unique or ""
    return holders, took


def _known_ids(tx: Tx, jobs: Sequence[NewJob]) -> frozenset[str]:
    """Those of the jobs' ids that the store has."""
    return frozenset(job_id for (job_id,) in tx.run("producer.known_ids", tx.array([job.id for job in jobs])))


def take_key(tx: Tx, key: str, job_id: str, until_ms: int | None) -> str | None:
    """Take a unique key for a job, unless one holds it; who holds it then, None: the key was free.

    Raises:
        Clash: Raised when the holder let it go just now.
    """
    if tx.seen is None:
        took = tx.run("producer.take_key", key, job_id, until_ms, tx.now_ms)
    elif (held := tx.seen.holders.get(key)) is not None:
        return held  # its row is not touched: who holds it could not end until the caller commits
    else:
        took = tx.run("producer.take_key_within", key, job_id, until_ms)
    if took.rowcount:
        return None
    holder = tx.run("producer.key_holder", key).fetchone()
    if holder is None:
        raise Clash(f"the job that held the unique key of {job_id} ended meanwhile; push again")
    return str(holder[0])

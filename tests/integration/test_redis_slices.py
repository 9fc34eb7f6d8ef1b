"""What the Redis store does in slices, so that no script keeps the server for long: reads, purge, forget, batches."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from servers import shared

from callboard.backends.store.redis import open_redis, operator, reads
from callboard.core.errors import InvalidArgument
from callboard.core.records import (
    Assignment,
    Held,
    JobState,
    NewJob,
    NodeInfo,
    Outcome,
    OutcomeKind,
    Plan,
    PoolReport,
    QueueShare,
    TermClaim,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from callboard.backends.store.redis import RedisStore

QUEUES = ("q", "r")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisStore]:
    """A store that looks at 7 rows at a time."""
    monkeypatch.setattr(reads, "_LOOK_AT", 7)
    monkeypatch.setattr(operator, "_AT_ONCE", 7)
    made = open_redis(f"{shared.url('redis')}?name=slices-{uuid4().hex}")
    yield made
    made.close()


def job(number: int, **options: object) -> NewJob:
    """A job."""
    return NewJob(f"j{number:04d}", "app.work", QUEUES[number % 2], b"\x80", **options)


def scene(store: RedisStore) -> None:
    """Jobs in every state, of two queues, of random priority."""
    chance = random.Random(7)
    epoch = store.begin_term(TermClaim("c", "redis", 1, "boot"))
    pools = tuple(PoolReport(queue, (QueueShare(queue),), 500, 500) for queue in QUEUES)
    sessions = [store.open_session(NodeInfo(f"n{n}", f"b{n}"), 5.0, pools) for n in range(3)]
    store.push([job(n, priority=chance.randint(-5, 5), delay_s=chance.choice([0.0, 0.0, 0.0, 0.0, 900.0]))
                for n in range(300)])
    for session in sessions:
        for queue in QUEUES:
            store.assign(epoch, Plan((Assignment(session, queue, queue, 30),)))
        taken = list(store.take(session, QUEUES))
        chance.shuffle(taken)
        kinds = [chance.choice([OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.CANCELLED]) for _ in taken[:45]]
        store.finish(session, [Outcome(Held(one.ref, one.id, one.token), kind, 0.0, b"x")
                               for one, kind in zip(taken, kinds, strict=False)])
        store.assign(epoch, Plan((Assignment(session, "q", "q", 5),)))


def test_pages_are_whole_and_in_order_however_many_slices_they_take(store: RedisStore):
    scene(store)
    every = [store.job(f"j{n:04d}") for n in range(300)]
    for state in JobState:
        for queue in (None, *QUEUES):
            expected = [one.id for one in reversed(every) if one.state is state and queue in {None, one.queue}]
            assert [one.id for one in store.jobs(state, queue, 1_000)] == expected
            assert [one.id for one in store.jobs(state, queue, 5)] == expected[:5]
            pages, before = [], None
            while page := store.jobs(state, queue, 4, before):
                pages += [one.id for one in page]
                before = page[-1].id
            assert pages == expected, (state, queue)


def test_purge_takes_all_that_waits_in_several_acts(store: RedisStore):
    scene(store)
    counts = {one.queue: one for one in store.counts()}
    waiting = counts["q"].delayed + counts["q"].ready + counts["q"].assigned
    assert waiting > 20
    assert store.purge("q") == waiting
    after = {one.queue: one for one in store.counts()}
    assert after["q"]._replace(delayed=0, ready=0, assigned=0) == after["q"]
    assert after["r"] == counts["r"]
    assert after["q"].running == counts["q"].running


@pytest.mark.parametrize("queue", [None, "q"])
def test_forget_takes_all_that_failed_in_several_acts(store: RedisStore, queue: str | None):
    scene(store)
    failed = len(store.jobs(JobState.FAILED, queue, 1_000))
    assert failed > 20
    assert store.forget_failed(None, queue) == failed
    assert store.jobs(JobState.FAILED, queue, 1_000) == ()
    left = len(store.jobs(JobState.FAILED, None, 1_000))
    assert (left > 0) == (queue is not None)
    names = [one.id for one in store.jobs(JobState.FAILED, None, 1_000)]
    assert store.forget_failed([*names, *names, "nope"]) == left


def test_a_batch_of_more_than_a_script_passes_at_once(store: RedisStore):
    many = [job(number, unique=f"k{number}" if number % 3 else None) for number in range(6_001)]
    assert store.push(many).new == 6_001
    assert store.push(many).new == 0
    epoch = store.begin_term(TermClaim("c", "redis", 1, "boot"))
    pools = tuple(PoolReport(queue, (QueueShare(queue),), 5_000, 5_000) for queue in QUEUES)
    session = store.open_session(NodeInfo("n", "b"), 5.0, pools)
    store.assign(epoch, Plan(tuple(Assignment(session, queue, queue, 5_000) for queue in QUEUES)))
    taken = store.take(session, QUEUES)
    assert len({one.token for one in taken}) == len(taken) == 6_001
    receipt = store.finish(session, [Outcome(Held(one.ref, one.id, one.token), OutcomeKind.COMPLETED) for one in taken])
    assert (receipt.applied, receipt.stale) == (6_001, ())
    assert store.sweep(epoch, 10_000) == 0
    assert store.push([job(6_002, unique="k1")]).new == 1, "its key is free"


def test_a_push_that_no_server_takes_is_refused(store: RedisStore):
    body = bytes(100 << 20)
    with pytest.raises(InvalidArgument, match="MiB"):
        store.push([NewJob(f"big-{number}", "app.work", "q", body) for number in range(3)])

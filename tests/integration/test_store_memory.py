"""What only the memory store does: it stays bounded whatever happens, and its bells have a thread of their own."""

from __future__ import annotations

import threading

import pytest

from callboard.backends.bells import Bells
from callboard.backends.store.memory import MemoryStore, table
from callboard.core.errors import QueueFull, StoreUnavailable
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
from callboard.core.retention import Retention

WAIT_S = 20.0


def jobs(*ids: str) -> list[NewJob]:
    """Jobs of these ids."""
    return [NewJob(job_id, "n", "q", b"\x80") for job_id in ids]


def test_a_thousand_jobs_by_default_and_not_one_more():
    store = MemoryStore()
    store.push(jobs(*map(str, range(1_000))))
    with pytest.raises(QueueFull, match="1,000"):
        store.push(jobs("more"))
    store.cancel("0")
    assert store.push(jobs("more")).new == 1


def test_without_a_leader_what_is_over_stays_bounded(monkeypatch):
    monkeypatch.setattr(table, "REMEMBERED_MAX", 50)
    store = MemoryStore(max_jobs=5, retention=Retention(finished_max=10))
    for number in range(500):
        store.push(jobs(f"cancelled-{number}", f"purged-{number}"))
        store.cancel(f"cancelled-{number}")
        store.purge("q")
    inside = store._table
    assert len(inside.rows) == len(inside.by_id) == len(inside.finished) <= 21
    assert len(inside.remembered) == 50
    assert len(inside.queues["q"].ready._heap) <= 100
    assert store.push(jobs("purged-499")).new == 0
    assert store.counts(["q"])[0].cancelled == 500


def test_heaps_do_not_grow_with_what_was_cancelled():
    store = MemoryStore(max_jobs=10)
    for number in range(2_000):
        store.push([NewJob(f"ready-{number}", "n", "q", b"", priority=-1),
                    NewJob(f"late-{number}", "n", "q", b"", delay_s=1e6)])
        store.cancel(f"ready-{number}")
        store.cancel(f"late-{number}")
    assert len(store._table.queues["q"].ready._heap) <= 100
    assert len(store._table.delayed._heap) <= 100


def test_failed_jobs_are_bounded_too():
    store = MemoryStore(retention=Retention(failed_max=3))
    epoch = store.begin_term(TermClaim("c", "memory", 1, "b"))
    session = store.open_session(NodeInfo("n", "b"), 5.0, [PoolReport("q", (QueueShare("q"),), 1, 1)])
    for number in range(30):
        store.push(jobs(f"j{number}"))
        (taken,) = store.assign(epoch, Plan((Assignment(session, "q", "q", 1),)), session).taken
        store.finish(session, [Outcome(Held(taken.ref, taken.id, taken.token), OutcomeKind.FAILED)])
    assert len(store.jobs(JobState.FAILED, None, 100)) <= 7
    assert store.counts(["q"])[0].failed <= 7


def test_a_closed_store_says_so():
    store = MemoryStore()
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.push(jobs("a"))
    with pytest.raises(StoreUnavailable, match="closed"):
        store.store_now_ms()


def test_many_threads_lose_nothing_and_do_nothing_twice():
    store = MemoryStore(max_jobs=100_000)
    epoch = store.begin_term(TermClaim("c", "memory", 1, "b"))
    done: list[str] = []
    stop = threading.Event()

    def work(number: int) -> None:
        session = store.open_session(NodeInfo(f"n{number}", "b"), 5.0, [PoolReport("q", (QueueShare("q"),), 8, 8)])
        while not stop.is_set():
            store.assign(epoch, Plan((Assignment(session, "q", "q", 8),)))
            taken = store.take(session, ["q"])
            ends = [Outcome(Held(one.ref, one.id, one.token), OutcomeKind.COMPLETED) for one in taken]
            assert store.finish(session, ends).applied == len(ends)
            done.extend(one.id for one in taken)
            if len(done) >= 3_000:
                stop.set()

    def push(number: int) -> None:
        for batch in range(100):
            store.push(jobs(*(f"{number}-{batch}-{part}" for part in range(10))))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    threads += [threading.Thread(target=push, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert len(done) == len(set(done)) == 3_000
    assert store.counts(["q"])[0].completed == 3_000


# Bells ----------------------------------------------------------------------------------------------------------------


def test_rings_during_a_callback_are_one_more_call():
    bells = Bells("test-bells")
    calls: list[str] = []
    entered, go_on, over = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        calls.append("slow")
        entered.set()
        go_on.wait(WAIT_S)

    bells.listen("slow", slow)
    bells.listen("end", over.set)
    bells.ring("slow")
    assert entered.wait(WAIT_S)
    for _ in range(50):
        bells.ring("slow")
    bells.ring("end")
    go_on.set()
    assert over.wait(WAIT_S)
    assert calls == ["slow", "slow"]
    bells.close()


def test_closing_ends_the_thread():
    bells = Bells("test-bells-closed")
    heard = threading.Event()
    bells.listen("topic", heard.set)
    bells.ring("topic")
    assert heard.wait(WAIT_S)
    bells.close()
    assert "test-bells-closed" not in {thread.name for thread in threading.enumerate()}
    bells.ring("topic")
    bells.close()


def test_a_callback_may_close():
    bells = Bells("test-bells-itself")
    over = threading.Event()

    def callback() -> None:
        bells.close()
        over.set()

    bells.listen("topic", callback)
    bells.ring("topic")
    assert over.wait(WAIT_S)


def test_nobody_listens_no_thread():
    bells = Bells("test-bells-idle")
    bells.ring("topic")
    assert "test-bells-idle" not in {thread.name for thread in threading.enumerate()}

"""callboard.Scheduler with a node: what is written by a program is fired by the leader, once a tick."""

from __future__ import annotations

import queue as queues
from dataclasses import replace
from typing import TYPE_CHECKING

import callboard
from callboard.core.records import JobState
from callboard.core.schedule import tick_job_id

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S = 30.0
MINUTE_MS = 60_000


@callboard.job
def sched_node_tick(path: str) -> None:
    """Leave a mark for each run."""
    with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - append, in one write
        file.write(f"{callboard.current_job().job_id}\n")


def test_the_leader_fires_what_a_program_wrote(tmp_path: Path):
    queue = callboard.connect(f"sqlite:///{tmp_path}/jobs.db")
    marks = tmp_path / "marks"
    marks.touch()
    scheduler = callboard.Scheduler(queue)
    scheduler.add(sched_node_tick.bind(str(marks)), "* * * * *", name="minutely", missed="all", window=3_600)
    scheduler.start()
    # As if it had been written three minutes ago, and no node had been there since.
    (row,) = queue.store.schedules()
    now_ms = queue.store.store_now_ms()
    scheduler.remove("minutely")
    queue.store.put_schedule(replace(row, last_tick_ms=now_ms - now_ms % MINUTE_MS - 3 * MINUTE_MS))
    expected = {tick_job_id("minutely", now_ms - now_ms % MINUTE_MS - back * MINUTE_MS) for back in (0, 1, 2)}

    done: queues.Queue[str] = queues.Queue()
    config = callboard.WorkerConfig(concurrency=1, lease_ttl=1, app=(__name__,))  # not every other test's jobs
    worker = callboard.Worker(queue, config)
    worker.pool.set_on_completed(lambda job: done.put(job.id))
    with worker:
        ids = {done.get(timeout=WAIT_S) for _ in range(3)}
    assert ids == expected
    ran = marks.read_text().splitlines()
    assert len(ran) == len(set(ran))
    assert expected <= set(ran)
    assert {job.id for job in queue.store.jobs(JobState.COMPLETED, None, 100)} == set(ran)
    (entry,) = scheduler.list()
    assert entry.next_tick is not None
    assert entry.next_tick.timestamp() * 1000 > now_ms
    queue.close()

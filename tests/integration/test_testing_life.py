"""callboard.testing keeps what jobs return, runs an at_most_once job once, and shows tags."""

from __future__ import annotations

import pytest

import callboard
from callboard import testing


@callboard.job(tags=["nightly"])
def life_add(a: int, b: int) -> int:
    return a + b


@callboard.job
async def life_shout(text: str) -> dict[str, str]:
    return {"text": text.upper()}


@callboard.job
def life_odd() -> object:
    return object()


@callboard.job(at_most_once=True)
def life_once(how: str) -> None:
    starts.append(how)
    if how == "snooze":
        raise callboard.Snooze(after=1)
    raise ValueError(how)


starts: list[str] = []


def test_what_jobs_return_is_kept():
    queue = testing.memory_queue()
    ids = [queue.push(life_add.bind(2, 3)), queue.push(life_shout.bind("hey")), queue.push(life_odd.bind()),
           queue.push(life_add.bind(2, 3), result_ttl=0)]
    testing.drain(queue)
    assert queue.result(ids[0], timeout=0) == 5
    assert queue.result(ids[1], timeout=0) == {"text": "HEY"}
    with pytest.raises(callboard.ResultLost, match="object"):
        queue.result(ids[2], timeout=0)
    with pytest.raises(callboard.ResultLost, match="result_ttl=0"):
        queue.result(ids[3], timeout=0)


@pytest.mark.parametrize("how", ["snooze", "raise"])
def test_an_at_most_once_job_starts_once(how):
    starts.clear()
    queue = testing.memory_queue()
    queue.push(life_once.bind(how))
    report = testing.drain(queue, delayed=True)
    assert starts == [how]
    assert [run.outcome for run in report.runs] == ["failed"]


def test_tags_and_the_rest_are_shown():
    queue = testing.memory_queue()
    queue.push(life_add.bind(1, 2), expires=60)
    queue.push(life_once.bind("x"), tags=["mine"])
    first, second = testing.pushed(queue)
    assert (first.tags, first.at_most_once, first.expires_s) == (("nightly",), False, 60.0)
    assert (second.tags, second.at_most_once, second.max_attempts) == (("mine",), True, 1)
    assert str(second).endswith("tags mine, at most once")

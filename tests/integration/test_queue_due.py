"""A push of a job that is soon due rings the leader; other pushes do not."""

from __future__ import annotations

import threading

import pytest

import callboard
from callboard.core.due import DUE_TOPIC


@callboard.job
def nothing_due() -> None:
    """Do nothing."""


@pytest.fixture
def queue(tmp_path):
    made = callboard.connect(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield made
    made.close()


@pytest.fixture
def rung(queue):
    event = threading.Event()
    bell = queue.store.listen(DUE_TOPIC, event.set)
    yield event
    bell.close()


@pytest.mark.parametrize("push", [
    lambda queue: queue.later(0.5, nothing_due.bind()),
    lambda queue: queue.push(nothing_due.bind(), delay=0.5),
    lambda queue: queue.push_many([nothing_due.bind()] * 3, delay=0.5),
])
def test_one_that_is_soon_due_rings(queue, rung, push):
    push(queue)
    assert rung.wait(10.0)


def test_one_that_is_ready_or_due_much_later_does_not(queue, rung):
    queue.push(nothing_due.bind())
    queue.later(60.0, nothing_due.bind())
    assert not rung.wait(0.3)

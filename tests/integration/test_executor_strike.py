"""Raising TimeLimitExceeded in another thread: in the job that is meant, or nowhere."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from callboard.backends.executors.strike import Target
from callboard.core.errors import TimeLimitExceeded

STRUCK_MIN = 50


@pytest.fixture
def hasty():
    """Threads take turns so often that an exception comes at every possible step."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Worker(threading.Thread):
    """Runs jobs of a few steps; counts where the limit came."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.target = target
        self.struck, self.outside, self.job, self.ended = 0, 0, 0, False

    def run(self):
        while self.struck < STRUCK_MIN:
            self.one(self.job + 1)
        self.ended = True

    def one(self, job):
        self.job = job
        try:
            try:
                self.target.arm(job)
                sum(range(20))
            finally:
                self.target.disarm()
        except TimeLimitExceeded:
            self.target.disarm()
            self.struck += 1
        try:  # from here on nothing may come
            sum(range(20))
        except TimeLimitExceeded:
            self.outside += 1


@pytest.mark.usefixtures("hasty")
def test_nothing_comes_after_user_code_has_ended():
    target = Target()
    worker = Worker(target)
    hits = 0
    worker.start()
    deadline_s = time.monotonic() + 60
    while worker.is_alive() and time.monotonic() < deadline_s:
        hits += target.strike(worker.job)
    worker.join(1)
    assert not worker.is_alive()
    assert worker.outside == 0
    assert worker.ended
    assert hits >= STRUCK_MIN


def test_another_job_than_the_one_that_is_meant_is_not_struck():
    target = Target()
    target.arm(1)
    assert not target.strike(2)
    target.disarm()
    assert not target.strike(1)
    assert not target.strike(0)

"""What jobs say of their progress: at once the first time, then the newest of each twice a second."""

from __future__ import annotations

import threading
import time

import pytest
from kit import eventually

from callboard.actors.ends import progress_of
from callboard.core.errors import StoreUnavailable
from callboard.core.runs import ChildNote


class Calls:
    """Counts the calls of the store's report_progress; `before` is done first."""

    def __init__(self, store):
        self.real, self.before = store.report_progress, lambda: None
        self.calls = []
        store.report_progress = self

    def __call__(self, session, reports):
        self.calls.append((time.monotonic(), [(report.held.id, report.fraction) for report in reports]))
        self.before()
        self.real(session, reports)


@pytest.fixture
def calls(bench):
    return Calls(bench.store)


@pytest.fixture
def job(bench):
    """A running job, and how it speaks."""
    node, started, go = bench.node(), threading.Event(), threading.Event()

    def wait(_job):
        started.set()
        assert go.wait(30)

    bench.handler = wait
    bench.push(1)
    assert started.wait(10)
    executor = node.parts.host.executors["default"]
    (token,) = executor.current

    def say(**fields):
        executor.events.on_notes([ChildNote("job.progress", 1, token, fields)])

    yield say
    go.set()


def shown(bench):
    progress = bench.store.job("j0").progress
    return None if progress is None else (progress.fraction, progress.message)


def test_the_first_word_is_stored_at_once_and_a_flood_as_the_newest_now_and_then(bench, calls, job):
    job(fraction=0.25, message="begun")
    eventually(lambda: shown(bench) == (0.25, "begun"), 0.4, "the first word, before half a second")
    for number in range(1_000):
        job(fraction=number / 1_000, message="flood")
    job(fraction=1.0, message="last")
    eventually(lambda: shown(bench) == (1.0, "last"), 5.0, "the newest")
    assert len(calls.calls) == 2
    assert calls.calls[1][0] - calls.calls[0][0] > 0.4


def test_what_the_store_can_not_take_is_said_again_but_for_what_is_newer(bench, calls, job):
    def away():
        raise StoreUnavailable("away")

    calls.before = away
    job(fraction=0.5, message="old")
    eventually(lambda: calls.calls, 5.0, "it is tried")
    calls.before = lambda: None
    eventually(lambda: shown(bench) == (0.5, "old"), 5.0, "it is said again")
    calls.before = away
    job(fraction=0.6, message="lost")
    eventually(lambda: len(calls.calls) > 2, 5.0, "it is tried")
    job(fraction=0.7, message="newer")
    calls.before = lambda: None
    eventually(lambda: shown(bench) == (0.7, "newer"), 5.0, "the newer one")


@pytest.mark.parametrize(("fields", "told"), [
    ({"fraction": 0.5, "message": "m"}, (0.5, "m")), ({}, (None, "")), ({"fraction": 2.0}, (None, "")),
    ({"fraction": "x", "message": 7}, (None, "")), ({"fraction": float("nan")}, (None, "")),
    ({"message": "m" * 900}, (None, "m" * 500)),
])
def test_what_a_child_says_is_kept_within_bounds(fields, told):
    assert progress_of(fields) == told

"""Timers tell what is due, in order, once; a new message of a class replaces the one that waits."""

from __future__ import annotations

import queue

import pytest

from callboard.actors.timers import Timers
from callboard.backends.clock import SystemClock
from callboard.core.messages import BeatDue, Crash, PollDue


class Recorder:
    """Stands for the directory."""

    def __init__(self):
        self.told = queue.Queue()

    def tell(self, name, message):
        self.told.put((name, message))
        return True


@pytest.fixture
def parts():
    recorder = Recorder()
    timers = Timers(SystemClock(), recorder)
    timers.start()
    yield timers, recorder
    timers.stop()


def test_messages_come_in_order_of_their_time(parts):
    timers, recorder = parts
    timers.after(0.05, "a", PollDue())
    timers.after(0.0, "b", BeatDue())
    assert [recorder.told.get(timeout=5)[0] for _ in range(2)] == ["b", "a"]


def test_a_new_message_replaces_the_waiting_one_of_its_class(parts):
    timers, recorder = parts
    timers.after(60, "a", Crash("first"))
    timers.after(0.0, "a", Crash("second"))
    assert recorder.told.get(timeout=5) == ("a", Crash("second"))
    assert recorder.told.empty()


def test_what_waits_for_an_actor_that_ended_is_forgotten(parts):
    timers, recorder = parts
    timers.after(0.02, "dead", PollDue())
    timers.cancel_all("dead")
    timers.after(0.04, "alive", PollDue())
    assert recorder.told.get(timeout=5)[0] == "alive"
    assert recorder.told.empty()

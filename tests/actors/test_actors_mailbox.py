"""Mailboxes are bounded, let control overtake, keep coalesced messages once, and never block who puts."""

from __future__ import annotations

import threading

import pytest
from pykka._envelope import Envelope

from callboard.actors.mailbox import Mailbox
from callboard.core.errors import QueueFull
from callboard.core.messages import DesiredChanged, Freed, Hello, PushJobs, Rung


def put(box, message):
    box.put(Envelope(message))


def take_all(box):
    found = []
    while not box.empty():
        found.append(box.get().message)
    return found


def test_control_overtakes_work():
    box = Mailbox()
    put(box, PushJobs(()))
    put(box, Hello("a"))
    assert [type(m) for m in take_all(box)] == [Hello, PushJobs]


def test_work_keeps_its_order():
    box = Mailbox()
    sent = [DesiredChanged(()), PushJobs(()), DesiredChanged(())]
    for message in sent:
        put(box, message)
    assert take_all(box) == sent


def test_coalesced_messages_wait_once_and_may_come_again_once_taken():
    box = Mailbox()
    for _ in range(5):
        put(box, Rung())
    put(box, Freed())
    assert take_all(box) == [Rung(), Freed()]
    put(box, Rung())
    assert take_all(box) == [Rung()]


def test_work_beyond_the_bound_is_refused_and_control_is_not():
    box = Mailbox(limit=3)
    for _ in range(3):
        put(box, PushJobs(()))
    with pytest.raises(QueueFull, match="3"):
        put(box, PushJobs(()))
    put(box, Hello("a"))
    assert len(box) == 4


def test_a_hint_is_taken_by_a_full_mailbox_once():
    box = Mailbox(limit=1)
    put(box, PushJobs(()))
    for _ in range(3):
        put(box, Rung())
    assert take_all(box) == [Rung(), PushJobs(())]


def test_hints_and_work_take_turns():
    box = Mailbox()
    for _ in range(3):
        put(box, PushJobs(()))
    for hint in (Rung(), Freed()):
        put(box, hint)
    assert take_all(box) == [Rung(), PushJobs(()), Freed(), PushJobs(()), PushJobs(())]


def test_a_full_mailbox_never_blocks_two_actors_that_flood_each_other():
    left, right = Mailbox(limit=10), Mailbox(limit=10)
    refused = []

    def flood(box):
        for _ in range(1000):
            try:
                put(box, PushJobs(()))
            except QueueFull:
                refused.append(1)

    threads = [threading.Thread(target=flood, args=(box,)) for box in (left, right)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert len(refused) == 1980


def test_get_waits_for_a_message():
    box = Mailbox()
    found = []
    thread = threading.Thread(target=lambda: found.append(box.get().message))
    thread.start()
    put(box, Hello("late"))
    thread.join(5)
    assert found == [Hello("late")]

"""Every cluster backend: a broadcast reaches every subscriber once, within bounds."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import cluster_kit
import pytest
from cluster_kit import ClusterRig, Inbox

from callboard.core.codec import BROADCAST_MAX_BYTES
from callboard.core.errors import InvalidArgument, PayloadTooLarge

rig = cluster_kit.rig


def test_every_subscriber_gets_each_message_once_in_order_the_senders_own_too(rig: ClusterRig):
    inboxes = [Inbox(rig, rig.a), Inbox(rig, rig.a), Inbox(rig, rig.b)]
    sent = [b"message %d" % n for n in range(50)]
    for message in sent:
        rig.a.broadcast(message)
    rig.b.broadcast(b"last")
    for inbox in inboxes:
        assert inbox.wait(51) == [*sent, b"last"]


def test_the_same_message_sent_twice_arrives_twice(rig: ClusterRig):
    inbox = Inbox(rig, rig.b)
    for message in (b"same", b"same", b"end"):
        rig.a.broadcast(message)
    assert inbox.wait(3) == [b"same", b"same", b"end"]


def test_what_was_sent_before_is_not_delivered(rig: ClusterRig):
    rig.a.broadcast(b"before")
    inbox = Inbox(rig, rig.b)
    rig.a.broadcast(b"after")
    assert inbox.wait(1) == [b"after"]


def test_who_closed_its_subscription_gets_nothing_more(rig: ClusterRig):
    gone, stays = Inbox(rig, rig.b), Inbox(rig, rig.b)
    rig.a.broadcast(b"one")
    gone.wait(1)
    gone.bell.close()
    gone.bell.close()
    rig.a.broadcast(b"two")
    stays.wait(2)
    assert gone.got == [b"one"]


def test_a_subscriber_that_raises_silences_no_other(rig: ClusterRig):
    failed = threading.Event()

    def fail(_message):
        failed.set()
        raise ValueError("a listener's bug")

    rig.b.subscribe(fail)
    inbox = Inbox(rig, rig.b)
    rig.a.broadcast(b"one")
    rig.a.broadcast(b"two")
    assert inbox.wait(2) == [b"one", b"two"]
    assert failed.is_set()


def test_a_callback_may_send_and_close(rig: ClusterRig):
    inbox = Inbox(rig, rig.a)
    bells = []

    def answer(message):
        if message == b"question":
            rig.b.broadcast(b"answer")
            bells[0].close()

    bells.append(rig.b.subscribe(answer))
    rig.a.broadcast(b"question")
    assert inbox.wait(2) == [b"question", b"answer"]


def test_any_bytes_up_to_the_limit_pass_and_one_more_is_refused(rig: ClusterRig):
    inbox = Inbox(rig, rig.b)
    sent = [b"", bytes(range(256)), os.urandom(BROADCAST_MAX_BYTES)]
    for message in sent:
        rig.a.broadcast(message)
    with pytest.raises(PayloadTooLarge):
        rig.a.broadcast(b"x" * (BROADCAST_MAX_BYTES + 1))
    with pytest.raises(InvalidArgument):
        rig.a.broadcast(b"x" * (BROADCAST_MAX_BYTES + 1))
    rig.a.broadcast(b"end")
    assert inbox.wait(4) == [*sent, b"end"]


def test_a_flood_from_many_arrives_whole_at_every_subscriber(rig: ClusterRig):
    inboxes = [Inbox(rig, rig.a), Inbox(rig, rig.b)]

    def send(n):
        for k in range(150):
            (rig.a if n % 2 else rig.b).broadcast(b"%d:%d" % (n, k))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(4)))
    for inbox in inboxes:
        got = inbox.wait(600)
        assert len(got) == len(set(got)) == 600
        for n in range(4):
            mine = [message for message in got if message.startswith(b"%d:" % n)]
            assert mine == [b"%d:%d" % (n, k) for k in range(150)]

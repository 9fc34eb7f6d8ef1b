"""The thread that follows a cluster backend: outages, closing, and what it does not do."""

import threading

import pytest
from kit import eventually

from callboard.backends.cluster.follow import Follower
from callboard.core.errors import ClusterUnavailable

WAIT_S = 20.0


class FakeSource:
    """A backend that a test switches off and on."""

    def __init__(self) -> None:
        self.messages = []
        self.state = 0
        self.due_s = None
        self.down = False
        self.looks = 0
        self.looked = threading.Event()

    def messages_after(self, number, limit):
        if self.down:
            raise ClusterUnavailable("down")
        return [(n, body) for n, body in self.messages if n > number][:limit]

    def look(self):
        self.looks += 1
        self.looked.set()
        if self.down:
            raise ClusterUnavailable("down")
        return self.state, self.due_s


@pytest.fixture
def source():
    return FakeSource()


@pytest.fixture
def follower(source):
    follower = Follower(source, "test-follower")
    yield follower
    follower.close()


def test_an_outage_is_logged_once_and_nothing_of_it_is_lost(source, follower, caplog):
    caplog.set_level("INFO")
    hint, got = threading.Event(), []
    follower.watch(hint.set)
    follower.subscribe(got.append, 0)
    assert hint.wait(WAIT_S)
    hint.clear()
    source.down = True
    for _ in range(3):
        source.looked.clear()
        follower.ring()
        eventually(lambda: "can't be followed" in caplog.text, WAIT_S, "the outage is logged")
    source.messages.append((1, b"during"))
    source.state = 1
    source.down = False
    follower.ring()
    assert hint.wait(WAIT_S)
    eventually(lambda: got == [b"during"], WAIT_S, "the message arrives")
    eventually(lambda: "can be followed again" in caplog.text, WAIT_S, "the end is logged")
    assert caplog.text.count("can't be followed") == 1


def test_a_ring_without_a_change_calls_no_watcher(source, follower):
    calls, second = [], threading.Event()
    follower.watch(lambda: calls.append(source.state))
    eventually(lambda: calls, WAIT_S, "a watch is called once soon")
    for _ in range(5):
        source.looked.clear()
        follower.ring()
        assert source.looked.wait(WAIT_S)
    follower.watch(second.set)  # its first call shows that the rounds before are over
    assert second.wait(WAIT_S)
    assert calls in ([0], [0, 0]), "one call of its own, and at most one for the second watch"


def test_it_looks_when_time_alone_may_have_changed_something(source, follower):
    source.due_s = 0.01
    follower.watch(lambda: None)
    eventually(lambda: source.looks > 20, WAIT_S, "it looks far more often than it polls")


def test_who_is_called_back_may_close_and_nothing_comes_after(follower):
    closed = threading.Event()

    def close():
        follower.close()
        closed.set()

    follower.watch(close)
    assert closed.wait(WAIT_S)
    assert follower._thread is not None
    follower._thread.join(WAIT_S)
    assert not follower._thread.is_alive()
    with pytest.raises(ClusterUnavailable):
        follower.watch(lambda: None)


def test_a_follower_that_nobody_needs_starts_no_thread(source):
    follower = Follower(source, "idle")
    follower.ring()
    follower.close()
    assert follower._thread is None
    assert source.looks == 0


def test_a_message_that_is_to_be_left_out_is_passed_over(source, follower):
    got = []
    source.messages += [(1, b"one"), (2, None), (3, b"three")]
    follower.subscribe(got.append, 0)
    assert eventually(lambda: len(got) == 2 and got, WAIT_S, "the others arrive") == [b"one", b"three"]

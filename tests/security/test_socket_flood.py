"""S3: whatever a client of the same user does, the node's memory stays bounded and the other clients are served."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from controlkit import Served, exactly, receive, rss_kib, serving
from kit import eventually

from callboard import control_connection
from callboard.control import CONNECTIONS_MAX, INPUT_MAX_BYTES
from callboard.core.codec import FRAME_MAX_BYTES
from callboard.core.frames import frame
from callboard.core.messages import Done, PurgeQueue, Refused, Scale
from callboard.core.socketmessages import AskJobs, KnownJobs
from callboard.link import Link, ask

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

SLOW = 500
BYTE_EVERY_S = 1.0
MEASURED_S = 2.0
TRIALS = 5
FLOODER = str(Path(__file__).with_name("flooder.py"))

pytestmark = pytest.mark.usefixtures("runtime_dir")


@pytest.mark.parametrize("header", [b"\xff\xff\xff\xff", (FRAME_MAX_BYTES + 1).to_bytes(4, "big"), b"\0\0\0\0"])
def test_a_header_beyond_the_limit_ends_the_connection_before_anything_is_allocated(header):
    with serving() as served, served.connect() as client:
        before = rss_kib()
        client.sendall(header + b"x" * 100)
        answer = receive(client)
        assert isinstance(answer, Refused)
        assert answer.error == "CodecError"
        assert receive(client) is None
        assert rss_kib() - before < 8 << 10
        served.events.wait("control.refused", reason="bad frame")
        with Link(served.path) as link:
            assert link.ask(PurgeQueue("q")) == Done()


def test_a_frame_of_the_limit_is_taken():
    with serving(lambda message: Done(len(message.queue))) as served, Link(served.path) as link:
        length = FRAME_MAX_BYTES - len(frame(PurgeQueue(""))) - 16
        assert link.ask(PurgeQueue("q" * length)) == Done(length)


def quantile(path: str, measured_s: float) -> float:
    """The 99th percentile of a good client's requests, in seconds."""
    took = []
    end_s = time.perf_counter() + measured_s
    while (started_s := time.perf_counter()) < end_s:
        assert ask(path, Scale("q", 1)) == Done()
        took.append(time.perf_counter() - started_s)
    return sorted(took)[int(len(took) * 0.99)]


@contextlib.contextmanager
def slow_sockets(served: Served) -> Iterator[None]:
    """While this lasts, SLOW clients of another process want a place each, and send a byte now and then."""
    with subprocess.Popen([sys.executable, FLOODER, served.path, str(SLOW), str(BYTE_EVERY_S)],
                          stdout=subprocess.PIPE, text=True) as flooder:
        try:
            assert flooder.stdout.readline() == "connected\n"
            eventually(lambda: len(served.server._connections) == CONNECTIONS_MAX, 10.0, "the places are taken")
            yield
            assert len(served.server._connections) <= CONNECTIONS_MAX
        finally:
            flooder.kill()
    eventually(lambda: not served.server._connections, 10.0, "the places are free again")


def flood_once(served: Served) -> tuple[float, float]:
    """One trial: the 99th percentile of a good client alone, then beside the slow sockets, in seconds."""
    alone_s = quantile(served.path, MEASURED_S)
    before = rss_kib()
    with slow_sockets(served):
        beside_s = quantile(served.path, MEASURED_S)
        grown_kib = rss_kib() - before
    print(  # noqa: T201 - a figure for who reads the run
        f"p99 alone {alone_s * 1e3:.2f} ms, beside {SLOW} slow sockets {beside_s * 1e3:.2f} ms, +{grown_kib} KiB")
    assert grown_kib <= 32 << 10
    return alone_s, beside_s


def test_500_slow_sockets_cost_little_and_a_good_client_is_served():
    """Doubled is the promise; the millisecond is what a shared machine adds to either.

    Other programs can hold up one measurement or the other, so the best of some trials counts; what the sockets
    themselves cost is there in each.
    """
    with serving() as served:
        for trial in range(1, TRIALS + 1):
            alone_s, beside_s = flood_once(served)
            eventually(lambda: sum(line["times"] for line in refusals(served)) >= SLOW - CONNECTIONS_MAX, 5.0, "all")
            assert len(refusals(served)) < 60 * trial  # a flood of connections is no flood of events
            if beside_s <= 2 * alone_s + 0.001:
                return
    pytest.fail(f"in {TRIALS} trials more than doubled; in the last {alone_s:.4f} s became {beside_s:.4f} s")


def refusals(served: Served) -> list[dict]:
    """Events about refused connections."""
    return [line for line in list(served.events.seen) if line["event"] == "control.refused"]


def test_unfinished_frames_are_bounded_all_together():
    with serving() as served, contextlib.ExitStack() as stack:
        before = rss_kib()
        clients = [stack.enter_context(served.connect()) for _ in range(CONNECTIONS_MAX)]
        part = FRAME_MAX_BYTES.to_bytes(4, "big") + bytes(FRAME_MAX_BYTES - 1)
        ended = 0
        for client in clients:
            try:
                client.sendall(part)
            except OSError:
                ended += 1
        served.events.wait("control.refused", reason="too many unfinished frames")
        assert sum(len(c.buffer) for c in served.server._connections.values()) <= INPUT_MAX_BYTES
        assert rss_kib() - before <= 32 << 10
        with Link(served.path) as link:
            assert link.ask(PurgeQueue("q")) == Done()


def test_a_frame_that_does_not_come_to_its_end_is_given_up(monkeypatch):
    monkeypatch.setattr(control_connection, "FRAME_READ_S", 0.2)
    with serving() as served, served.connect() as client:
        client.sendall(frame(AskJobs())[:-1])
        assert receive(client) is None
        served.events.wait("control.refused", reason="too slow")


def test_bytes_that_trickle_in_win_no_more_time(monkeypatch):
    monkeypatch.setattr(control_connection, "FRAME_READ_S", 0.5)
    with serving() as served, served.connect() as client:
        started_s = time.monotonic()
        for byte in frame(PurgeQueue("q" * 1000)):
            if readable(client, 0.05):  # nothing but the end can come
                break
            client.sendall(bytes([byte]))
        else:
            pytest.fail("the frame was taken")
        assert 0.3 < time.monotonic() - started_s < 5


def readable(client: socket.socket, wait_s: float) -> bool:
    """Whether something (the end, too) can be read."""
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ)
        return bool(selector.select(wait_s))


def test_one_that_rests_too_long_is_closed_and_one_that_is_new_sooner(monkeypatch):
    monkeypatch.setattr(control_connection, "IDLE_S", 0.3)
    monkeypatch.setattr(control_connection, "FRAME_READ_S", 0.1)
    with serving() as served, served.connect() as fresh, served.connect() as rested:
        rested.sendall(frame(AskJobs()))
        assert isinstance(receive(rested), KnownJobs)
        started_s = time.monotonic()
        assert receive(fresh) is None
        assert receive(rested) is None
        assert time.monotonic() - started_s >= 0.25


def test_a_client_that_does_not_read_its_answers_is_closed(monkeypatch):
    monkeypatch.setattr(control_connection, "WRITE_S", 0.3)
    with serving(lambda _m: Done(text="x" * 900_000)) as served, served.connect() as client:
        client.sendall(frame(PurgeQueue("q")))
        served.events.wait("control.refused", reason="too slow")
        eventually(lambda: not served.server._connections, 5.0, "it is gone")


def test_when_all_places_wait_for_answers_the_next_one_is_refused():
    go = threading.Event()
    with serving(lambda _m: go.wait(20) and Done()) as served, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.connect()) for _ in range(CONNECTIONS_MAX)]
        for client in clients:
            client.sendall(frame(PurgeQueue("q")))
        connections = served.server._connections
        eventually(lambda: sum(c.pending for c in list(connections.values())) == CONNECTIONS_MAX, 5.0, "all wait")
        with served.connect() as late:
            assert exactly(late, 1) is None
        served.events.wait("control.refused", reason=f"{CONNECTIONS_MAX} connections are open")
        go.set()
        assert [receive(client) for client in clients] == [Done()] * CONNECTIONS_MAX


def test_a_request_that_has_come_saves_its_connection_from_making_room(monkeypatch):
    monkeypatch.setattr("callboard.control.CONNECTIONS_MAX", 2)
    held, go = threading.Event(), threading.Event()

    def hold_up(line):
        """Hold the control thread, so that what comes meanwhile is all there at its next look."""
        if line["event"] == "control.command" and line["command"] == "PurgeQueue":
            held.set()
            go.wait(20)

    with serving() as served, served.connect() as early, served.connect() as busy:
        served.log.follow(hold_up)
        busy.sendall(frame(PurgeQueue("q")))
        assert held.wait(10)
        with served.connect() as late:
            early.sendall(frame(Scale("q", 1)))
            go.set()
            assert receive(early) == Done()
            assert receive(busy) == Done()
            assert exactly(late, 1) is None


def test_when_no_descriptor_is_left_the_node_goes_on_and_takes_clients_again_later(monkeypatch):
    monkeypatch.setattr("callboard.control.PAUSE_S", 0.2)
    with serving() as served:
        real = served.server._socket.listener
        failing = FailingListener(real, times=1)
        served.server._socket = served.server._socket._replace(listener=failing)
        with Link(served.path) as link:
            assert link.ask(PurgeQueue("q")) == Done()
        served.events.wait("control.refused", reason=f"accept: {os.strerror(24)}")
        served.server._socket = served.server._socket._replace(listener=real)


class FailingListener:
    """A listener whose first `times` accepts fail with EMFILE."""

    def __init__(self, real: socket.socket, times: int) -> None:
        self._real, self._times = real, times

    def fileno(self) -> int:
        return self._real.fileno()

    def accept(self):
        if self._times:
            self._times -= 1
            raise OSError(24, os.strerror(24))
        return self._real.accept()

"""A node's socket answers commands, questions and followers."""

from __future__ import annotations

import json
import shutil
import threading

import pytest
from controlkit import SPECS, receive, serving, short_runtime_dir
from kit import eventually

from callboard import control_connection
from callboard.backends.clock import SystemClock
from callboard.core.errors import NotFound, PayloadTooLarge, QueueFull, Unavailable
from callboard.core.frames import FrameBuffer, frame
from callboard.core.messages import (
    Begin,
    CancelJob,
    Done,
    EventLine,
    EventsEnd,
    FollowEvents,
    NodeStatus,
    PurgeQueue,
    Refused,
    Scale,
    decode_message,
)
from callboard.core.socketmessages import AskJobs, KnownJobs
from callboard.link import Link
from callboard.logs import EventLog


@pytest.fixture(autouse=True)
def _own_runtime_dir(monkeypatch):
    folder = short_runtime_dir(monkeypatch)
    yield
    shutil.rmtree(folder)


def test_commands_reach_the_dispatcher_and_its_answer_comes_back():
    asked = []

    def answer(message):
        asked.append(message)
        return Done(7, "ok")

    with serving(answer) as served, Link(served.path) as link:
        assert link.ask(Scale("emails", 3)) == Done(7, "ok")
        assert link.ask(PurgeQueue("emails")) == Done(7, "ok")
        assert asked == [Scale("emails", 3), PurgeQueue("emails")]
        told = served.events.wait("control.command", command="Scale")
    assert (told["queue"], told["slots"], told["of_node"], told["node"]) == ("emails", 3, None, "n1")


def test_a_refusal_becomes_the_error_that_it_names():
    with serving(lambda _m: Refused("NotFound", "no job 'x'")) as served, Link(served.path) as link:
        with pytest.raises(NotFound, match="no job 'x'"):
            link.ask(CancelJob("x"))
        assert isinstance(link.ask(AskJobs()), KnownJobs)  # the connection goes on


def test_an_error_of_ours_and_a_bug_both_become_answers():
    def answer(message):
        if isinstance(message, CancelJob):
            raise QueueFull("the mailbox is full")
        raise ZeroDivisionError("a bug")

    with serving(answer) as served, Link(served.path) as link:
        with pytest.raises(QueueFull, match="mailbox"):
            link.ask(CancelJob("x"))
        with pytest.raises(Exception, match="a bug of ours: ZeroDivisionError"):
            link.ask(PurgeQueue("q"))


def test_a_dead_dispatcher_is_said_so_at_once():
    with serving() as served, Link(served.path) as link:
        served.directory.ref("dispatcher").stop()
        with pytest.raises(Unavailable, match="restarting its dispatcher"):
            link.ask(PurgeQueue("q"))


def test_a_dispatcher_that_does_not_answer_costs_a_bounded_time(monkeypatch):
    monkeypatch.setattr(control_connection, "ANSWER_S", 0.2)
    go = threading.Event()
    with serving(lambda _m: go.wait(10) and Done()) as served:
        try:
            with Link(served.path) as link, pytest.raises(Unavailable, match="did not answer in time"):
                link.ask(PurgeQueue("q"))
            with Link(served.path) as link:  # others are served meanwhile
                assert isinstance(link.ask(AskJobs()), KnownJobs)
        finally:
            go.set()


def test_requests_sent_in_one_go_are_answered_in_order():
    with serving(lambda message: Done(text=message.queue)) as served, served.connect() as client:
        client.sendall(b"".join(frame(PurgeQueue(f"q{n}")) for n in range(50)))
        assert [receive(client).text for _ in range(50)] == [f"q{n}" for n in range(50)]


def test_an_answer_beyond_a_frame_is_refused_and_the_client_told():
    big = NodeStatus("n1", "b", 1, leading=False, epoch=0, session=0, actors={}, pools=(),
                     running=tuple((f"{n:0>200}", "x" * 200, "y" * 200, 1, 1.0) for n in range(2000)))
    with serving(lambda _m: big) as served, Link(served.path) as link, pytest.raises(PayloadTooLarge):
        link.ask(PurgeQueue("q"))


def test_jobs_are_told_by_name_and_all_together():
    with serving() as served, Link(served.path) as link:
        assert link.ask(AskJobs("send_email")) == KnownJobs(SPECS)
        assert link.ask(AskJobs("send_emial")) == KnownJobs((), near=" (did you mean 'send_email'?)")
        assert link.ask(AskJobs()) == KnownJobs(SPECS)
        assert link.ask(AskJobs(after="send_email")) == KnownJobs(())


def test_a_message_that_is_no_request_ends_the_connection_with_an_event():
    with serving() as served, served.connect() as client:
        client.sendall(frame(Begin()))
        assert receive(client) == Refused("CodecError", "Begin is no request")
        assert receive(client) is None
        served.events.wait("control.refused", reason="bad frame")


def test_kept_events_pass_the_filter_and_end():
    with serving() as served, Link(served.path) as link:
        for number in range(5):
            served.log.emit("worker:a", "job.failed", job=f"j{number}")
            served.log.emit("elector", "elector.elected", term=number)
        lines = [json.loads(came.line) for came in link.follow(FollowEvents(event="job.", last=3))]
        assert [line["job"] for line in lines] == ["j2", "j3", "j4"]
        lines = [json.loads(came.line) for came in link.follow(FollowEvents(actor="elector", level="info"))]
        assert [line["term"] for line in lines] == [0, 1, 2, 3, 4]


def test_a_follower_gets_each_event_once_and_the_last_ones_before_the_end():
    with serving() as served:
        served.log.emit("worker:a", "job.failed", job="before")
        with Link(served.path) as link:
            stream = link.follow(FollowEvents(event="job.", follow=True))
            got = [json.loads(next(stream).line)["job"]]
            for number in range(300):
                served.log.emit("worker:a", "job.failed", job=str(number))
            served.server.close()
            got += [json.loads(came.line)["job"] for came in stream]
    assert got == ["before", *map(str, range(300))]


class Racing:
    """A log in which an event comes between the beginning of following and the look at what was kept."""

    def __init__(self, log):
        self._log = log
        self.follow = log.follow

    def kept(self, wanted):
        self._log.emit("worker:a", "job.failed", job="between")
        return self._log.kept(wanted)


def test_an_event_that_is_both_kept_and_followed_is_sent_once():
    log = EventLog("n1", SystemClock(), style="off")
    log.emit("worker:a", "job.failed", job="before")
    stream = control_connection.Stream(Racing(log), FollowEvents(follow=True), lambda: None)
    log.emit("worker:a", "job.failed", job="after")
    stream.end()
    buffer, got = FrameBuffer(), []
    buffer.add(stream.frames(1 << 20))
    while (body := buffer.take()) is not None:
        got.append(decode_message(body))
    assert [json.loads(came.line)["job"] for came in got[:-1]] == ["before", "between", "after"]
    assert got[-1] == EventsEnd()


def test_a_slow_follower_loses_lines_with_a_count_and_blocks_nobody(monkeypatch):
    monkeypatch.setattr(control_connection, "LINES_MAX", 100)
    text = "x" * 10_000
    with serving() as served, served.connect() as slow:
        slow.sendall(frame(FollowEvents(event="job.", follow=True, last=0)))
        with Link(served.path) as link:
            assert isinstance(link.ask(AskJobs()), KnownJobs)  # so the follower before it is taken up
            for number in range(3_000):  # 30 MB, far beyond all buffers
                served.log.emit("worker:a", "job.failed", job=str(number), error=text)
            assert isinstance(link.ask(AskJobs(), 5.0), KnownJobs)
        got, lost = [], 0
        while len(got) + lost < 3_000:
            if not len(got) % 50:
                served.log.emit("worker:a", "job.failed", job="tick")  # what was lost is told with the next event
            came = receive(slow)
            assert isinstance(came, EventLine)
            lost += came.lost
            job = json.loads(came.line)["job"]
            if job != "tick":
                got.append(int(job))
        assert lost > 0
        assert got == sorted(set(got))


def test_a_follower_that_speaks_is_dropped():
    with serving() as served, served.connect() as client:
        client.sendall(frame(FollowEvents(follow=True, last=0)))
        with Link(served.path) as link:
            link.ask(AskJobs())
        client.sendall(b"x")
        assert receive(client) is None
        served.events.wait("control.refused", reason="spoke while it was following events")


def test_a_follower_that_goes_away_is_forgotten():
    with serving() as served:
        client = served.connect()
        client.sendall(frame(FollowEvents(follow=True, last=0)))
        with Link(served.path) as link:
            link.ask(AskJobs())
            before = len(served.log._followers)
            client.close()
            eventually(lambda: len(served.log._followers) == before - 1, 5.0, "the follower is forgotten")


def test_an_event_too_long_for_a_line_is_cut_to_its_main_fields():
    with serving() as served, Link(served.path) as link:
        served.log.emit("worker:a", "job.failed", job="j", error="x" * 2_000_000)
        (came,) = link.follow(FollowEvents(event="job."))
        line = json.loads(came.line)
    assert line["job"] == "j"
    assert line["too_long_chars"] > 2_000_000
    assert "error" not in line


def test_the_end_of_kept_events_is_a_message_of_its_own():
    with serving() as served, served.connect() as client:
        client.sendall(frame(FollowEvents(last=0)) + frame(AskJobs()))
        assert receive(client) == EventsEnd()
        assert isinstance(receive(client), KnownJobs)

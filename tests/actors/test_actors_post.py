"""Nodes hear each other and clients through the cluster backend: judged, bounded, answered within a deadline."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import replace

import pytest
from kit import eventually

from callboard.actors import post
from callboard.core.codec import encode
from callboard.core.envelope import CLIENT, PROGRAM_MARK, ClusterKeys, Kind, Sender, unseal
from callboard.core.errors import ClusterUnavailable, CodecError
from callboard.core.messages import (
    AskEvents,
    AskStatus,
    BeatDue,
    Begin,
    Done,
    EventPage,
    FollowEvents,
    NodeStatus,
    Nudge,
    Refused,
    Scale,
    SetPaused,
    decode_message,
    encode_message,
)
from callboard.core.records import NodeInfo
from callboard.core.socketmessages import AskJobs, KnownJobs

KEY = "k" * 32


class Caller:
    """A client by hand: what it says, and what it hears that is for it."""

    def __init__(self, bench, *, me=f"{CLIENT}1", keys=(), cluster_id=None):
        self.bench, self.me = bench, me
        self._sender = Sender(cluster_id or bench.cluster.cluster_id, me, ClusterKeys(keys))
        self._changed = threading.Condition()
        self.heard = []
        bench.cluster.subscribe(self._hear)

    def _hear(self, data):
        try:
            envelope = unseal(data).envelope
        except CodecError:
            return
        if envelope.target == self.me:
            with self._changed:
                self.heard.append(envelope)
                self._changed.notify_all()

    def say(self, node, message, kind=Kind.REQUEST, *, timeout_s=5.0, correlation="c", data=None):
        target = "" if node is None else node.parts.info.boot_id
        body = encode_message(message) if data is None else data
        sealed = self._sender.seal(kind, body, self.bench.clock.wall_s(), target=target, correlation=correlation,
                                   timeout_s=timeout_s)
        self.bench.cluster.broadcast(sealed)
        return sealed

    def wait(self, count=1, timeout_s=10.0):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.heard) >= count, timeout_s), f"{len(self.heard)} of {count}"
            return list(self.heard)

    def ask(self, node, message, **about):
        self.say(node, message, **about)
        envelope = self.wait()[0]
        self.heard.clear()
        return decode_message(envelope.body)


@pytest.fixture
def listening(bench):
    """Starts nodes, and waits until they hear."""
    def start(name="n1", **settings):
        node = bench.node(name, **settings)
        node.events.wait("cluster.listening")
        return node

    return start


@pytest.fixture
def keyed(monkeypatch):
    monkeypatch.setenv("CALLBOARD_CLUSTER_KEY", KEY)


def test_what_a_client_asks_is_carried_out_and_answered(bench, listening):
    node, caller = listening(), Caller(bench)
    status = caller.ask(node, AskStatus())
    assert isinstance(status, NodeStatus)
    assert (status.node, status.boot_id) == ("n1", node.parts.info.boot_id)
    assert caller.ask(node, Scale("default", 9)) == Done(9)
    node.events.wait("worker.scaled")
    told = node.events.wait("cluster.command")[0]
    assert (told["command"], told["sender"], told["slots"]) == ("Scale", caller.me, 9)
    refused = caller.ask(node, Scale("default", 10**6))
    assert isinstance(refused, Refused)
    assert refused.error == "InvalidArgument"
    known = caller.ask(node, AskJobs())
    assert isinstance(known, KnownJobs)
    assert [job.name for job in known.jobs] == ["work"]
    page = caller.ask(node, AskEvents(FollowEvents(event="worker.scaled")))
    assert isinstance(page, EventPage)
    assert [line for came in page.lines if "worker.scaled" in (line := came.line)]


def test_one_broadcast_asks_every_node(bench, listening):
    nodes = [listening(name) for name in ("n1", "n2", "n3")]
    caller = Caller(bench)
    caller.say(None, AskStatus())
    answers = [decode_message(envelope.body) for envelope in caller.wait(3)]
    assert {answer.boot_id for answer in answers} == {node.parts.info.boot_id for node in nodes}


def refusal(bench, node, reason, *, kind=Kind.REQUEST, message=None, data=None, target=True, **about):
    """Say something that must be refused for this reason, and have the node answer something good behind it."""
    Caller(bench, **about).say(node if target else None, message or SetPaused("default", paused=True), kind, data=data)
    eventually(lambda: reason in {line["reason"] for line in node.events.named("cluster.message_refused")}, 5.0, reason)
    assert not any(row.paused for row in bench.store.counts())


def test_what_is_not_allowed_is_refused_with_an_event(bench, listening):
    node = listening()
    refusal(bench, node, "another cluster", cluster_id="another")
    refusal(bench, node, "unknown sender", me="no member")
    refusal(bench, node, "not for all nodes", target=False, me=f"{CLIENT}2")
    refusal(bench, node, "not allowed", message=Begin(), me=f"{CLIENT}3")
    refusal(bench, node, "not allowed", message=BeatDue(), kind=Kind.TELL, me=f"{CLIENT}4")
    refusal(bench, node, "not allowed", kind=Kind.TELL, me=f"{CLIENT}5")
    refusal(bench, node, "not allowed", kind=Kind.REPLY, me=f"{CLIENT}6")
    refusal(bench, node, "no message of ours", data=b"\x80\x04\x95cos\nsystem\n", me=f"{CLIENT}7")
    bench.cluster.broadcast(PROGRAM_MARK + b"a program's own")
    assert isinstance(Caller(bench, me=f"{CLIENT}9").ask(node, AskStatus()), NodeStatus)
    assert "not readable" not in {line["reason"] for line in node.events.named("cluster.message_refused")}
    bench.cluster.broadcast(b"os:system")
    eventually(lambda: node.events.named("cluster.message_refused")[-1]["reason"] == "not readable", 5.0, "a refusal")
    assert isinstance(Caller(bench, me=f"{CLIENT}8").ask(node, AskStatus()), NodeStatus)


@pytest.mark.usefixtures("keyed")
def test_hostile_bytes_are_all_refused_and_the_node_lives(bench, listening, caplog):
    seed = random.SystemRandom().randrange(2**32)
    draw, node, caller = random.Random(seed), listening(), Caller(bench, keys=(KEY,))
    good = Sender(bench.cluster.cluster_id, f"{CLIENT}2", ClusterKeys((KEY,))).seal(
        Kind.REQUEST, encode_message(Scale("default", 3)), bench.clock.wall_s(), target=node.parts.info.boot_id)
    inner = unseal(good).inner
    for n in range(1_000):
        flipped = bytearray(inner)
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
        sealed = encode([1, unseal(good).key_id, unseal(good).mac, bytes(flipped)])
        bench.cluster.broadcast((draw.randbytes(draw.randrange(300)), sealed)[n % 2])
    assert isinstance(caller.ask(node, AskStatus()), NodeStatus), f"seed {seed}"
    assert not node.events.named("cluster.command"), f"seed {seed}"
    assert "callback of the cluster backend failed" not in caplog.text, f"seed {seed}"
    assert {"not readable", "not authentic"} <= {e["reason"] for e in node.events.named("cluster.message_refused")}


@pytest.mark.usefixtures("keyed")
def test_with_a_key_only_who_has_it_is_heard(bench, listening):
    node = listening()
    refusal(bench, node, "not signed")
    refusal(bench, node, "not authentic", keys=("x" * 32,), me=f"{CLIENT}2")
    caller = Caller(bench, keys=(KEY,), me=f"{CLIENT}3")
    assert caller.ask(node, Scale("default", 3)) == Done(3)
    shown = [repr(node.parts), repr(node.settings), *map(repr, node.events.seen)]
    assert not any(KEY in text for text in shown)


@pytest.mark.usefixtures("keyed")
def test_a_replayed_command_is_carried_out_once_also_after_the_actor_was_restarted(bench, listening):
    node, caller = listening(), Caller(bench, keys=(KEY,))
    sealed = caller.say(node, Scale("default", 3))
    caller.wait()
    bench.cluster.broadcast(sealed)
    eventually(lambda: {"replay"} <= {line["reason"] for line in node.events.named("cluster.message_refused")}, 5.0,
               "a refusal")
    node.tell("cluster", post_crash())
    node.events.wait("supervisor.restarted")
    node.events.wait("cluster.listening", count=2)
    assert isinstance(Caller(bench, keys=(KEY,), me=f"{CLIENT}2").ask(node, AskStatus()), NodeStatus)
    before = len(node.events.named("cluster.message_refused"))
    bench.cluster.broadcast(sealed)
    node.events.wait("cluster.message_refused", count=before + 1)
    assert len(node.events.named("cluster.command")) == 1


def post_crash():
    from callboard.core.messages import Crash  # noqa: PLC0415 - tests alone send it

    return Crash()


def test_a_flood_is_bounded_and_the_node_answers_behind_it(bench, listening, monkeypatch):
    node = listening()
    monkeypatch.setattr(post, "WAITING_MAX", 8)
    go, first = threading.Event(), threading.Event()
    inner = bench.cluster.nodes

    def slow():
        first.set()
        assert go.wait(10.0)
        return inner()

    monkeypatch.setattr(bench.cluster, "nodes", slow)
    stranger = Caller(bench, me="no member")
    stranger.say(node, AskStatus())
    assert first.wait(10.0)  # the lane waits for the backend
    for _ in range(100):
        stranger.say(node, AskStatus())
    eventually(lambda: {"too many at once"} <= {e["reason"] for e in node.events.named("cluster.message_refused")}, 5.0,
               "a refusal")
    go.set()
    eventually(lambda: sum(e["times"] for e in node.events.named("cluster.message_refused")) == 101, 10.0, "all told")
    assert len(node.events.named("cluster.message_refused")) < 10  # coalesced
    assert isinstance(Caller(bench).ask(node, AskStatus()), NodeStatus)


def test_nobody_gets_an_answer_after_its_deadline(bench, listening, monkeypatch):
    node, caller = listening(), Caller(bench)
    inner, asked = bench.store.set_desired, threading.Event()

    def slow(desired):
        asked.set()
        assert late.wait(10.0)
        return inner(desired)

    late = threading.Event()
    monkeypatch.setattr(bench.store, "set_desired", slow)
    caller.say(node, Scale("default", 2), timeout_s=0.05)
    assert asked.wait(10.0)
    threading.Event().wait(0.1)  # the deadline passes: that is what is on trial
    late.set()
    caller.say(node, AskStatus(), correlation="second")
    assert [envelope.correlation for envelope in caller.wait()] == ["second"]


def test_an_order_reaches_other_nodes_at_once_though_no_bell_of_the_store_does(bench, listening, monkeypatch):
    """Sessions of a minute: the next beat would be 15 s away."""
    monkeypatch.setattr(bench.store._bells, "ring", lambda *_: None)
    first, second = (listening(name, session_ttl_s=60.0) for name in ("n1", "n2"))
    second.events.wait("heartbeat.session_opened")
    eventually(lambda: len(bench.cluster.nodes()) == 2, 10.0, "both are members")
    assert Caller(bench).ask(first, Scale("default", 7)) == Done(7)
    second.events.wait("worker.scaled", timeout_s=1.0)


def test_a_nudge_from_no_member_is_refused(bench, listening):
    node = listening()
    refusal(bench, node, "unknown sender", message=Nudge(), kind=Kind.TELL, target=False, me="no member")
    bench.cluster.register(NodeInfo("other", "boot-other"), 60.0)
    before = node.events.named("cluster.message_refused")
    threading.Event().wait(post.MEMBERS_EVERY_S)  # the backend is asked again after that
    Caller(bench, me="boot-other").say(None, Nudge(), Kind.TELL)
    assert isinstance(Caller(bench).ask(node, AskStatus()), NodeStatus)
    assert [line["reason"] for line in node.events.named("cluster.message_refused")[len(before):]] == []


def test_a_backend_that_is_away_at_the_start_is_subscribed_to_later(bench, monkeypatch):
    inner, fail = bench.cluster.subscribe, [True]

    def subscribe(callback):
        if fail[0]:
            raise ClusterUnavailable("away")
        return inner(callback)

    monkeypatch.setattr(bench.cluster, "subscribe", subscribe)
    node = bench.node()
    node.events.wait("cluster.subscribe_failed")
    fail[0] = False
    node.events.wait("cluster.listening")
    assert isinstance(Caller(bench).ask(node, AskStatus()), NodeStatus)


def test_an_answer_beyond_one_broadcast_comes_in_parts(bench, listening):
    node, caller = listening(), Caller(bench)
    for number in range(300):
        node.log.emit("worker:default", "job.failed", job=f"j{number}", error="x" * 1_000)
    caller.say(node, AskEvents(FollowEvents(event="job.failed", last=100)))
    parts = caller.wait(2)
    eventually(lambda: len(caller.heard) == parts[0].parts, 5.0, "all parts")
    assert parts[0].parts >= 2
    page = decode_message(b"".join(envelope.body for envelope in caller.heard))
    assert [json.loads(came.line)["job"] for came in page.lines] == [f"j{number}" for number in range(200, 300)]


def test_messages_of_nodes_cross_the_wire():
    for message in (Nudge(), AskEvents(FollowEvents("a", follow=True), 7), replace(EventPage((), 3), more=True)):
        assert decode_message(encode_message(message)) == message

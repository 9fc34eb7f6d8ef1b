"""S4 and S5: from hostile bytes come CodecErrors, quickly and in little memory; nothing is imported or unpickled."""

from __future__ import annotations

import os
import pickle
import random
import struct
import sys
import time
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime

import msgpack
import pytest
from controlkit import receive, serving
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.codec import FRAME_MAX_BYTES, decode
from callboard.core.commandcheck import PUSH_MAX, SLOTS_MAX, check_command
from callboard.core.errors import CodecError, InvalidArgument, PayloadTooLarge
from callboard.core.frames import FrameBuffer, body_length, frame
from callboard.core.messages import (
    AskStatus,
    CancelJob,
    Done,
    DrainNode,
    FollowEvents,
    Message,
    PurgeQueue,
    PushJobs,
    Refused,
    Scale,
    SetPaused,
    decode_message,
    encode_message,
)
from callboard.core.records import Backoff, NewJob
from callboard.core.socketmessages import AskJobs, KnownJobs
from callboard.link import Link

HOSTILE = 100_000
EACH_MAX_S = 0.005
JOB = NewJob("id1", "send_email", "emails", msgpack.packb({"a": {"to": "a@b"}}), backoff=Backoff(1.0), unique="u")
VALID: tuple[Message, ...] = (
    PushJobs((JOB, JOB)), Scale("emails", 3, "n1"), SetPaused("emails", paused=True), CancelJob("x"), PurgeQueue("q"),
    DrainNode("n1"), AskStatus(), FollowEvents("worker", "id1", "job.", "info", 5, follow=True), AskJobs("send_email"),
)


def array(count: int, item: bytes) -> bytes:
    return b"\xdc" + struct.pack(">H", count) + item * count


def fields_of(tag: int, name: str, value: bytes) -> bytes:
    return b"\x92" + bytes([tag]) + b"\x81" + msgpack.packb(name) + value


BOMBS = {
    "a million empty lists": b"\x92\x50" + array(255, array(4095, b"\x90")),
    "a million empty maps": b"\x92\x50" + array(255, array(4095, b"\x80")),
    "a million empty texts": b"\x92\x50" + array(255, array(4095, b"\xa0")),
    "as jobs": fields_of(80, "jobs", array(65_000, array(15, b"\x90"))),
    "as an unknown field": fields_of(82, "more", array(255, array(4095, b"\x90"))),
    "as an answer": fields_of(81, "ids", b"\xdd" + struct.pack(">I", 1_000_000) + b"\xa0" * 1_000_000),
    "nested": b"\x91" * 1_000_000,
    "nested in a field": fields_of(82, "more", b"\x91" * 1_000_000),
    "nested maps": fields_of(82, "more", b"\x81\xa1x" * 300_000),
    "an array longer than the frame": b"\x92\x50\xdd\xff\xff\xff\xff",
    "a map longer than the frame": b"\x92\x50\xdf\xff\xff\xff\xff",
    "a text longer than the frame": b"\x92\x50\xdb\xff\xff\xff\xff",
    "bytes longer than the frame": b"\x92\x50\xc6\xff\xff\xff\xff",
    "an extension longer than the frame": b"\x92\x50\xc9\xff\xff\xff\xff\x01",
}


def hostile(rng: random.Random) -> bytes:
    """Noise, cut, flipped, spliced and grown messages, and plain data of other shapes."""
    kind = rng.randrange(6)
    base = bytearray(encode_message(rng.choice(VALID)))
    if kind == 0:
        return rng.randbytes(rng.randrange(200))
    if kind == 1:
        return bytes(base[: rng.randrange(len(base))])
    if kind == 2:
        for _ in range(rng.randrange(1, 5)):
            base[rng.randrange(len(base))] = rng.randrange(256)
        return bytes(base)
    if kind == 3:
        other = encode_message(rng.choice(VALID))
        return bytes(base[: rng.randrange(len(base))]) + other[rng.randrange(len(other)) :]
    if kind == 4:
        return bytes(base) + rng.randbytes(rng.randrange(1, 9))
    value = rng.choice([None, True, -1, 2**63, 1.5, "x", b"x", [], {}, [1], {"a": 1}, datetime(2026, 1, 1, tzinfo=UTC)])
    return msgpack.packb([rng.choice([*range(130), -1, 2**40]), rng.choice([value, {"queue": value, "slots": value}])],
                         datetime=True)


def test_100_000_hostile_byte_strings_give_codec_errors_alone_and_soon():
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - makes a failure repeatable
    rng = random.Random(seed)
    refused, slowest_s = 0, 0.0
    for _ in range(HOSTILE):
        data = hostile(rng)
        started_s = time.thread_time()
        try:
            message = decode_message(data)
        except CodecError:
            refused += 1
        else:  # a flipped bit may leave a message; then its own limits hold
            assert isinstance(message, Message)
            try:
                check_command(message)
            except InvalidArgument:
                refused += 1
        slowest_s = max(slowest_s, time.thread_time() - started_s)
    assert refused > HOSTILE // 2
    assert slowest_s < EACH_MAX_S


@given(st.binary(max_size=300))
def test_whatever_the_bytes_are_only_codec_errors_come(data):
    for read in (decode_message, decode):
        with suppress(CodecError):
            read(data)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20), st.randoms(use_true_random=False))
def test_a_stream_cut_anywhere_gives_its_frames(bodies, rng):
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    buffer, found = FrameBuffer(), []
    while stream:
        cut = rng.randrange(1, len(stream) + 1)
        buffer.add(stream[:cut])
        stream = stream[cut:]
        while (body := buffer.take()) is not None:
            found.append(body)
    assert found == bodies
    assert len(buffer) == 0


@pytest.mark.parametrize("length", [0, FRAME_MAX_BYTES + 1, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused(length):
    with pytest.raises(CodecError):
        body_length(length.to_bytes(4, "big"))
    buffer = FrameBuffer()
    buffer.add(length.to_bytes(4, "big"))
    with pytest.raises(CodecError):
        buffer.take()


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_neither_time_nor_memory(name):
    data = BOMBS[name][:FRAME_MAX_BYTES]
    tracemalloc.start()
    started_s = time.thread_time()
    try:
        decode_message(data)
    except CodecError:
        pass
    finally:
        took_s, peak = time.thread_time() - started_s, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20 << 20
    assert took_s < 0.1  # measured under tracemalloc, which slows every allocation


@pytest.mark.parametrize("data", [
    pickle.dumps(print), pickle.dumps({"a": 1}, protocol=0), b"cos\nsystem\n(S'true'\ntR.",
    msgpack.packb([80, msgpack.ExtType(1, b"x")]), msgpack.packb(["os:system", {}]), msgpack.packb(["PushJobs", {}]),
    msgpack.packb([82, {"queue": "q", "slots": msgpack.ExtType(5, b"\x01")}]), msgpack.packb([127, {}]),
    msgpack.packb([True, {}]), msgpack.packb({"tag": 82}), msgpack.packb([82]), msgpack.packb([82, {}, 1]), b"",
    msgpack.packb([82, {"queue": "q", "slots": True}]), msgpack.packb([82, {"queue": "q", "slots": 1.0}]),
    msgpack.packb([82, {"queue": b"q", "slots": 1}]), msgpack.packb([82, {"queue": "q", "slots": 2**64 - 1}]),
    b"\x92\x52\x82\xa5queue\xa2\xff\xfe\xa5slots\x01",
])
def test_pickles_names_extensions_and_wrong_types_are_refused(data):
    before = set(sys.modules)
    with pytest.raises((CodecError, InvalidArgument)):
        check_command(decode_message(data))
    assert set(sys.modules) == before


@pytest.mark.parametrize("message", [
    Scale("q", -1), Scale("q", SLOTS_MAX + 1), Scale("", 1), Scale("a b", 1), Scale("q", 1, ""),
    SetPaused("../x", paused=True), CancelJob("x" * 201), PurgeQueue("q\n"), DrainNode("\x1b[31m"), PushJobs(()),
    PushJobs((JOB,) * (PUSH_MAX + 1)),
    *(PushJobs((NewJob(**({"id": "i", "name": "n", "queue": "q", "body": b"\x80"} | bad)),)) for bad in (
        {"id": ""}, {"id": "x" * 201}, {"name": "os:system; rm"}, {"queue": ""}, {"priority": 101},
        {"delay_s": float("nan")}, {"delay_s": float("inf")}, {"delay_s": -1.0}, {"max_attempts": 0},
        {"timeout_s": 0.0}, {"timeout_s": float("nan")},
        {"backoff": Backoff(float("nan"))}, {"backoff": Backoff(1.0, 0.5)}, {"backoff": Backoff(1.0, 2.0, -1.0)},
        {"backoff": Backoff(1.0, 2.0, 1.0, float("nan"))}, {"unique": "a\nb"}, {"unique": ""},
    )),
])
def test_commands_out_of_their_limits_are_refused(message):
    with pytest.raises(InvalidArgument):
        check_command(decode_message(encode_message(message)))


def test_a_body_beyond_the_limit_is_refused():
    with pytest.raises(PayloadTooLarge):
        check_command(PushJobs((NewJob("i", "n", "q", bytes(FRAME_MAX_BYTES + 1)),)))


def test_the_valid_ones_pass_so_that_the_tests_above_mean_something():
    for message in VALID:
        check_command(message)
        assert decode_message(encode_message(message)) == message


def test_an_unknown_field_of_a_newer_node_is_let_pass():
    assert decode_message(msgpack.packb([82, {"queue": "q", "slots": 1, "since": {"v": [2]}}])) == Scale("q", 1)


@pytest.mark.usefixtures("runtime_dir")
def test_hostile_frames_end_their_connection_and_the_node_serves_on():
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - makes a failure repeatable
    rng = random.Random(seed)
    asked = []
    with serving(lambda message: asked.append(message) or Done()) as served:
        for _ in range(300):
            with served.connect() as client:
                data = hostile(rng)
                framed = len(data).to_bytes(4, "big") + data if rng.random() < 0.8 else data
                try:
                    client.sendall(framed)
                    client.shutdown(1)
                    while receive(client) is not None:
                        pass
                except (BrokenPipeError, ConnectionResetError):
                    continue
        with Link(served.path) as link:
            assert isinstance(link.ask(AskJobs()), KnownJobs)
        assert not [line for line in served.events.seen if line["event"] == "control.failed"]
    assert all(isinstance(message, Message) for message in asked)


@pytest.mark.usefixtures("runtime_dir")
def test_a_message_of_a_newer_version_is_refused_with_an_event_and_said_so():
    with serving() as served, served.connect() as client:
        data = msgpack.packb([119, {}])
        client.sendall(len(data).to_bytes(4, "big") + data)
        answer = receive(client)
        assert isinstance(answer, Refused)
        assert "unknown message tag 119" in answer.text
        served.events.wait("control.refused", reason="bad frame")


@pytest.mark.usefixtures("runtime_dir")
def test_a_hostile_node_can_raise_no_foreign_class():
    for name in ("os.system", "SystemExit", "KeyboardInterrupt", "__class__", "QueueError.__init__",
                 "PushOutcomeUnknown", ""):
        with serving(lambda _m, name=name: Refused(name, "text")) as served, Link(served.path) as link:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - the class is what is looked at below
                link.ask(PurgeQueue("q"))
            assert type(caught.value).__module__ == "callboard.core.errors"
            assert os.system is not type(caught.value)


def test_frames_and_messages_agree_on_the_limit():
    with pytest.raises(PayloadTooLarge):
        frame(PurgeQueue("q" * FRAME_MAX_BYTES))

"""Every message crosses the wire and comes back; tags are stable; hostile ones are refused."""

from __future__ import annotations

import dataclasses

import pytest

from callboard.core.codec import encode
from callboard.core.errors import CodecError
from callboard.core.messages import (
    Begin,
    Finished,
    Lead,
    PoolChanged,
    PushJobs,
    Scale,
    Taken,
    decode_message,
    encode_message,
    known_messages,
    message,
)
from callboard.core.records import (
    Backoff,
    FinishReceipt,
    Held,
    NewJob,
    PoolReport,
    QueueShare,
    SessionId,
    Step,
    TakenJob,
    Term,
    Token,
)

JOB = TakenJob(7, "id", Token(1, 2), "name", "queue", b"\x00", 1, 0, Step.HANDLE, 3, None, Backoff(1.0), None,
               has_failed_hook=True, pushed_ms=5)
SAMPLES = [
    Begin(restarted=True),
    Taken(SessionId(3), (JOB,)),
    Finished(FinishReceipt(1, (Held(1, "a", Token(1, 1)),), ("q",))),
    Finished(None, "away"),
    Lead(Term(1, "owner", 5.0, "handle"), 12.5),
    PoolChanged(PoolReport("p", (QueueShare("q", 2),), 3, 9)),
    PushJobs((NewJob("id", "name", "queue", b"x", backoff=Backoff(2.0), unique="u"),)),
    Scale("emails", 20, "n1"),
]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_message_comes_back_equal(sample):
    assert decode_message(encode_message(sample)) == sample


def test_every_message_is_frozen_and_has_a_field_type_that_can_be_read():
    for tag, kind in known_messages().items():
        assert kind.__dataclass_params__.frozen, tag
        with pytest.raises(CodecError):
            decode_message(encode([tag, "no fields"]))


def test_an_unknown_field_of_a_newer_node_is_let_pass():
    assert decode_message(encode([82, {"queue": "q", "slots": 1, "colour": "blue"}])) == Scale("q", 1)


@pytest.mark.parametrize(
    "value",
    [None, [], [82], [82, {}, {}], ["82", {}], [9_999, {}], [82, {"queue": "q"}], [82, {"queue": 5, "slots": 1}],
     [82, {"queue": "q", "slots": "os:system"}], {"tag": 82}, [True, {}]],
)
def test_what_is_no_message_of_ours_is_refused(value):
    with pytest.raises(CodecError):
        decode_message(encode(value))


def test_a_tag_is_taken_once():
    with pytest.raises(ValueError, match="82"):
        message(82)(dataclasses.make_dataclass("Twice", []))


def test_tags_never_change():
    names = {tag: kind.__name__ for tag, kind in known_messages().items()}
    assert {1: "Begin", 4: "StopNode", 20: "Campaign", 27: "Lead", 40: "SessionOpened", 60: "Rung", 64: "Taken",
            80: "PushJobs", 82: "Scale", 87: "AskStatus", 91: "FollowEvents"}.items() <= names.items()

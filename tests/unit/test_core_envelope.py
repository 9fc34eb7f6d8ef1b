"""Broadcasts: sealed and read within limits, judged before they are believed (S2)."""

from __future__ import annotations

import random

import pytest

from callboard.core.codec import BROADCAST_MAX_BYTES, FRAME_MAX_BYTES, encode
from callboard.core.envelope import (
    BODY_MAX_BYTES,
    PARTS_MAX,
    ClusterKeys,
    Envelope,
    Kind,
    Sender,
    parts_of,
    seal,
    unseal,
)
from callboard.core.errors import CodecError, InvalidArgument, PayloadTooLarge
from callboard.core.gate import AHEAD_MAX_S, SENDERS_MAX, WINDOW, Gate, Replays

KEY, OLD, OTHER = "k" * 32, "o" * 40, "x" * 32
NOW_S = 1_700_000_000.0
TIMES = 1_000


def everyone(_sender):
    return True


def gate(*keys, cluster_id="c1"):
    return Gate(cluster_id, ClusterKeys(keys))


def said(*keys, me="client-1", cluster_id="c1", body=b"body", at_s=NOW_S, **about):
    return Sender(cluster_id, me, ClusterKeys(keys)).seal(Kind.REQUEST, body, at_s, **about)


@pytest.fixture
def draw():
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    return random.Random(seed)


def test_what_was_sealed_is_read_as_it_was():
    envelope = Envelope("c1", "client-1", 7, "boot", Kind.REPLY, bytes(range(256)), "id", 2.5, 1, 3)
    for keys in (ClusterKeys(), ClusterKeys((KEY,))):
        assert unseal(seal(envelope, keys)).envelope == envelope


def accepted(judge, tries):
    """How many of these bytes get in."""
    count = 0
    for data in tries:
        try:
            sealed = unseal(data)
        except CodecError:
            continue
        count += not judge.refusal(sealed, everyone, NOW_S)
    return count


def test_a_flipped_bit_is_never_let_in(draw):
    judge, tries = gate(KEY), []
    for n in range(TIMES):
        data = bytearray(said(KEY, me=f"client-{n}", body=draw.randbytes(draw.randrange(200))))
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        tries.append(bytes(data))
    assert accepted(judge, tries) == 0


def test_a_replay_is_never_let_in(draw):
    judge, sender = gate(KEY), Sender("c1", "client-1", ClusterKeys((KEY,)))
    came = [sender.seal(Kind.TELL, b"x", NOW_S) for _ in range(TIMES)]
    assert accepted(judge, came) == TIMES
    draw.shuffle(came)
    assert accepted(judge, came) == 0


def test_another_clusters_messages_are_never_let_in_even_under_the_same_key():
    assert accepted(gate(KEY), [said(KEY, cluster_id="c2", me=f"client-{n}") for n in range(TIMES)]) == 0


def test_without_the_key_nobody_is_let_in(draw):
    tries = [said(OTHER, me=f"client-{n}") for n in range(TIMES)] + [said(me=f"client-{n}") for n in range(TIMES)]
    assert accepted(gate(KEY), tries) == 0
    forged = [encode([1, "", draw.randbytes(32), unseal(said(KEY, me=f"client-{n}")).inner]) for n in range(TIMES)]
    assert accepted(gate(KEY), forged) == 0
    swapped = unseal(said(KEY))  # a true mac, of other bytes
    assert accepted(gate(KEY), [encode([1, swapped.key_id, swapped.mac, unseal(said(KEY, body=b"y")).inner])]) == 0


def test_an_unknown_sender_is_never_let_in():
    judge = gate(KEY)
    for n in range(TIMES):
        assert judge.refusal(unseal(said(KEY, me=f"boot-{n}")), {"boot-x"}.__contains__, NOW_S) == "unknown sender"
    assert judge.refusal(unseal(said(KEY, me="boot-x")), {"boot-x"}.__contains__, NOW_S) == ""


def test_reasons_are_told_apart():
    refusal = [gate(KEY).refusal(unseal(data), everyone, NOW_S) for data in (
        said(KEY, cluster_id="c2"), said(OTHER), said(), said(KEY, at_s=NOW_S + AHEAD_MAX_S + 1), said(KEY))]
    assert refusal == ["another cluster", "not authentic", "not signed", "a day ahead", ""]


def test_two_keys_live_while_they_are_changed():
    old, both, new = gate(OLD), gate(KEY, OLD), gate(KEY)
    assert accepted(both, [said(OLD, me="client-1"), said(KEY, me="client-2"), said(KEY, OLD, me="client-3")]) == 3
    assert accepted(new, [said(KEY, OLD)]) == 1  # the first signs
    assert accepted(old, [said(KEY, OLD)]) == 0
    assert accepted(new, [said(OLD)]) == 0


def test_without_a_key_the_backend_is_the_boundary():
    assert accepted(gate(), [said(), said(KEY, me="client-2")]) == 2


def test_a_refused_message_burns_no_number():
    judge = gate(KEY)
    assert accepted(judge, [said(OTHER, me="client-1")]) == 0
    assert accepted(judge, [said(KEY, me="client-1")]) == 1


def test_numbers_out_of_order_are_taken_within_the_window():
    replays = Replays()
    numbers = list(range(1, WINDOW + 1))
    assert all(replays.accept("a", number * 10) for number in reversed(numbers))
    assert not any(replays.accept("a", number * 10) for number in numbers)
    assert replays.accept("a", 10_000)
    assert not replays.accept("a", 5)  # older than all that is remembered: may have come


def test_senders_are_bounded_and_the_forgotten_ones_can_not_be_replayed():
    replays = Replays()
    for n in range(5 * SENDERS_MAX):
        assert replays.accept(f"client-{n}", n + 1)
    assert len(replays) == SENDERS_MAX
    assert not any(replays.accept(f"client-{n}", n + 1) for n in range(5 * SENDERS_MAX))


def test_a_senders_numbers_grow_even_when_its_clock_goes_back():
    sender = Sender("c1", "a", ClusterKeys())
    numbers = [unseal(sender.seal(Kind.TELL, b"", at_s)).envelope.sequence for at_s in (NOW_S, NOW_S, NOW_S - 3600)]
    assert numbers == [int(NOW_S * 1e6) + n for n in range(3)]


def test_sizes_are_bounded():
    long_names = {"target": "t" * 255, "correlation": "c" * 255}
    most = Sender("i" * 255, "s" * 255, ClusterKeys((KEY,))).seal(
        Kind.REPLY, b"x" * BODY_MAX_BYTES, NOW_S, part=PARTS_MAX - 1, parts=PARTS_MAX, **long_names)
    assert len(most) <= BROADCAST_MAX_BYTES
    unseal(most)
    with pytest.raises(PayloadTooLarge):
        said(body=b"x" * (BODY_MAX_BYTES + 1))
    with pytest.raises(CodecError, match="limit"):
        unseal(b"\xc6" * (BROADCAST_MAX_BYTES + 1))
    whole = bytes(range(256)) * (FRAME_MAX_BYTES // 256)
    assert b"".join(parts_of(whole)) == whole
    assert len(parts_of(whole)) <= PARTS_MAX
    assert parts_of(b"") == (b"",)
    with pytest.raises(PayloadTooLarge):
        parts_of(whole + b"x")


@pytest.mark.parametrize("change", [
    {"sender": ""}, {"sender": "s" * 256}, {"target": "t\n"}, {"correlation": "c" * 256}, {"sequence": 0},
    {"sequence": 2**63}, {"sequence": -1}, {"part": 1}, {"parts": PARTS_MAX + 1}, {"part": -1}, {"timeout_s": -1.0},
    {"timeout_s": 1e9}, {"timeout_s": float("nan")}, {"kind": 9}])
def test_values_out_of_their_limits_are_no_broadcast(change):
    fields = {"cluster_id": "c1", "sender": "a", "sequence": 1, "target": "", "kind": 0, "correlation": "",
              "timeout_s": 0.0, "part": 0, "parts": 1, "body": b""}
    unseal(encode([1, "", b"", encode(list(fields.values()))]))
    with pytest.raises(CodecError):
        unseal(encode([1, "", b"", encode(list((fields | change).values()))]))


def test_hostile_bytes_are_codec_errors_alone(draw):
    whole = said(KEY, body=b"x" * 50)
    for _ in range(20_000):
        data = bytearray(whole)
        for _ in range(draw.randrange(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            unseal(bytes(data[:draw.randrange(len(data) + 1)]) + draw.randbytes(draw.randrange(4)))
        except CodecError:
            continue


@pytest.mark.parametrize("data", [b"", b"\xdd\xff\xff\xff\xff", b"\x91" * 5_000, encode([2, "", b"", b""]), encode([1]),
                                  encode([1, "", b"", b"\xdd\xff\xff\xff\xff"]), encode({"a": 1})])
def test_what_is_no_broadcast_of_ours_is_refused(data):
    with pytest.raises(CodecError):
        unseal(data)


def test_keys_are_checked_and_never_shown():
    for texts in (("short",), (KEY, OLD, OTHER), ("\n" * 40,)):
        with pytest.raises(InvalidArgument) as caught:
            ClusterKeys(texts)
        assert not any(text in str(caught.value) for text in texts)
    keys = ClusterKeys.of(f"{KEY}, {OLD}")
    assert repr(keys) == "<2 cluster key(s)>"
    assert KEY not in f"{keys!r} {keys} {said(KEY)!r}"
    assert not ClusterKeys.of("")

"""Bytes become values within limits; whatever they are, only CodecError is raised."""

from __future__ import annotations

import datetime as dt
import random
import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.codec import ARRAY_MAX, FRAME_MAX_BYTES, decode, encode
from callboard.core.errors import CodecError, PayloadTooLarge, Unserialisable

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.datetimes(min_value=dt.datetime(1970, 1, 1), max_value=dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC)),  # noqa: DTZ001 - Hypothesis wants bounds without a zone
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
HOSTILE = 20_000


@given(PLAIN)
def test_plain_data_comes_back_as_it_was(value):
    assert decode(encode(value)) == value


ODD = [object(), {1, 2}, 2**70, {"a": object()}, "\ud800", lambda: None, dt.date(2026, 1, 1)]


@pytest.mark.parametrize("value", ODD)
def test_what_is_no_plain_data_is_refused_where_it_is_given(value):
    with pytest.raises(Unserialisable, match="the thing can't be sent"):
        encode(value, what="the thing")


def test_a_datetime_without_a_zone_is_refused():
    with pytest.raises(Unserialisable):
        encode(dt.datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_the_size_is_bounded_both_ways():
    with pytest.raises(PayloadTooLarge, match="1,048,576"):
        encode(b"x" * FRAME_MAX_BYTES)
    with pytest.raises(CodecError, match="exceed"):
        decode(b"\xc0" * (FRAME_MAX_BYTES + 1))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xc0\xc0",  # two values
        b"\xdd\xff\xff\xff\xff",  # an array of four billion
        b"\xdf\xff\xff\xff\xff",  # a map of four billion
        b"\xc6\xff\xff\xff\xff",  # four GiB of bytes
        b"\xc9\xff\xff\xff\xff\x01",  # an extension of four GiB
        b"\x91" * 5_000,  # deep
        msgpack.packb({1: 2}),  # a map whose key is no string
        msgpack.packb(msgpack.ExtType(7, b"x")),
        b"\xa1\xff",  # no UTF-8
        b"\x80\x04\x95" + b"cos\nsystem\n(S'x'\ntR.",  # a pickle
    ],
)
def test_hostile_bytes_raise_codec_error(data):
    with pytest.raises(CodecError):
        decode(data)


def test_arrays_are_bounded_in_elements():
    assert len(decode(encode([0] * ARRAY_MAX))) == ARRAY_MAX
    with pytest.raises(CodecError):
        decode(encode([0] * (ARRAY_MAX + 1)))


def test_random_bytes_raise_codec_error_alone():
    seed = random.SystemRandom().randrange(2**32)
    draw = random.Random(seed)
    heads = [b"", b"\xdc", b"\xdd", b"\xde", b"\xdf", b"\xc4", b"\xc6", b"\xc7", b"\xd9", b"\xdb", b"\x92\x05"]
    for number in range(HOSTILE):
        length = struct.pack(">I", draw.randrange(2**32)) if number % 2 else b""
        data = draw.choice(heads) + length + draw.randbytes(draw.randrange(60))
        try:
            decode(data)
        except CodecError:
            continue
        except Exception as error:  # noqa: BLE001 - any other kind is the finding
            pytest.fail(f"seed {seed}: {data!r} raised {type(error).__name__}: {error}")

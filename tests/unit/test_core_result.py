"""What a job returns, as bytes: it comes back as it went, or the bytes say why there is nothing."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.codec import encode
from callboard.core.errors import CodecError, PayloadTooLarge, ResultLost, Unserialisable
from callboard.core.result import RESULT_MAX_BYTES, decode_result, encode_result, is_lost, lost_result

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.binary(max_size=20),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5), parts, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_plain_data_comes_back_as_it_went(value):
    data = encode_result(value)
    assert decode_result(data) == value
    assert not is_lost(data)


def test_as_many_elements_as_the_bytes_carry_come_back():
    value = [1] * (RESULT_MAX_BYTES - 10)
    assert decode_result(encode_result(value)) == value


@pytest.mark.parametrize("value", [object(), {1: 2}, [{2: 3}], {"a": {1, 2}}, 2**70, "\ud800"])
def test_what_is_no_plain_data_is_refused(value):
    with pytest.raises(Unserialisable, match="what the job returned"):
        encode_result(value)


def test_what_is_too_large_is_refused():
    with pytest.raises(PayloadTooLarge, match="65,536"):
        encode_result(b"x" * RESULT_MAX_BYTES)


@given(st.text(max_size=5_000))
def test_a_lost_result_says_why(text):
    data = lost_result(PayloadTooLarge(text))
    assert is_lost(data)
    assert len(data) < RESULT_MAX_BYTES
    with pytest.raises(ResultLost, match="could not be kept: PayloadTooLarge"):
        decode_result(data)


def test_an_error_that_cannot_be_shown_is_named():
    class Hostile(Exception):
        def __str__(self):
            raise RuntimeError

    with pytest.raises(ResultLost, match="Hostile: <its __str__ raised RuntimeError>"):
        decode_result(lost_result(Hostile()))


@given(st.binary(max_size=200))
def test_hostile_bytes_raise_our_errors_alone(data):
    with contextlib.suppress(CodecError, ResultLost):
        decode_result(data)
    is_lost(data)


@pytest.mark.parametrize("parts", [[], [0], [2, "x"], [1, "kind"], [1, 2, 3], {"a": 1}, None, 0])
def test_what_is_no_result_is_refused(parts):
    with pytest.raises(CodecError):
        decode_result(encode(parts))

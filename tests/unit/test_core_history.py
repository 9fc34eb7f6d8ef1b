"""core/history.py: what became of a job's runs, within bounds."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.errors import CodecError
from callboard.core.history import HISTORY_MAX, HISTORY_MAX_BYTES, add_run, decode_history, decode_run, encode_run
from callboard.core.records import RunRecord, Token

RUN = RunRecord(Token(2, 7), "n1", 1_000, 1_001, 1_002, 2_000, "retry", b"why")
RUNS = st.builds(
    RunRecord, st.builds(Token, st.integers(0, 2**60), st.integers(0, 2**60)), st.text(max_size=255),
    st.integers(0, 2**45), st.integers(0, 2**45), st.none() | st.integers(1, 2**45), st.integers(0, 2**45),
    st.text(max_size=30), st.none() | st.binary(min_size=1, max_size=2_000),
)


@given(st.lists(RUNS, max_size=30))
def test_the_newest_runs_come_back_as_they_were(runs):
    history = None
    for run in runs:
        history = add_run(history, run)
    kept = decode_history(history)
    assert list(kept) == runs[len(runs) - len(kept):]
    assert len(kept) == min(len(runs), HISTORY_MAX)


def test_nothing_is_nil_for_lua_reads_it_too():
    bare = RUN._replace(started_ms=None, error=None)
    assert None not in msgpack.unpackb(encode_run(bare))
    assert decode_run(encode_run(bare)) == bare


def test_long_errors_push_old_runs_out_and_one_too_long_is_left_out():
    history = None
    for number in range(10):
        history = add_run(history, RUN._replace(token=Token(1, number), error=b"x" * 16_000))
    assert history is not None
    assert len(history) <= HISTORY_MAX_BYTES
    assert [run.token.seq for run in decode_history(history)] == [6, 7, 8, 9]
    assert decode_run(encode_run(RUN._replace(error=b"x" * 100_000))) == RUN._replace(error=None)


@pytest.mark.parametrize("data", [b"", b"\xc1", msgpack.packb([1, 2]), msgpack.packb({}), msgpack.packb(["a"] * 9)])
def test_what_is_no_run_is_refused(data):
    with pytest.raises(CodecError):
        decode_run(data)


def test_a_damaged_history_is_refused_and_begun_anew():
    for data in (b"\xc1", msgpack.packb([b"x"] * (HISTORY_MAX + 1)), msgpack.packb([1])):
        with pytest.raises(CodecError):
            decode_history(data)
        assert decode_history(add_run(data, RUN)) == (RUN,)
    assert decode_history(None) == ()

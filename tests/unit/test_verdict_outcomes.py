"""What becomes of a job whose run ended."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.codec import encode
from callboard.core.errorrecord import (
    MESSAGE_MAX,
    RECORD_MAX_BYTES,
    TRACEBACK_MAX,
    decode_error,
    encode_error,
    error_record,
)
from callboard.core.errors import CodecError
from callboard.core.options import DELAY_MAX_S
from callboard.core.records import Backoff, ErrorRecord, Held, Outcome, OutcomeKind, Step, TakenJob, Token
from callboard.core.runs import EndKind, RunEnd
from callboard.core.verdict import QueueDefaults, outcome_of

TOKEN = Token(3, 14)
HELD = Held(1, "job-1", TOKEN)
BOOM = ErrorRecord("ValueError", "boom", "Traceback ...")
DEFAULTS = QueueDefaults()


def job(attempt=1, max_attempts=None, backoff=None, step=Step.HANDLE, error=None):
    return TakenJob(1, "job-1", TOKEN, "send", "emails", b"", attempt, 0, step, max_attempts, None, backoff, error,
                    has_failed_hook=step is Step.FAILED_HOOK, pushed_ms=0)


def verdict(kind, taken=None, draw=0.0, defaults=DEFAULTS, **fields: object):
    return outcome_of(RunEnd(TOKEN, kind, **fields), HELD, taken or job(), defaults, draw)


def test_the_defaults_are_those_of_the_documentation():
    assert QueueDefaults(3, 300.0, Backoff(60.0)) == DEFAULTS


OWN_DOING = [EndKind.RAISED, EndKind.TIMED_OUT, EndKind.CHILD_DIED]


@pytest.mark.parametrize("kind", OWN_DOING)
def test_what_the_job_did_itself_costs_an_attempt_and_is_tried_again_until_they_are_used_up(kind):
    for attempt in (1, 2):
        outcome = verdict(kind, job(attempt), error=BOOM)
        assert outcome == Outcome(HELD, OutcomeKind.RETRY, 60.0, encode_error(BOOM))
    assert verdict(kind, job(3), error=BOOM) == Outcome(HELD, OutcomeKind.FAILED, 0.0, encode_error(BOOM))


def test_the_jobs_own_numbers_go_before_the_queues():
    taken = job(4, max_attempts=5, backoff=Backoff(1, 2.0))
    assert verdict(EndKind.RAISED, taken, error=BOOM)[1:3] == (OutcomeKind.RETRY, 8.0)
    assert verdict(EndKind.RAISED, job(1, max_attempts=1), error=BOOM).kind is OutcomeKind.FAILED


def test_a_queue_has_its_own_defaults_and_the_draw_spreads_the_delay():
    defaults = QueueDefaults(max_attempts=9, backoff=Backoff(10, jitter=1.0))
    assert verdict(EndKind.RAISED, job(8), draw=0.5, defaults=defaults, error=BOOM)[1:3] == (OutcomeKind.RETRY, 5.0)


def test_a_permanent_error_fails_at_once():
    assert verdict(EndKind.RAISED, error=BOOM, permanent=True).kind is OutcomeKind.FAILED


def test_the_jobs_own_wish_of_when_goes_before_the_backoff():
    assert verdict(EndKind.RAISED, error=BOOM, retry_after_s=7.5)[1:3] == (OutcomeKind.RETRY, 7.5)
    assert verdict(EndKind.TIMED_OUT, error=BOOM, retry_after_s=0.0)[1:3] == (OutcomeKind.RETRY, 0.0)


def test_a_wish_does_not_bring_more_attempts():
    assert verdict(EndKind.RAISED, job(3), error=BOOM, retry_after_s=1.0).kind is OutcomeKind.FAILED


def test_a_snooze_costs_nothing_even_at_the_last_attempt():
    assert verdict(EndKind.RAISED, job(3), snooze_s=30.0) == Outcome(HELD, OutcomeKind.SNOOZED, 30.0, None)


@pytest.mark.parametrize("wish", [math.nan, -1.0, math.inf, -math.inf, 1e300])
def test_a_wish_out_of_range_is_bounded(wish):
    assert 0.0 <= verdict(EndKind.RAISED, error=BOOM, retry_after_s=wish).delay_s <= DELAY_MAX_S
    assert 0.0 <= verdict(EndKind.RAISED, snooze_s=wish).delay_s <= DELAY_MAX_S


@pytest.mark.parametrize(
    ("end", "outcome", "delay_s"),
    [
        (EndKind.COMPLETED, OutcomeKind.COMPLETED, 0.0),
        (EndKind.NOT_STARTED, OutcomeKind.HANDED_BACK, 0.0),
        (EndKind.CANCELLED, OutcomeKind.CANCELLED, 0.0),
        (EndKind.UNKNOWN_JOB, OutcomeKind.SNOOZED, 5.0),
    ],
)
@pytest.mark.parametrize("step", list(Step))
def test_what_costs_nothing(end, outcome, delay_s, step):
    assert verdict(end, job(3, step=step)) == Outcome(HELD, outcome, delay_s)


@pytest.mark.parametrize(("end", "kind"), [(EndKind.NEIGHBOUR_DIED, "ChildDied"), (EndKind.INTERRUPTED, "Interrupted")])
@pytest.mark.parametrize("step", list(Step))
def test_what_ended_it_from_outside_is_a_loss(end, kind, step):
    outcome = verdict(end, job(3, step=step))
    assert outcome.kind is OutcomeKind.LOST
    assert decode_error(outcome.error).kind == kind


@pytest.mark.parametrize("kind", list(EndKind))
def test_every_end_has_a_verdict_and_every_charge_a_reason(kind):
    outcome = verdict(kind)
    charged = (OutcomeKind.RETRY, OutcomeKind.FAILED, OutcomeKind.LOST)
    assert (outcome.error is not None) == (outcome.kind in charged)


@pytest.mark.parametrize("kind", OWN_DOING)
def test_a_failed_hook_that_fails_keeps_the_jobs_reason_and_is_not_tried_again(kind):
    taken = job(1, step=Step.FAILED_HOOK, error=encode_error(BOOM))
    outcome = verdict(kind, taken, error=ErrorRecord("KeyError", "hook"))
    assert outcome.kind is OutcomeKind.FAILED
    reason = decode_error(outcome.error)
    assert (reason.kind, reason.traceback) == ("ValueError", "Traceback ...")
    assert "boom" in reason.message
    assert "KeyError: hook" in reason.message


@pytest.mark.parametrize("error", [None, b"", b"\xff\xff", b"\x93\x01\x02\x03"])
def test_a_failed_hook_of_a_row_whose_error_is_missing_or_hostile_still_ends(error):
    outcome = verdict(EndKind.RAISED, job(step=Step.FAILED_HOOK, error=error), error=BOOM)
    assert outcome.kind is OutcomeKind.FAILED
    assert "boom" in decode_error(outcome.error).message


# Error records


def test_of_a_long_message_the_beginning_is_kept_of_a_traceback_the_end():
    record = decode_error(encode_error(ErrorRecord("E", "first" + "x" * 9_000, "y" * 90_000 + "last line")))
    assert len(record.message) == MESSAGE_MAX
    assert record.message.startswith("firstx")
    assert len(record.traceback) == TRACEBACK_MAX
    assert record.traceback.endswith("last line")


def test_characters_that_utf8_cannot_carry_are_escaped():
    assert decode_error(encode_error(ErrorRecord("E", "name \udcff"))).message == "name \\udcff"


@given(st.text(), st.text(), st.text())
def test_a_record_within_bounds_comes_back_as_it_went(kind, message, traceback):
    record = error_record(kind, message, traceback)
    assert decode_error(encode_error(record)) == record
    assert len(encode_error(ErrorRecord(kind * 99, message * 99, traceback * 999))) <= RECORD_MAX_BYTES


@given(st.binary(max_size=200))
def test_hostile_bytes_raise_codec_error_alone(data):
    with contextlib.suppress(CodecError):
        decode_error(data)


def test_a_field_that_a_newer_version_appended_is_left_out():
    assert decode_error(encode(["E", "m", "t", {"more": 1}])) == ErrorRecord("E", "m", "t")


# At most once


def once(**fields: object):
    return job(**fields)._replace(at_most_once=True)


@pytest.mark.parametrize("kind", OWN_DOING)
@pytest.mark.parametrize("max_attempts", [None, 1, 5])
def test_an_at_most_once_job_fails_for_good_at_its_first_end(kind, max_attempts):
    outcome = verdict(kind, once(max_attempts=max_attempts), error=BOOM)
    assert outcome == Outcome(HELD, OutcomeKind.FAILED, 0.0, encode_error(BOOM))


@pytest.mark.parametrize("wish", [{"snooze_s": 30.0}, {"retry_after_s": 30.0}])
def test_an_at_most_once_job_that_asks_to_be_run_again_fails_for_good_and_the_error_says_why(wish):
    outcome = verdict(EndKind.RAISED, once(), error=BOOM, **wish)
    assert outcome.kind is OutcomeKind.FAILED
    message = decode_error(outcome.error).message
    assert message.startswith("boom; it asked to be ")
    assert "in 30 s, but it is at_most_once" in message


def test_what_ended_an_at_most_once_job_from_outside_is_a_loss_and_what_an_operator_cancelled_is_cancelled():
    assert verdict(EndKind.INTERRUPTED, once()).kind is OutcomeKind.LOST
    assert verdict(EndKind.NEIGHBOUR_DIED, once()).kind is OutcomeKind.LOST
    assert verdict(EndKind.CANCELLED, once()) == Outcome(HELD, OutcomeKind.CANCELLED)
    assert verdict(EndKind.NOT_STARTED, once()) == Outcome(HELD, OutcomeKind.HANDED_BACK)


def test_an_at_most_once_job_that_the_app_does_not_define_is_handed_back_after_a_while():
    assert verdict(EndKind.UNKNOWN_JOB, once()) == Outcome(HELD, OutcomeKind.HANDED_BACK, 5.0)


def test_a_result_goes_with_a_completion_alone():
    assert verdict(EndKind.COMPLETED, result=b"r") == Outcome(HELD, OutcomeKind.COMPLETED, result=b"r")

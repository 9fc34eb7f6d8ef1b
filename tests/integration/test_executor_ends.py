"""How runs end, the same for all three kinds of children."""

from __future__ import annotations

import pytest
from executor_kit import lines, running

from callboard.core.errorrecord import encode_error
from callboard.core.records import ErrorRecord, Step
from callboard.core.runs import EndKind


@pytest.fixture(scope="module", params=["process", "thread", "asyncio"])
def rig(request):
    with running(request.param, kill_grace_s=1.0) as made:
        yield made


@pytest.fixture(params=["raises", "raises_async"])
def raises(request):
    return request.param


def test_plain_and_async_jobs_complete(rig):
    tokens = rig.submit(*(rig.job(name) for name in ("nothing", "nothing_async") * 50))
    assert rig.kinds(tokens) == [EndKind.COMPLETED] * 100


def test_arguments_arrive_and_what_is_returned_is_ignored(rig):
    assert rig.run("two_arguments", a=1, c={"deep": [1, b"\xff", None]}).kind == EndKind.COMPLETED


def test_the_context_tells_a_job_who_it_is(rig, tmp_path):
    path = tmp_path / "context"
    token = rig.start("context", path=str(path), timeout_s=12.0, attempt=3, headers=(("h", "v"),))
    rig.end(token)
    assert lines(path)[0].split()[:8] == [f"job-{token.seq}", "7", str(token.seq), "3", "0", "12", "q", "v"]


def test_context_variables_do_not_leak_from_job_to_job(rig, tmp_path):
    path = tmp_path / "leak"
    for _ in range(6):
        rig.run("leaves_context", path=str(path))
    assert lines(path) == ["clean"] * 6


@pytest.mark.parametrize(("what", "kind", "message"), [
    ("value", "ValueError", "a bad value"),
    ("surrogate", "ValueError", "half \\udc80 a character"),
    ("rude", "Rude", "<its __str__ raised ValueError>"),
    ("exit", "SystemExit", "3"),
    ("interrupt", "KeyboardInterrupt", ""),
    ("generator", "GeneratorExit", ""),
    ("base", "BaseException", "the root"),
    ("memory", "MemoryError", "claimed"),
])
def test_whatever_a_job_raises_is_told_in_strings(rig, raises, what, kind, message):
    end = rig.run(raises, what=what)
    assert end.kind == EndKind.RAISED
    assert end.error[:2] == (kind, message)
    assert not end.permanent
    assert end.retry_after_s is None
    assert end.duration_s >= 0


def test_a_traceback_shows_the_jobs_frames_and_not_ours(rig, raises):
    traceback = rig.run(raises, what="value").error.traceback
    assert "raise error" in traceback
    assert "backends/executors" not in traceback


def test_long_messages_and_deep_tracebacks_are_cut(rig):
    end = rig.run("raises", what="long")
    assert len(end.error.message) <= 2_000
    assert len(end.error.traceback) <= 16_000
    end = rig.run("deep")
    assert end.error.kind == "RecursionError"
    assert len(end.error.traceback) <= 16_000


def test_permanent_errors(rig, raises):
    assert rig.run(raises, what="permanent").permanent
    assert rig.run("permanent_key").permanent


def test_a_job_may_ask_to_be_tried_later_or_to_be_snoozed(rig, raises):
    assert rig.run(raises, what="later").retry_after_s == 7.0
    assert rig.run(raises, what="later-plain").retry_after_s is None
    end = rig.run(raises, what="snooze")
    assert (end.kind, end.snooze_s) == (EndKind.RAISED, 9.0)


def test_a_wish_that_is_no_number_of_seconds_is_told(rig):
    token = rig.start("raises", what="later-bad")
    assert rig.end(token).retry_after_s is None
    rig.told.wait(lambda told: any(note.token == token for note in told.of("job.retry_after_failed")), "a bad wish")
    end = rig.run("raises", what="snooze-bad")
    assert (end.error.kind, end.snooze_s) == ("InvalidArgument", None)


def test_a_time_limit_that_a_job_raises_itself_is_a_timeout(rig):
    end = rig.run("raises", what="limit")
    assert (end.kind, end.error.kind, end.error.message) == (EndKind.TIMED_OUT, "Timeout", "its own")


def test_retry_after_is_asked_with_the_attempt(rig):
    assert rig.run("Exponential", attempt=1).retry_after_s == 1.0
    assert rig.run("Exponential", attempt=4).retry_after_s == 8.0


@pytest.mark.parametrize("text", ["fail", "odd"])
def test_a_retry_after_that_fails_leaves_the_backoff_and_is_told(rig, text):
    token = rig.start("Exponential", text=text)
    end = rig.end(token)
    assert (end.error.message, end.retry_after_s) == (text, None)
    rig.told.wait(lambda told: any(note.token == token for note in told.of("job.retry_after_failed")), "its failure")


def test_failed_hooks_get_the_error_in_strings(rig, tmp_path):
    stored = encode_error(ErrorRecord("OldError", "the reason", "tb"))
    path = tmp_path / "failed"
    end = rig.run("Failing", path=str(path), step=Step.FAILED_HOOK, error=stored, attempt=3)
    assert end.kind == EndKind.COMPLETED
    assert lines(path) == ["FailedJobError OldError OldError: the reason tb 3"]
    rig.run("FailingAsync", path=str(tmp_path / "async"), step=Step.FAILED_HOOK, error=stored)
    assert lines(tmp_path / "async") == ["OldError"]


def test_a_failed_hook_that_fails_has_raised(rig, tmp_path):
    path = tmp_path / "bad"
    end = rig.run("Failing", path=str(path), step=Step.FAILED_HOOK, error=b"\xc1 no record")
    assert (end.kind, end.error.kind) == (EndKind.RAISED, "RuntimeError")
    assert lines(path)[0].startswith("FailedJobError Unknown")


def test_a_job_that_the_app_lacks(rig):
    end = rig.run("os:system")
    assert (end.kind, end.error.kind) == (EndKind.UNKNOWN_JOB, "UnknownJob")


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x80", b"os\nsystem", b"\xc7\x00\x01", b"\x81\xa1a\x01", b"x" * 2_000_000],
)
def test_a_body_that_is_none_of_ours_fails_for_good(rig, body):
    end = rig.run("nothing", body=body)
    assert (end.kind, end.error.kind, end.permanent) == (EndKind.RAISED, "CodecError", True)


@pytest.mark.parametrize(("name", "arguments"), [
    ("two_arguments", {}), ("two_arguments", {"a": 1, "old": 2}), ("Strict", {"m": 1}), ("nothing_async", {"x": 1}),
])
def test_arguments_that_no_longer_fit_fail_for_good(rig, name, arguments):
    end = rig.run(name, **arguments)
    assert (end.kind, end.error.kind, end.permanent) == (EndKind.RAISED, "InvalidArgument", True)


def test_a_type_error_of_the_jobs_own_is_tried_again(rig):
    end = rig.run("Strict", n=-1)
    assert (end.kind, end.error.kind, end.permanent) == (EndKind.RAISED, "TypeError", False)

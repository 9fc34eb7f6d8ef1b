"""core/timeline.py: a job's life, oldest first, nothing told twice."""

from __future__ import annotations

from dataclasses import replace

from callboard.core.records import JobRecord, JobState, RunRecord, Token
from callboard.core.timeline import timeline

JOB = JobRecord(
    id="j1", name="app.work", queue="q", state=JobState.READY, priority=0, attempts=0, losses=0, max_attempts=None,
    pushed_ms=1_000, due_ms=1_000, finished_ms=None, token=None, node=None, body=b"", error=None,
)
RETRIED = RunRecord(Token(1, 1), "n1", 1_100, 1_200, 1_300, 1_400, "retry", b"why")


def told(job):
    return [(one.at_ms, one.what) for one in timeline(job)]


def test_a_job_that_waits_was_pushed():
    assert told(JOB) == [(1_000, "pushed")]
    assert told(replace(JOB, state=JobState.DELAYED, due_ms=9_000)) == [(1_000, "pushed"), (9_000, "due")]


def test_a_completed_job_after_a_retry():
    job = replace(JOB, state=JobState.COMPLETED, history=(RETRIED,), token=Token(1, 2), node="n2", assigned_ms=2_000,
                  taken_ms=2_001, finished_ms=2_100)
    assert told(job) == [(1_000, "pushed"), (1_100, "assigned"), (1_200, "taken"), (1_300, "started"), (1_400, "retry"),
                         (2_000, "assigned"), (2_001, "taken"), (2_100, "completed")]
    assert [one.error for one in timeline(job)] == [None] * 4 + [b"why"] + [None] * 3
    assert timeline(job)[-1].node == "n2"


def test_a_failed_job_tells_its_last_run_and_its_error_once():
    last = RETRIED._replace(token=Token(1, 2), end="fail", assigned_ms=2_000, taken_ms=2_000, started_ms=None,
                            ended_ms=2_500)
    job = replace(JOB, state=JobState.FAILED, history=(RETRIED, last), token=Token(1, 2), node="n1", assigned_ms=2_000,
                  taken_ms=2_000, finished_ms=2_500, error=b"why")
    assert told(job)[-4:] == [(2_000, "assigned"), (2_000, "taken"), (2_500, "fail"), (2_500, "failed")]
    assert [one.error for one in timeline(job)].count(b"why") == 2


def test_a_job_that_expired_says_why():
    job = replace(JOB, state=JobState.CANCELLED, finished_ms=3_000, error=b"expired")
    assert timeline(job)[-1].error == b"expired"


def test_an_operators_retry_stands_between_the_runs():
    retried = RunRecord(Token(1, 1), "", 0, 0, None, 1_500, "operator's retry")
    assert told(replace(JOB, history=(RETRIED, retried)))[-1] == (1_500, "operator's retry")

"""What a Worker says of a job's end: a job with a failed() fails once, when that has run."""

from __future__ import annotations

import pytest
from kit import eventually

from callboard.actors.outbox import BATCH_MAX, BATCH_MAX_BYTES, batch_size
from callboard.core.records import ErrorRecord, Held, JobState, Outcome, OutcomeKind, Step, Token
from callboard.core.runs import EndKind, RunEnd


@pytest.mark.parametrize("hook_fails", [False, True])
def test_a_job_with_a_failed_hook_is_told_of_as_failed_once_and_when_it_has(bench, hook_fails):
    node = bench.node()
    seen = []

    def handle(job):
        if job.step is Step.FAILED_HOOK:
            seen.append([line["event"] for line in node.events.seen if line["event"].startswith("job.")])
        if job.step is Step.HANDLE or hook_fails:
            error = ErrorRecord("ValueError", f"step {job.step.name}")
            raise RuntimeError(RunEnd(job.token, EndKind.RAISED, error, permanent=True))

    bench.handler = handle
    bench.push(1, has_failed_hook=True)
    node.events.wait("worker.finished")
    failed = node.events.wait("job.failed")
    assert bench.store.job("j0").state is JobState.FAILED
    assert len(failed) == 1
    assert failed[0]["error_kind"] == "ValueError"
    assert failed[0]["error"].startswith("step HANDLE")
    assert ("its failed() ended with ValueError" in failed[0]["error"]) is hook_fails
    assert len(node.events.named("job.failing")) == 1
    assert node.events.named("job.completed") == []
    assert "job.failed" not in seen[0]

    def tallied(kind):
        return sum(line.get(kind, 0) for line in node.events.named("worker.finished"))

    eventually(lambda: tallied("failed"), 5, "the failure is counted")
    assert (tallied("failed"), tallied("completed")) == (1, 0)


def test_a_call_of_the_store_carries_so_many_outcomes_and_bytes_at_most():
    held = Held(1, "j", Token(1, 1))
    plain, large = Outcome(held, OutcomeKind.COMPLETED), Outcome(held, OutcomeKind.COMPLETED, result=b"x" * (64 << 10))
    assert batch_size([plain] * 10) == 10
    assert batch_size([plain] * 5_000) == BATCH_MAX
    assert batch_size([plain, *[large] * 100]) == 1 + BATCH_MAX_BYTES // len(large.result)
    assert batch_size([Outcome(held, OutcomeKind.FAILED, error=b"x" * (5 << 20))] * 2) == 1

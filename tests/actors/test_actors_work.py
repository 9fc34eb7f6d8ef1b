"""One node, and two: jobs go round through the actors; messages are encoded and decoded on their way."""

from __future__ import annotations

import threading

from callboard.core.messages import AskStatus, NodeStatus, Refused, Scale
from callboard.core.records import CancelResult, Desired, JobState
from callboard.core.runs import EndKind, RunEnd


def test_jobs_run_once_each_and_are_completed(bench):
    node = bench.node()
    bench.push(500)
    bench.wait_runs(500)
    node.events.wait("worker.finished")
    assert sorted({job.id for job in bench.runs}) == sorted(f"j{n}" for n in range(500))
    assert len(bench.runs) == 500


def test_two_nodes_share_the_work_and_one_leads(bench):
    gate = threading.Barrier(2)
    nodes = [bench.node(name, slots=1, per_slot=1) for name in ("n1", "n2")]
    nodes[1].events.wait("heartbeat.session_opened")
    bench.handler = lambda _job: gate.wait(10)  # passes only when two jobs run at once
    bench.push(10)
    bench.wait_runs(10)
    assert sum(len(node.events.named("elector.elected")) for node in nodes) == 1


def test_a_slot_that_another_node_frees_is_noticed_at_once(bench):
    leader = bench.node("n1", queue="other", lease_ttl_s=6.0, session_ttl_s=6.0)
    leader.events.wait("elector.elected")
    bench.node("n2", slots=1, per_slot=1, lease_ttl_s=6.0, session_ttl_s=6.0)
    bench.push(100)
    bench.wait_runs(100, timeout_s=10.0)  # by the slow polls alone, a few jobs a second


def test_a_job_that_raises_is_retried_and_then_on_the_failed_list(bench):
    def fail(job):
        raise RuntimeError(RunEnd(job.token, EndKind.RAISED, retry_after_s=0.0))

    node = bench.node()
    bench.handler = fail
    bench.push(1, max_attempts=3)
    node.events.wait("job.failed")
    record = bench.store.job("j0")
    assert (record.state, record.attempts, record.losses) == (JobState.FAILED, 3, 0)


def test_scale_is_durable_and_reaches_the_pool(bench):
    node = bench.node(slots=2)
    answer = node.parts.directory.ref("dispatcher").ask(Scale("default", 7), timeout=5)
    assert answer.count == 7
    assert node.events.wait("worker.scaled")[0]["slots"] == 7
    late = bench.node("n2", slots=2)
    assert late.events.wait("worker.scaled")[0]["slots"] == 7


def test_an_order_for_one_node_goes_before_the_order_for_all(bench):
    bench.store.set_desired(Desired("default", "*", 3))
    bench.store.set_desired(Desired("default", "n1", 5))
    first, second = bench.node("n1"), bench.node("n2")
    assert first.events.wait("worker.scaled")[0]["slots"] == 5
    assert second.events.wait("worker.scaled")[0]["slots"] == 3


def test_a_running_job_is_cancelled_on_request(bench):
    gate = threading.Event()
    started = threading.Event()

    def wait(_job):
        started.set()
        gate.wait(20)

    node = bench.node()
    bench.handler = wait
    bench.push(1)
    assert started.wait(10)
    assert bench.store.cancel("j0") is CancelResult.REQUESTED
    node.events.wait("worker.cancelling")
    node.events.wait("job.cancelled")
    gate.set()
    assert bench.store.job("j0").state is JobState.CANCELLED


def test_status_tells_what_a_node_does(bench):
    gate = threading.Event()
    started = threading.Event()

    def wait(_job):
        started.set()
        gate.wait(20)

    node = bench.node(slots=3)
    bench.handler = wait
    bench.push(1)
    assert started.wait(10)
    status = node.parts.directory.ref("dispatcher").ask(AskStatus(), timeout=5)
    gate.set()
    assert isinstance(status, NodeStatus)
    assert (status.node, status.leading, status.epoch, status.pools[0].slots) == ("n1", True, 1, 3)
    assert [job[0] for job in status.running] == ["j0"]


def test_a_command_that_fails_is_refused_with_the_reason(bench):
    from callboard.core.messages import CancelJob  # noqa: PLC0415 - one test's

    node = bench.node()
    answer = node.parts.directory.ref("dispatcher").ask(CancelJob("nobody"), timeout=5)
    assert isinstance(answer, Refused)
    assert answer.error == "NotFound"
    assert "nobody" in answer.text


def test_a_paused_queue_waits_and_goes_on(bench):
    node = bench.node()
    node.events.wait("heartbeat.session_opened")
    bench.store.set_paused("default", paused=True)
    bench.push(3)
    bench.node("n2", queue="other")
    bench.push(1, prefix="o", queue="other")
    bench.wait_runs(1)
    assert [job.queue for job in bench.runs] == ["other"]
    bench.store.set_paused("default", paused=False)
    bench.wait_runs(4)


def test_delayed_jobs_become_due(bench):
    bench.node()
    bench.push(5, delay_s=0.2)
    bench.wait_runs(5)

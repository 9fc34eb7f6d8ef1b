"""The roles of nodes: one that only works never campaigns; one that only leads is given no job."""

from __future__ import annotations

from kit import eventually


def leader_of(bench):
    term = bench.cluster.leader()
    return None if term is None else term.owner


def test_a_worker_never_campaigns_and_works_for_a_leader_that_runs_nothing(bench, monkeypatch):
    asked = []
    campaign = bench.cluster.campaign

    def noted(owner, ttl_s):
        asked.append(owner)
        return campaign(owner, ttl_s)

    monkeypatch.setattr(bench.cluster, "campaign", noted)
    worker = bench.node("w1", role="worker")
    bench.push(3)
    worker.events.wait("heartbeat.session_opened")
    bench.cluster.resign(bench.cluster.campaign("another program", 1.0))  # its watch rings
    leader = bench.node("l1", role="leader")
    bench.wait_completed(3)
    assert leader_of(bench) == leader.parts.info.boot_id
    assert {view.info.node: [pool.report.name for pool in view.pools] for view in bench.store.sessions()} == {
        "w1": ["default"], "l1": []}
    worker.events.wait("job.completed", 3)
    assert not leader.events.named("job.completed")
    assert worker.parts.info.boot_id not in asked


def test_each_role_stops_in_order(bench):
    nodes = [bench.node("w1", role="worker"), bench.node("l1", role="leader")]
    eventually(lambda: leader_of(bench), 10.0, "l1 leads")
    for node in nodes:
        node.events.wait("heartbeat.session_opened")
    for node in nodes:
        node.stop(5.0)
    assert [node.wait(10.0) for node in nodes] == [0, 0]
    assert leader_of(bench) is None
    assert bench.store.sessions() == ()

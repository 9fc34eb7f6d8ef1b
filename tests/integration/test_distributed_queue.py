"""callboard.DistributedQueue: nodes of several programs in one cluster, on each store; what its settings do."""

from __future__ import annotations

import queue
import uuid
from contextlib import contextmanager

import pytest
from kit import eventually

import callboard

WAIT_S = 30.0
QUICK = {"election_timeout": 1, "heartbeat_interval": 0.25, "worker": callboard.WorkerConfig(app=(__name__,))}


@callboard.job(max_attempts=1)
def distributed_double(number: int) -> int:
    """A job that works, but for odd luck."""
    if number < 0:
        raise ValueError("no negative numbers")
    return 2 * number


@contextmanager
def sqlite_store(folder):
    yield f"sqlite:///{folder}/jobs.db"


@contextmanager
def redis_store(_folder):
    from servers import shared  # noqa: PLC0415 - only where it is used

    with shared.redis_database() as address:
        yield address


@contextmanager
def postgresql_store(_folder):
    from postgresqlkit import prepare  # noqa: PLC0415 - as above
    from servers import shared  # noqa: PLC0415 - as above

    with shared.database("postgresql", prepare) as address:
        yield address


STORES = {"sqlite": sqlite_store, "redis": redis_store, "postgresql": postgresql_store}


@pytest.fixture(params=STORES)
def store(request, tmp_path):
    with STORES[request.param](tmp_path) as address:
        yield address


@pytest.fixture
def memory():
    return f"memory://{uuid.uuid4().hex}"


def config(node_id, store, **more):
    return callboard.DistributedConfig(node_id, store=store, **{**QUICK, **more})


def test_two_programs_share_the_work_and_one_leads(store):
    first = callboard.DistributedQueue(config("n1", store))
    second = callboard.DistributedQueue(config("n2", store, worker_count=2))
    assert first.distributed_stats().status == "stopped"
    ends: queue.Queue = queue.Queue()
    for one in (first, second):
        one.worker_pool.set_on_completed(lambda job: ends.put((job.name, job.payload)))
        one.worker_pool.set_on_failed(lambda job, error: ends.put((job.payload, error.message)))
    with first, second:
        ids = first.push_many([distributed_double.bind(number) for number in range(20)])
        broken = second.push(distributed_double.bind(-1))
        assert [first.result(job_id, timeout=WAIT_S) for job_id in ids] == [2 * number for number in range(20)]
        with pytest.raises(callboard.JobFailed, match="no negative"):
            second.result(broken, timeout=WAIT_S)
        seen = [ends.get(timeout=WAIT_S) for _ in range(21)]
        assert ({"number": -1}, "ValueError: no negative numbers") in seen
        assert seen.count(("distributed_double", {"number": 7})) == 1
        both = [one.distributed_stats() for one in (first, second)]
        assert sorted(stats.is_leader for stats in both) == [False, True]
        leader = next(stats.node_id for stats in both if stats.is_leader)
        assert {stats.leader for stats in both} == {leader}
        assert {(stats.epoch > 0, stats.nodes, stats.status) for stats in both} == {(True, 2, "running")}
        assert [stats.total_workers for stats in both] == [3, 2]
        assert sorted(info.node for info in first.cluster_nodes()) == ["n1", "n2"]
        assert (first.worker_pool.stats().completed + second.worker_pool.stats().completed) == 20
    assert first.distributed_stats().status == "stopped"
    assert first.worker_pool.stats().status == "stopped"


def test_a_node_of_another_cluster_object_is_one_of_the_same_cluster(tmp_path):
    store = f"sqlite:///{tmp_path}/jobs.db"
    with callboard.cluster_from_url(f"sqlite:///{tmp_path}/cluster.db", "n1") as cluster:
        distributed = callboard.DistributedQueue(config("n1", store, cluster=cluster))
        with distributed:
            assert distributed.result(distributed.push(distributed_double.bind(4)), timeout=WAIT_S) == 8
            assert [info.node for info in cluster.nodes()] == ["n1"]
            token = distributed.lock("door")
            assert (token.ttl_s, distributed.lock("door")) == (10, None)
            assert distributed.cluster.release_lock(token)
        assert cluster.nodes() == ()  # still open: it was given


def test_with_a_memory_store_the_node_runs_in_this_process(memory):
    with callboard.DistributedQueue(config("n1", memory)) as distributed:
        job_id = distributed.later(0.05, distributed_double.bind(5))
        assert distributed.result(job_id, timeout=WAIT_S) == 10
        assert distributed.distributed_stats().is_leader
        distributed.set_concurrency(5)
        eventually(lambda: distributed.worker_pool.stats().total_workers == 5, WAIT_S, "it has five slots")
        with pytest.raises(callboard.InvalidArgument, match="concurrency"):
            distributed.set_concurrency(6)


def test_without_election_a_node_works_for_another_and_without_distribution_it_leads_only(memory):
    worker = callboard.DistributedQueue(config("w", memory, enable_leader_election=False))
    leader = callboard.DistributedQueue(config("l", memory, enable_job_distribution=False))
    with worker:
        job_id = worker.push(distributed_double.bind(6))
        with pytest.raises(callboard.ResultTimeout):  # two terms: nobody stands
            worker.result(job_id, timeout=2)
        with leader:
            assert worker.result(job_id, timeout=WAIT_S) == 12
            stats = leader.distributed_stats()
            assert (stats.is_leader, stats.leader, stats.total_workers) == (True, "l", 0)
            stats = worker.distributed_stats()
            assert (stats.is_leader, stats.leader, stats.total_workers) == (False, "l", 3)


@pytest.mark.parametrize(("given", "says"), [
    ({"enable_leader_election": False, "enable_job_distribution": False}, "nothing to do"),
    ({"worker_count": 6}, "worker_count"),
    ({"worker_count": -1}, "worker_count"),
    ({"max_concurrency": 0}, "max_concurrency"),
    ({"election_timeout": 0.1}, "election_timeout"),
    ({"heartbeat_interval": 0}, "heartbeat_interval"),
    ({"heartbeat_interval": 901}, "heartbeat_interval"),
    ({"lock_timeout": 0}, "lock_timeout"),
    ({"queue": ""}, "queue"),
    ({"node_id": "a\nb"}, "node_id"),
    ({"cluster": "memory://elsewhere"}, "go together only"),
    ({"cluster": "sqlite:///cluster.db"}, "go together only"),
], ids=str)  # fmt: skip
def test_a_wrong_value_fails_where_it_is_given(memory, given, says):
    with pytest.raises(callboard.InvalidArgument, match=says):
        callboard.DistributedQueue(callboard.DistributedConfig(**{"store": memory, **given}))


def test_the_defaults_are_the_documents(memory):
    config = callboard.DistributedConfig("n1", store=memory)
    assert (config.election_timeout, config.lock_timeout, config.heartbeat_interval) == (30, 10, 5)
    assert config.enable_leader_election
    assert config.enable_job_distribution
    settings = callboard.DistributedQueue(config)._worker.node_settings().config()
    assert (settings.lease_ttl_s, settings.session_ttl_s, settings.pools[0].slots, settings.lead) == (30, 20, 3, True)

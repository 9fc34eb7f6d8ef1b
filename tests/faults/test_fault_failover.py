"""One of two nodes is killed -9 at any moment: the other one assigns within the lease's ttl and a second."""

import faultjobs
import pytest
from faulthistory import bit, hold
from faultkit import FULL, boot_s, tell, within
from faultstores import on_each_store

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600 if FULL else 120)]

KILLS = 30 if FULL else 3
LEASE_TTL_S = 1.5
BOUND_S = LEASE_TTL_S + 1.0


def first_start(nodes, jobs):
    """When the first of these jobs started, waited for; some may have gone to the dead node, whose session goes on."""
    hold(within(lambda: jobs & nodes.history().by_job.keys(), 3 * BOUND_S), "G7", "nobody assigns any more")
    return min(run.start_s for run in nodes.history().runs if run.job in jobs)


def kill_one(nodes, node):
    """Kill it amid a trickle of jobs; seconds from then to the start of a job that was pushed after it."""
    ids = nodes.queue.push_many(faultjobs.work.bind(0.01) for _ in range(30))
    nodes.kill(node)
    del nodes.nodes[node.name]
    killed_s = boot_s()
    after = nodes.queue.push_many(faultjobs.noop.bind() for _ in range(8))
    took_s = first_start(nodes, set(after)) - killed_s
    nodes.start_all(f"{node.name}x")
    return [*ids, *after], took_s


@on_each_store
def test_kill_9_of_either_node_and_the_other_assigns_in_time(fleet, kind):
    nodes = fleet(kind=kind, slots=4, lease_ttl_s=LEASE_TTL_S)
    nodes.start_all("n1", "n2")
    ids, leaders, followers = [], [], []
    for _ in range(KILLS):
        pushed, took_s = kill_one(nodes, nodes.leader())
        ids += pushed
        leaders.append(took_s)
    for _ in range(max(1, KILLS // 3)):
        leader = nodes.leader()
        pushed, took_s = kill_one(nodes, next(node for node in nodes.nodes.values() if node is not leader))
        ids += pushed
        followers.append(took_s)
    hold(nodes.settle(20), "G2", "not everything ended")
    history = nodes.history()
    history.check_finished("G2", ids)
    history.check_ran("G3")
    history.check_charges("G3")
    history.check_tokens("G6")
    leaders.sort()
    p50_s, p95_s = leaders[len(leaders) // 2], leaders[min(len(leaders) - 1, int(len(leaders) * 0.95))]
    tell(f"kill -9 of the leader, {KILLS} times, ttl {LEASE_TTL_S:g} s: another assigns after {p50_s:.2f} s (p50), "
         f"{p95_s:.2f} s (p95), {leaders[-1]:.2f} s (max); of a follower: {max(followers):.2f} s (max)")
    bit(len({event["epoch"] for event in history.named("dispatcher.term_begun")}) > KILLS, "leadership never changed")
    hold(leaders[-1] < BOUND_S, "G7", f"the other assigned only after {leaders[-1]:.2f} s")

"""One of two nodes is killed -9 at any moment: the other one assigns within the lease's ttl and a second."""

import faultjobs
import pytest
from faulthistory import bit, hold
from faultkit import FULL, boot_s, tell, within
from faultstores import SHORT, on_short_stores, with_mutants

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600 if FULL else 120)]

KILLS = 30 if FULL else 3
LEASE_TTL_S = 1.5
BOUND_S = LEASE_TTL_S + 1.0
SESSION_TTL_S = 6.0


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


@on_short_stores
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
    bound_s = BOUND_S if kind == "sqlite" else BOUND_S + 1.0  # the table of promises: ttl + 2 s, less on one machine
    hold(leaders[-1] < bound_s, "G7", f"the other assigned only after {leaders[-1]:.2f} s")


def kill_and_push(nodes, node):
    """Kill it; once its death is suspected, or another leads, push: nobody may wait for the end of its session."""
    leads = node is nodes.leader()
    dead = nodes.kill(node)
    del nodes.nodes[node.name]
    killed_s = boot_s()
    bound_s = BOUND_S + 1.0 if leads else SESSION_TTL_S / 2 + 2.0
    noticed = within(lambda: any(event["session"] == dead.session
                                 for event in nodes.history().named("dispatcher.session_suspected")), bound_s)
    hold(noticed, "G7", "nobody suspects the dead node")
    suspected_s = boot_s() - killed_s
    epoch = nodes.queue.store.fence().epoch
    ids = set(nodes.queue.push_many(faultjobs.noop.bind() for _ in range(100)))
    done = within(lambda: ids <= {run.job for run in nodes.history().runs}, 2.5)
    bit(not nodes.file.ended(dead.session), "the dead node's session was over before the jobs could go to it")
    held = nodes.file.held_by(node).assigned
    bit(epoch == nodes.queue.store.fence().epoch, "another leader began while the jobs were assigned")
    hold(not held, "G7", f"{len(held)} of 100 jobs were assigned to a node that is dead")
    hold(done, "G7", "the other nodes did not run the jobs in time")
    return suspected_s


def bury(nodes):
    """A follower dies, then the leader; a third node works on."""
    nodes.start_all("n1", "n2", "n3")
    leader = nodes.leader()
    follower = next(node for node in nodes.nodes.values() if node is not leader)
    took = [kill_and_push(nodes, follower), kill_and_push(nodes, leader)]
    tell(f"a dead node gets nothing new {took[0]:.2f} s after its death, the dead leader after {took[1]:.2f} s "
         f"(lease ttl {LEASE_TTL_S:g} s, session ttl {SESSION_TTL_S:g} s)")


@with_mutants("nobody_suspected", kinds=SHORT)  # the actors suspect, not the store
def test_a_dead_node_gets_nothing_long_before_its_session_is_over(fleet, caught, kind, mutant):
    nodes = fleet(mutant, kind=kind, slots=4, lease_ttl_s=LEASE_TTL_S, session_ttl_s=SESSION_TTL_S)
    caught(mutant, lambda: bury(nodes))

"""Clocks that are wrong and jump, a node's and the store's server's: due times follow the store's clock, nothing else.

Sessions are the leader's own observation, and leases are fenced by the store: a jump may cost a leadership, but never a
session, a job, or a second run.
"""

import time

import faultjobs
import pytest
from faulthistory import bit, hold
from faultkit import FULL, boot_s, tell, within
from faultstores import ON_SERVERS, on_servers, on_stores
from kit import eventually

from callboard.core.errors import StoreUnavailable

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400 if FULL else 180)]

SETTABLE = tuple(kind for kind in ON_SERVERS if kind != "redis")
"""Servers whose clock a test can set (see tests/servers/faketime.py); on Redis only the nodes' clocks are wrong."""
HOUR_S = 3_600
JUMPS_S = (2 * HOUR_S, 0, -HOUR_S, HOUR_S, 4 * HOUR_S) if FULL else (0, 4 * HOUR_S)
DELAYS = 3 if FULL else 1
DELAY_S = 2.0
LATE_S = 3.0
"""What a leader's look, a new term and a busy machine may add."""
LEASE_TTL_S = 2.0


def push(nodes, number, prefix):
    """Push jobs of 20 ms; while the server's clock jumps its own timeouts may end a statement: push again, same ids."""
    ids = [f"{prefix}-{n}" for n in range(number)]

    def pushed():
        try:
            return nodes.queue.push_many((faultjobs.work.bind(0.02) for _ in ids), ids=ids)
        except StoreUnavailable:
            return None

    return eventually(pushed, 20, "the jobs are pushed")


def start_s(nodes, job):
    """When a job's first run started, waited for."""
    def found():
        return nodes.history().by_job.get(job)

    hold(within(found, DELAY_S + LATE_S + 10), "time", f"{job} never started")
    return found()[0].start_s


@on_servers("redis", "postgresql")
def test_delays_follow_the_stores_clock_though_server_and_node_are_hours_apart(fleet, kind):
    offset_s = HOUR_S if kind in SETTABLE else 0
    nodes = fleet("wall_jumps", kind=kind, clock_s=offset_s or None, slots=2, lease_ttl_s=LEASE_TTL_S)
    nodes.start_all("n1", "n2")
    ahead_s = nodes.queue.store.store_now_ms() / 1000 - time.time()
    bit(abs(ahead_s - offset_s) < 60, f"the store's clock is {ahead_s:.0f} s ahead")
    waits = []
    for _ in range(DELAYS):
        pushed_s = boot_s()
        waits.append(start_s(nodes, nodes.queue.later(DELAY_S, faultjobs.noop.bind())) - pushed_s)
    hold(min(waits) >= DELAY_S - 0.05, "time", f"a delay of {DELAY_S} s was over after {min(waits):.2f} s")
    hold(max(waits) <= DELAY_S + LATE_S, "time", f"a delay of {DELAY_S} s took {max(waits):.2f} s")
    hold(not nodes.history().named("dispatcher.session_ended"), "time", "a session was ended")
    tell(f"{kind}, its clock {offset_s} s ahead, each node's jumping by an hour: delays of {DELAY_S:g} s took "
         f"{min(waits):.2f} to {max(waits):.2f} s")


@on_stores("mariadb", settable=True)
def test_jumps_of_the_servers_clock_end_no_session_and_run_nothing_twice(fleet, kind):
    nodes = fleet(kind=kind, clock_s=HOUR_S, slots=2, lease_ttl_s=LEASE_TTL_S)
    nodes.start_all("n1", "n2")
    store, clock = nodes.queue.store, nodes.store.clock
    ids = push(nodes, 1_000 if FULL else 400, "first")
    far = nodes.queue.later(1.5 * HOUR_S, faultjobs.noop.bind())
    for offset_s in JUMPS_S:
        clock.set(offset_s)
        eventually(lambda offset_s=offset_s: abs(store.store_now_ms() / 1000 - time.time() - offset_s) < 60, 20,
                   "the server's clock jumps")
        ids += push(nodes, 100, f"at{offset_s}")
        last = set(ids[-10:])
        hold(within(lambda last=last: nodes.history().by_job.keys() >= last, 30), "time", "nobody assigns after a jump")
    hold(nodes.settle(60), "time", f"not everything ended: {nodes.file.states()}")
    history = nodes.history()
    history.check_finished("time", [*ids, far])
    history.check_ran("time")
    history.check_once("time")
    history.check_tokens("time")
    hold(not history.named("dispatcher.session_ended"), "time", "a session was ended for a clock")
    wrong = [row for row in history.rows.values() if (row.attempts, row.losses) != (1, 0)]
    hold(not wrong, "time", f"{len(wrong)} jobs are charged for a clock: {wrong[:3]}")
    terms = len({event["epoch"] for event in history.named("dispatcher.term_begun")})
    tell(f"{kind}, its clock jumping by hours {len(JUMPS_S)} times: {len(ids) + 1} jobs once each, no session ended, "
         f"{terms} terms; what was due in 1.5 h ran when the clock said so")

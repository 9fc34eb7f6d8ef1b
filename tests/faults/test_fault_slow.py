"""A store whose acts take half a second: everything goes slower, and nothing breaks.

An act is one round trip on Redis, four or five on PostgreSQL and MariaDB.
"""

import faultjobs
import pytest
from faulthistory import bit, hold
from faultkit import FULL, boot_s, tell
from faultstores import on_servers

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400 if FULL else 180)]

ROUND_TRIP_S = {"redis": 0.5, "postgresql": 0.1, "mariadb": 0.1}
JOBS = 400 if FULL else 60
SLOTS = 10


@on_servers("postgresql")
def test_a_store_half_a_second_away_slows_and_breaks_nothing(fleet, kind):
    round_trip_s = ROUND_TRIP_S[kind]
    nodes = fleet(kind=kind, proxied=True, slots=SLOTS, lease_ttl_s=5.0, session_ttl_s=10.0)
    nodes.start_all("n1", "n2")
    ids = nodes.queue.push_many(faultjobs.work.bind(0.01) for _ in range(100))
    hold(nodes.settle(30), "slow", "not everything ended before it was slow")
    nodes.store.proxy.delay_s = round_trip_s / 2
    began_s = boot_s()
    ids.append(nodes.queue.push(faultjobs.noop.bind()))
    push_s = boot_s() - began_s
    bit(push_s >= round_trip_s, f"a push took {push_s:.2f} s")
    ids += nodes.queue.push_many(faultjobs.work.bind(0.05) for _ in range(JOBS))
    hold(nodes.settle(300 if FULL else 100), "slow", f"not everything ended: {nodes.file.states()}")
    took_s = boot_s() - began_s
    nodes.store.proxy.delay_s = 0.0
    history = nodes.history()
    history.check_finished("slow", ids)
    history.check_ran("slow")
    history.check_once("slow")
    hold(not history.named("dispatcher.session_ended"), "slow", "a session was ended")
    wrong = [row for row in history.rows.values() if (row.attempts, row.losses) != (1, 0)]
    hold(not wrong, "slow", f"{len(wrong)} jobs are charged: {wrong[:3]}")
    terms = {event["epoch"] for event in history.named("dispatcher.term_begun")}
    hold(len(terms) == 1, "slow", f"the leader lost its store: epochs {terms}")
    hold(all(node.alive for node in nodes.nodes.values()), "slow", "a node ended")
    tell(f"{kind} with a round trip of {round_trip_s:g} s: a push took {push_s:.1f} s, {JOBS} jobs of 50 ms on "
         f"{2 * SLOTS} slots {took_s:.1f} s; the same leader, no session ended, each ran once")

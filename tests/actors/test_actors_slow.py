"""A store whose every look takes a third of the lease: each round shows that the leader moves, so it leads on."""

from __future__ import annotations

import threading

SLOW_S = 0.35
LEASE_TTL_S = 1.0


def test_a_leader_with_a_slow_store_goes_on_leading(bench):
    survey, slow = bench.store.survey, threading.Event()

    def late(*args):
        if slow.is_set():
            threading.Event().wait(SLOW_S)  # as long as the store's answer takes
        return survey(*args)

    bench.store.survey = late
    node = bench.node(slots=1, lease_ttl_s=LEASE_TTL_S, session_ttl_s=10.0)
    node.events.wait("dispatcher.term_begun")
    slow.set()
    bench.push(30)
    bench.wait_completed(30)
    slow.clear()
    assert not node.events.named("elector.stepped_down")
    assert len(node.events.named("dispatcher.term_begun")) == 1

"""What operators order reaches running pools; an order that nobody may give does no harm."""

from __future__ import annotations

import pytest

from callboard.core.commandcheck import SLOTS_MAX
from callboard.core.records import Desired


@pytest.mark.parametrize(("ordered", "holds"), [(9, 9), (0, 0), (10**6, SLOTS_MAX), (-5, 0)])
def test_an_order_holds_within_the_bounds_of_a_pool(ordered, holds, bench):
    node = bench.node()
    node.events.wait("heartbeat.session_opened")
    bench.store.set_desired(Desired("default", "*", ordered))
    (scaled,) = node.events.wait("worker.scaled")
    assert scaled["slots"] == holds
    assert node.parts.host.executors["default"].slots == holds
    assert not node.events.named("supervisor.actor_died")
